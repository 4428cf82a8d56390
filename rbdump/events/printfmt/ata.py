# SPDX-License-Identifier: Apache-2.0
"""Registers and flags of ATA as drivers/ata/libata-trace.c spells them.

The bits are those of include/linux/ata.h and include/linux/libata.h, the same in every kernel that has persistent
buffers; a bit of no name is printed in the number alone.
"""

from __future__ import annotations

__all__ = ["eh_action", "eh_err_mask", "host_status", "qc_flags", "status", "subcommand", "tf_flags"]

_STATUS = ((7, "BUSY"), (6, "DRDY"), (5, "DF"), (4, "DSC"), (3, "DRQ"), (2, "CORR"), (1, "SENSE"), (0, "ERR"))
_HOST_STATUS = ((2, "INTR"), (1, "ERR"), (0, "ACTIVE"))
_EH_ACTION = ((0, "REVALIDATE"), (1, "RESET"), (3, "ENABLE_LINK"), (5, "PARK"))
_EH_ERR_MASK = (
    (0, "DEV"), (1, "HSM"), (2, "TIMEOUT"), (3, "MEDIA"), (4, "ATA_BUS"), (5, "HOST_BUS"), (6, "SYSTEM"),
    (7, "INVALID"), (8, "OTHER"), (9, "NODEV_HINT"), (10, "NCQ"),
)  # fmt: skip
_QC_FLAGS = (
    (0, "ACTIVE"), (1, "DMAMAP"), (3, "IO"), (4, "RESULT_TF"), (5, "CLEAR_EXCL"), (6, "QUIET"), (7, "RETRY"),
    (16, "FAILED"), (17, "SENSE_VALID"), (18, "EH_SCHEDULED"),
)  # fmt: skip
_TF_FLAGS = ((0, "LBA48"), (1, "ISADDR"), (2, "DEV"), (3, "WRITE"), (4, "LBA"), (5, "FUA"), (6, "POLL"))
_SUBCOMMANDS = {
    0x65: {0x01: "READ_LOG_DMA_EXT", 0x02: "ZAC_MGMT_IN"},  # FPDMA_RECV
    0x64: {0x00: "DATASET_MANAGEMENT", 0x02: "WRITE_LOG_DMA_EXT"},  # FPDMA_SEND
    0x63: {0x00: "ABORT_QUEUE", 0x05: "SET_FEATURES", 0x06: "ZERO_EXT", 0x07: "ZAC_MGMT_OUT"},  # NCQ_NON_DATA
    0x4A: {0x00: "REPORT_ZONES"},  # ZAC_MGMT_IN
    0x9F: {0x01: "CLOSE_ZONE", 0x02: "FINISH_ZONE", 0x03: "OPEN_ZONE", 0x04: "RESET_WRITE_POINTER"},  # ZAC_MGMT_OUT
}

Bits = tuple[tuple[int, str], ...]


def _braces(value: int, bits: Bits) -> str:
    return f"{{ {''.join(f'{name} ' for bit, name in bits if value >> bit & 1)}}}"


def _word(value: int, bits: Bits) -> str:
    """An unsigned int and the names of its bits; zero has no braces."""
    value &= 0xFFFFFFFF
    return f"{value:x}{_braces(value, bits)}" if value else "0"


def status(value: int) -> str:
    """The status register; the kernel's function takes an unsigned char."""
    return _braces(value, _STATUS)


def host_status(value: int) -> str:
    """The status of the bus master DMA engine."""
    return _braces(value, _HOST_STATUS)


def eh_action(value: int) -> str:
    """What the error handler is to do; a hard reset (bit 2) is named as a soft one (bit 1) is."""
    names = _braces(value | value >> 1 & 2, _EH_ACTION)
    return f"{value & 0xFFFFFFFF:x}{names}" if value & 0xFFFFFFFF else "0"


def eh_err_mask(value: int) -> str:
    """Kinds of errors that the error handler found."""
    return _word(value, _EH_ERR_MASK)


def qc_flags(value: int) -> str:
    """Flags of a queued command."""
    return _word(value, _QC_FLAGS)


def tf_flags(value: int) -> str:
    """Flags of a taskfile."""
    return _word(value, _TF_FLAGS)


def subcommand(command: int, feature: int, count: int) -> str:
    """The subcommand of those commands that have some, behind a blank; ``count`` is the upper byte of the number of
    sectors, where commands that are queued with data have it."""
    code = count & 0x5F if command & 0xFF in (0x64, 0x65) else feature & 0xFF
    name = _SUBCOMMANDS.get(command & 0xFF, {}).get(code)
    return "" if name is None else f" {name}"
