# SPDX-License-Identifier: Apache-2.0
"""Enumerators that format files leave as names, with their value in every kernel that has persistent buffers.

A format file replaces the enumerators that a TRACE_DEFINE_ENUM() lists; others stay. Listed here are protocol and ABI
constants, and enumerations whose values did not change while their names stayed in print fmts.
The kernel's own type information, where there is some, is asked first; any other name needs it.
"""

from __future__ import annotations

from rbdump.events.printfmt.nodes import InitList, String

__all__ = ["ENUMERATORS", "KERNEL_STRINGS"]


def _count(names: str, first: int = 0, prefix: str = "") -> dict[str, int]:
    """Consecutive values; ``.`` leaves one out."""
    return {prefix + name: value for value, name in enumerate(names.split(), first) if name != "."}


def _bits(names: str, prefix: str) -> dict[str, int]:
    return {prefix + name: 1 << bit for bit, name in enumerate(names.split()) if name != "."}


def _codes(codes: str, prefix: str) -> dict[str, int]:
    """``READ C8``: names and hexadecimal values."""
    return {prefix + name: int(value, 16) for name, value in map(str.split, codes.split(","))}


ENUMERATORS: dict[str, int] = {
    # include/linux/hrtimer.h: PINNED 2, SOFT 4 and HARD 8 are added to ABS 0 or REL 1
    **_count(
        "ABS REL ABS_PINNED REL_PINNED ABS_SOFT REL_SOFT ABS_PINNED_SOFT REL_PINNED_SOFT ABS_HARD REL_HARD "
        "ABS_PINNED_HARD REL_PINNED_HARD",
        prefix="HRTIMER_MODE_",
    ),
    **_count(
        "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING "
        "NEW_SYN_RECV",
        1,
        "TCP_",
    ),
    **_count("NONE RT BE IDLE", prefix="IOPRIO_CLASS_"),
    "IOPRIO_CLASS_INVALID": 7,
    **_bits(
        "WRITE MKWRITE ALLOW_RETRY RETRY_NOWAIT KILLABLE TRIED USER REMOTE INSTRUCTION INTERRUPTIBLE . . VMA_LOCK",
        "FAULT_FLAG_",
    ),
    **_bits(
        "OOM SIGBUS MAJOR . HWPOISON HWPOISON_LARGE SIGSEGV . NOPAGE LOCKED RETRY FALLBACK DONE_COW NEEDDSYNC "
        "COMPLETED",
        "VM_FAULT_",
    ),
    # include/linux/fs.h: an enumeration since 6.19; before that macros, which format files never show by name
    **_bits(
        "NEW SYNC LRU_ISOLATING . DIRTY_SYNC DIRTY_DATASYNC DIRTY_PAGES WILL_FREE FREEING CLEAR REFERENCED LINKABLE "
        "DIRTY_TIME WB_SWITCH OVL_INUSE CREATING DONTCACHE SYNC_QUEUED PINNING_NETFS_WB",
        "I_",
    ),
    "DEV_PM_QOS_RESUME_LATENCY": 1,
    "DEV_PM_QOS_FLAGS": 5,
    "VMA_SHARED_BIT": 3,
    **_count("NORMAL READ_INSERT WRITE_STRIP READ_STRIP WRITE_INSERT READ_PASS WRITE_PASS", prefix="SCSI_PROT_"),
    **_count(
        "OK NO_CONNECT BUS_BUSY TIME_OUT BAD_TARGET ABORT PARITY ERROR RESET BAD_INTR PASSTHROUGH SOFT_ERROR IMM_RETRY "
        "REQUEUE TRANSPORT_DISRUPTED TRANSPORT_FAILFAST",
        prefix="DID_",
    ),
    "SAM_STAT_GOOD": 0x00,
    "SAM_STAT_CHECK_CONDITION": 0x02,
    "SAM_STAT_CONDITION_MET": 0x04,
    "SAM_STAT_BUSY": 0x08,
    "SAM_STAT_INTERMEDIATE": 0x10,
    "SAM_STAT_INTERMEDIATE_CONDITION_MET": 0x14,
    "SAM_STAT_RESERVATION_CONFLICT": 0x18,
    "SAM_STAT_COMMAND_TERMINATED": 0x22,
    "SAM_STAT_TASK_SET_FULL": 0x28,
    "SAM_STAT_ACA_ACTIVE": 0x30,
    "SAM_STAT_TASK_ABORTED": 0x40,
    **_count("ADD_REQ UPDATE_REQ REMOVE_REQ", prefix="PM_QOS_"),
    **_count("WRITEBACK ISOLATED NOPROGRESS CONGESTED", prefix="VMSCAN_THROTTLE_"),
    **_count("IOTLB DEVTLB NESTING_IOTLB NESTING_DEVTLB", prefix="CACHE_TAG_"),
    **_count("NONE BATCH ARGS CALLBACK", prefix="XEN_MC_FL_"),
    **_count("OK BAD_OP NO_SPACE", prefix="XEN_MC_XE_"),
    "XEN_LAZY_MMU": 1,
    "XEN_LAZY_CPU": 2,
    **_count("INFO WARN FAIL FATAL", prefix="CXL_EVENT_TYPE_"),
    **_count("LIST INJECT CLEAR", prefix="CXL_POISON_TRACE_"),
    **_count("ERROR SMART NOTICE . . . CSS VS", prefix="NVME_AER_"),
    "nvme_fabrics_command": 0x7F,
    **_count("property_set connect . . property_get auth_send auth_receive", prefix="nvme_fabrics_type_"),
    **_count(
        "flush write read . write_uncor compare . . write_zeroes dsm . . verify resv_register resv_report . . "
        "resv_acquire io_mgmt_recv . . resv_release",
        prefix="nvme_cmd_",
    ),
    **_count("zone_mgmt_send zone_mgmt_recv . . zone_append", 0x79, "nvme_cmd_"),
    **_count(
        "delete_sq create_sq get_log_page . delete_cq create_cq identify . abort_cmd set_features get_features . "
        "async_event ns_mgmt . . activate_fw download_fw . . dev_self_test ns_attach . . keep_alive directive_send "
        "directive_recv . virtual_mgmt nvme_mi_send nvme_mi_recv",
        prefix="nvme_admin_",
    ),
    "nvme_admin_dbbuf": 0x7C,
    **_count("format_nvm security_send security_recv . sanitize_nvm . get_lba_status", 0x80, "nvme_admin_"),
    # include/linux/ata.h and include/linux/libata.h
    **_codes(
        "DEV_RESET 08, CHK_POWER E5, STANDBY E2, IDLE E3, EDD 90, DOWNLOAD_MICRO 92, DOWNLOAD_MICRO_DMA 93, NOP 00, "
        "FLUSH E7, FLUSH_EXT EA, ID_ATA EC, ID_ATAPI A1, SERVICE A2, READ C8, READ_EXT 25, READ_QUEUED 26, "
        "READ_STREAM_EXT 2B, READ_STREAM_DMA_EXT 2A, WRITE CA, WRITE_EXT 35, WRITE_QUEUED 36, WRITE_STREAM_EXT 3B, "
        "WRITE_STREAM_DMA_EXT 3A, WRITE_FUA_EXT 3D, WRITE_QUEUED_FUA_EXT 3E, FPDMA_READ 60, FPDMA_WRITE 61, "
        "NCQ_NON_DATA 63, FPDMA_SEND 64, FPDMA_RECV 65, PIO_READ 20, PIO_READ_EXT 24, PIO_WRITE 30, "
        "PIO_WRITE_EXT 34, READ_MULTI C4, READ_MULTI_EXT 29, WRITE_MULTI C5, WRITE_MULTI_EXT 39, "
        "WRITE_MULTI_FUA_EXT CE, SET_FEATURES EF, SET_MULTI C6, PACKET A0, VERIFY 40, VERIFY_EXT 42, "
        "WRITE_UNCORR_EXT 45, STANDBYNOW1 E0, IDLEIMMEDIATE E1, SLEEP E6, INIT_DEV_PARAMS 91, READ_NATIVE_MAX F8, "
        "READ_NATIVE_MAX_EXT 27, SET_MAX F9, SET_MAX_EXT 37, READ_LOG_EXT 2F, WRITE_LOG_EXT 3F, "
        "READ_LOG_DMA_EXT 47, WRITE_LOG_DMA_EXT 57, TRUSTED_NONDATA 5B, TRUSTED_RCV 5C, TRUSTED_RCV_DMA 5D, "
        "TRUSTED_SND 5E, TRUSTED_SND_DMA 5F, PMP_READ E4, PMP_READ_DMA E9, PMP_WRITE E8, PMP_WRITE_DMA EB, "
        "CONF_OVERLAY B1, SEC_SET_PASS F1, SEC_UNLOCK F2, SEC_ERASE_PREP F3, SEC_ERASE_UNIT F4, SEC_FREEZE_LOCK F5, "
        "SEC_DISABLE_PASS F6, CONFIG_STREAM 51, SMART B0, MEDIA_LOCK DE, MEDIA_UNLOCK DF, DSM 06, "
        "CHK_MED_CRD_TYP D1, CFA_REQ_EXT_ERR 03, CFA_WRITE_NE 38, CFA_TRANS_SECT 87, CFA_ERASE C0, "
        "CFA_WRITE_MULT_NE CD, REQ_SENSE_DATA 0B, SANITIZE_DEVICE B4, ZAC_MGMT_IN 4A, ZAC_MGMT_OUT 9F, RESTORE 10, "
        "READ_LONG 22, READ_LONG_ONCE 23, WRITE_LONG 32, WRITE_LONG_ONCE 33",
        "ATA_CMD_",
    ),
    **_count("NODATA PIO DMA . NCQ_NODATA . NCQ", prefix="ATA_PROT_"),
    "ATA_PROT_UNKNOWN": 0xFF,
    **_count("NODATA PIO DMA", 8, "ATAPI_PROT_"),
    **_count(
        "UNKNOWN ATA ATA_UNSUP ATAPI ATAPI_UNSUP PMP PMP_UNSUP SEMB SEMB_UNSUP ZAC ZAC_UNSUP NONE", prefix="ATA_DEV_"
    ),
    **_count("HSM_ST_IDLE HSM_ST_FIRST HSM_ST HSM_ST_LAST HSM_ST_ERR"),
    **_count(
        "SUCCESS INVALID_COMMAND ERROR INVALID_PARAM ACCESS_DENIED INVALID_RESPONSE INVALID_VERSION INVALID_CHECKSUM "
        "IN_PROGRESS UNAVAILABLE TIMEOUT OVERFLOW INVALID_HEADER REQUEST_TRUNCATED RESPONSE_TOO_BIG BUS_ERROR BUSY "
        "INVALID_HEADER_VERSION INVALID_HEADER_CRC INVALID_DATA_CRC DUP_UNAVAILABLE",
        prefix="EC_RES_",
    ),
}


def _strings(prefix: str, names: str) -> InitList:
    return InitList(tuple(String(prefix + name) for name in names.split()))


KERNEL_STRINGS: dict[str, InitList] = {
    # drivers/android/binder.c, indexed by the number of the ioctl that is the command (include/uapi/linux/android);
    # the freeze notifications, at the end of both, since 6.13
    "binder_return_strings": _strings(
        "BR_",
        "ERROR OK TRANSACTION REPLY ACQUIRE_RESULT DEAD_REPLY TRANSACTION_COMPLETE INCREFS ACQUIRE RELEASE DECREFS "
        "ATTEMPT_ACQUIRE NOOP SPAWN_LOOPER FINISHED DEAD_BINDER CLEAR_DEATH_NOTIFICATION_DONE FAILED_REPLY "
        "FROZEN_REPLY ONEWAY_SPAM_SUSPECT TRANSACTION_PENDING_FROZEN FROZEN_BINDER CLEAR_FREEZE_NOTIFICATION_DONE",
    ),
    "binder_command_strings": _strings(
        "BC_",
        "TRANSACTION REPLY ACQUIRE_RESULT FREE_BUFFER INCREFS ACQUIRE RELEASE DECREFS INCREFS_DONE ACQUIRE_DONE "
        "ATTEMPT_ACQUIRE REGISTER_LOOPER ENTER_LOOPER EXIT_LOOPER REQUEST_DEATH_NOTIFICATION "
        "CLEAR_DEATH_NOTIFICATION DEAD_BINDER_DONE TRANSACTION_SG REPLY_SG REQUEST_FREEZE_NOTIFICATION "
        "CLEAR_FREEZE_NOTIFICATION FREEZE_NOTIFICATION_DONE",
    ),
}
"""Arrays of strings of the kernel that print fmts index."""
