# SPDX-License-Identifier: Apache-2.0
"""Numbers of names and names of numbers that are the same in all kernels, each table as a whole."""

from __future__ import annotations

import errno

from rbdump.events.printfmt.enumerators import ENUMERATORS
from rbdump.events.printfmt.errnos import error_name
from tests.events.printfmt.rendering import Event

BY_PREFIX = {
    "HRTIMER_MODE_": """
        0:ABS 1:REL 2:ABS_PINNED 3:REL_PINNED 4:ABS_SOFT 5:REL_SOFT 6:ABS_PINNED_SOFT 7:REL_PINNED_SOFT
        8:ABS_HARD 9:REL_HARD a:ABS_PINNED_HARD b:REL_PINNED_HARD
    """,
    "TCP_": """
        1:ESTABLISHED 2:SYN_SENT 3:SYN_RECV 4:FIN_WAIT1 5:FIN_WAIT2 6:TIME_WAIT 7:CLOSE 8:CLOSE_WAIT 9:LAST_ACK
        a:LISTEN b:CLOSING c:NEW_SYN_RECV
    """,
    "IOPRIO_CLASS_": """
        0:NONE 1:RT 2:BE 3:IDLE 7:INVALID
    """,
    "FAULT_FLAG_": """
        1:WRITE 2:MKWRITE 4:ALLOW_RETRY 8:RETRY_NOWAIT 10:KILLABLE 20:TRIED 40:USER 80:REMOTE 100:INSTRUCTION
        200:INTERRUPTIBLE 1000:VMA_LOCK
    """,
    "VM_FAULT_": """
        1:OOM 2:SIGBUS 4:MAJOR 10:HWPOISON 20:HWPOISON_LARGE 40:SIGSEGV 100:NOPAGE 200:LOCKED 400:RETRY
        800:FALLBACK 1000:DONE_COW 2000:NEEDDSYNC 4000:COMPLETED
    """,
    "I_": """
        1:NEW 2:SYNC 4:LRU_ISOLATING 10:DIRTY_SYNC 20:DIRTY_DATASYNC 40:DIRTY_PAGES 80:WILL_FREE 100:FREEING
        200:CLEAR 400:REFERENCED 800:LINKABLE 1000:DIRTY_TIME 2000:WB_SWITCH 4000:OVL_INUSE 8000:CREATING
        10000:DONTCACHE 20000:SYNC_QUEUED 40000:PINNING_NETFS_WB
    """,
    "DEV_PM_QOS_": """
        1:RESUME_LATENCY 5:FLAGS
    """,
    "PM_QOS_": """
        0:ADD_REQ 1:UPDATE_REQ 2:REMOVE_REQ
    """,
    "VMSCAN_THROTTLE_": """
        0:WRITEBACK 1:ISOLATED 2:NOPROGRESS 3:CONGESTED
    """,
    "CACHE_TAG_": """
        0:IOTLB 1:DEVTLB 2:NESTING_IOTLB 3:NESTING_DEVTLB
    """,
    "XEN_MC_FL_": """
        0:NONE 1:BATCH 2:ARGS 3:CALLBACK
    """,
    "XEN_MC_XE_": """
        0:OK 1:BAD_OP 2:NO_SPACE
    """,
    "XEN_LAZY_": """
        1:MMU 2:CPU
    """,
    "CXL_EVENT_TYPE_": """
        0:INFO 1:WARN 2:FAIL 3:FATAL
    """,
    "CXL_POISON_TRACE_": """
        0:LIST 1:INJECT 2:CLEAR
    """,
    "NVME_AER_": """
        0:ERROR 1:SMART 2:NOTICE 6:CSS 7:VS
    """,
    "nvme_fabrics_type_": """
        0:property_set 1:connect 4:property_get 5:auth_send 6:auth_receive
    """,
    "nvme_cmd_": """
        0:flush 1:write 2:read 4:write_uncor 5:compare 8:write_zeroes 9:dsm c:verify d:resv_register
        e:resv_report 11:resv_acquire 12:io_mgmt_recv 15:resv_release 79:zone_mgmt_send 7a:zone_mgmt_recv
        7d:zone_append
    """,
    "nvme_admin_": """
        0:delete_sq 1:create_sq 2:get_log_page 4:delete_cq 5:create_cq 6:identify 8:abort_cmd 9:set_features
        a:get_features c:async_event d:ns_mgmt 10:activate_fw 11:download_fw 14:dev_self_test 15:ns_attach
        18:keep_alive 19:directive_send 1a:directive_recv 1c:virtual_mgmt 1d:nvme_mi_send 1e:nvme_mi_recv
        7c:dbbuf 80:format_nvm 81:security_send 82:security_recv 84:sanitize_nvm 86:get_lba_status
    """,
    "DID_": """
        0:OK 1:NO_CONNECT 2:BUS_BUSY 3:TIME_OUT 4:BAD_TARGET 5:ABORT 6:PARITY 7:ERROR 8:RESET 9:BAD_INTR a:PASSTHROUGH
        b:SOFT_ERROR c:IMM_RETRY d:REQUEUE e:TRANSPORT_DISRUPTED f:TRANSPORT_FAILFAST
    """,
    "SAM_STAT_": """
        0:GOOD 2:CHECK_CONDITION 4:CONDITION_MET 8:BUSY 10:INTERMEDIATE 14:INTERMEDIATE_CONDITION_MET
        18:RESERVATION_CONFLICT 22:COMMAND_TERMINATED 28:TASK_SET_FULL 30:ACA_ACTIVE 40:TASK_ABORTED
    """,
    "SCSI_PROT_": """
        0:NORMAL 1:READ_INSERT 2:WRITE_STRIP 3:READ_STRIP 4:WRITE_INSERT 5:READ_PASS 6:WRITE_PASS
    """,
    "ATA_CMD_": """
        0:NOP 3:CFA_REQ_EXT_ERR 6:DSM 8:DEV_RESET b:REQ_SENSE_DATA 10:RESTORE 20:PIO_READ 22:READ_LONG
        23:READ_LONG_ONCE 24:PIO_READ_EXT 25:READ_EXT 26:READ_QUEUED 27:READ_NATIVE_MAX_EXT 29:READ_MULTI_EXT
        2a:READ_STREAM_DMA_EXT 2b:READ_STREAM_EXT 2f:READ_LOG_EXT 30:PIO_WRITE 32:WRITE_LONG 33:WRITE_LONG_ONCE
        34:PIO_WRITE_EXT 35:WRITE_EXT 36:WRITE_QUEUED 37:SET_MAX_EXT 38:CFA_WRITE_NE 39:WRITE_MULTI_EXT
        3a:WRITE_STREAM_DMA_EXT 3b:WRITE_STREAM_EXT 3d:WRITE_FUA_EXT 3e:WRITE_QUEUED_FUA_EXT 3f:WRITE_LOG_EXT
        40:VERIFY 42:VERIFY_EXT 45:WRITE_UNCORR_EXT 47:READ_LOG_DMA_EXT 4a:ZAC_MGMT_IN 51:CONFIG_STREAM
        57:WRITE_LOG_DMA_EXT 5b:TRUSTED_NONDATA 5c:TRUSTED_RCV 5d:TRUSTED_RCV_DMA 5e:TRUSTED_SND 5f:TRUSTED_SND_DMA
        60:FPDMA_READ 61:FPDMA_WRITE 63:NCQ_NON_DATA 64:FPDMA_SEND 65:FPDMA_RECV 87:CFA_TRANS_SECT 90:EDD
        91:INIT_DEV_PARAMS 92:DOWNLOAD_MICRO 93:DOWNLOAD_MICRO_DMA 9f:ZAC_MGMT_OUT a0:PACKET a1:ID_ATAPI a2:SERVICE
        b0:SMART b1:CONF_OVERLAY b4:SANITIZE_DEVICE c0:CFA_ERASE c4:READ_MULTI c5:WRITE_MULTI c6:SET_MULTI c8:READ
        ca:WRITE cd:CFA_WRITE_MULT_NE ce:WRITE_MULTI_FUA_EXT d1:CHK_MED_CRD_TYP de:MEDIA_LOCK df:MEDIA_UNLOCK
        e0:STANDBYNOW1 e1:IDLEIMMEDIATE e2:STANDBY e3:IDLE e4:PMP_READ e5:CHK_POWER e6:SLEEP e7:FLUSH e8:PMP_WRITE
        e9:PMP_READ_DMA ea:FLUSH_EXT eb:PMP_WRITE_DMA ec:ID_ATA ef:SET_FEATURES f1:SEC_SET_PASS f2:SEC_UNLOCK
        f3:SEC_ERASE_PREP f4:SEC_ERASE_UNIT f5:SEC_FREEZE_LOCK f6:SEC_DISABLE_PASS f8:READ_NATIVE_MAX f9:SET_MAX
    """,
    "ATA_PROT_": """
        0:NODATA 1:PIO 2:DMA 4:NCQ_NODATA 6:NCQ ff:UNKNOWN
    """,
    "ATAPI_PROT_": """
        8:NODATA 9:PIO a:DMA
    """,
    "ATA_DEV_": """
        0:UNKNOWN 1:ATA 2:ATA_UNSUP 3:ATAPI 4:ATAPI_UNSUP 5:PMP 6:PMP_UNSUP 7:SEMB 8:SEMB_UNSUP 9:ZAC a:ZAC_UNSUP
        b:NONE
    """,
    "HSM_ST": """
        0:_IDLE 1:_FIRST 2: 3:_LAST 4:_ERR
    """,
    "EC_RES_": """
        0:SUCCESS 1:INVALID_COMMAND 2:ERROR 3:INVALID_PARAM 4:ACCESS_DENIED 5:INVALID_RESPONSE 6:INVALID_VERSION
        7:INVALID_CHECKSUM 8:IN_PROGRESS 9:UNAVAILABLE a:TIMEOUT b:OVERFLOW c:INVALID_HEADER d:REQUEST_TRUNCATED
        e:RESPONSE_TOO_BIG f:BUS_ERROR 10:BUSY 11:INVALID_HEADER_VERSION 12:INVALID_HEADER_CRC 13:INVALID_DATA_CRC
        14:DUP_UNAVAILABLE
    """,
    "": """
        3:VMA_SHARED_BIT 7f:nvme_fabrics_command
    """,
}
"""Hexadecimal values by name, from the BTF of x86-64 kernels 6.12.43 and 7.3.4; those of SCSI, ATA and ChromeOS,
which are not in these, from include/scsi, include/linux/ata.h, include/linux/libata.h (the same in 6.12.117 and 7.3.4)
and include/linux/platform_data/cros_ec_commands.h."""
BINDER_RETURNS = """
0 ERROR, 1 OK, 2 TRANSACTION, 3 REPLY, 4 ACQUIRE_RESULT, 5 DEAD_REPLY, 6 TRANSACTION_COMPLETE, 7 INCREFS, 8 ACQUIRE,
9 RELEASE, 10 DECREFS, 11 ATTEMPT_ACQUIRE, 12 NOOP, 13 SPAWN_LOOPER, 14 FINISHED, 15 DEAD_BINDER,
16 CLEAR_DEATH_NOTIFICATION_DONE, 17 FAILED_REPLY, 18 FROZEN_REPLY, 19 ONEWAY_SPAM_SUSPECT,
20 TRANSACTION_PENDING_FROZEN, 21 FROZEN_BINDER, 22 CLEAR_FREEZE_NOTIFICATION_DONE
"""
BINDER_COMMANDS = """
0 TRANSACTION, 1 REPLY, 2 ACQUIRE_RESULT, 3 FREE_BUFFER, 4 INCREFS, 5 ACQUIRE, 6 RELEASE, 7 DECREFS, 8 INCREFS_DONE,
9 ACQUIRE_DONE, 10 ATTEMPT_ACQUIRE, 11 REGISTER_LOOPER, 12 ENTER_LOOPER, 13 EXIT_LOOPER, 14 REQUEST_DEATH_NOTIFICATION,
15 CLEAR_DEATH_NOTIFICATION, 16 DEAD_BINDER_DONE, 17 TRANSACTION_SG, 18 REPLY_SG, 19 REQUEST_FREEZE_NOTIFICATION,
20 CLEAR_FREEZE_NOTIFICATION, 21 FREEZE_NOTIFICATION_DONE
"""
"""Of include/uapi/linux/android/binder.h: the numbers of the ioctls."""


def test_enumerators() -> None:
    expected = {}
    for prefix, words in BY_PREFIX.items():
        for word in words.split():
            value, _, name = word.partition(":")
            expected[prefix + name] = int(value, 16)
    assert expected == ENUMERATORS


def binder(array: str) -> list[str]:
    """What all command numbers print, as binder_command and binder_return do it."""
    size = f"(sizeof({array}) / sizeof(({array})[0]))"
    number = "(((REC->cmd) >> 0) & ((1 << 8)-1))"
    event = Event(f'"%s", {number} < {size} ? {array}[{number}] : "unknown"', {"u32 cmd": 0})
    return event.render([{"u32 cmd": 0x80047200 | number} for number in range(256)])


def test_binder() -> None:
    for array, prefix, text in (
        ("binder_return_strings", "BR_", BINDER_RETURNS),
        ("binder_command_strings", "BC_", BINDER_COMMANDS),
    ):
        names = {int(number): prefix + name for number, name in map(str.split, text.split(","))}
        assert binder(array) == [names.get(number, "unknown") for number in range(256)]


def test_error_numbers() -> None:
    """1 to 133 as the C library has them, 512 to 530 by include/linux/errno.h."""
    expected = {number: name for number, name in errno.errorcode.items() if number <= 133}
    expected |= {35: "EDEADLK", 95: "EOPNOTSUPP", 133: "EHWPOISON"}  # where it may prefer an alias, or have no name
    expected |= {
        512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD",
        516: "ERESTART_RESTARTBLOCK", 517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE",
        522: "ENOTSYNC", 523: "EBADCOOKIE", 524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT", 527: "EBADTYPE",
        528: "EJUKEBOX", 529: "EIOCBQUEUED", 530: "ERECALLCONFLICT",
    }  # fmt: skip
    for number in range(1, 4096):
        assert error_name((1 << 64) - number, 8) == f"-{expected.get(number, number)}"
    assert error_name(0, 8) == "0" * 16
    assert error_name((1 << 32) - 4096, 4) == "fffff000"
