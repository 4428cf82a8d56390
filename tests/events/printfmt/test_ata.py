# SPDX-License-Identifier: Apache-2.0
"""What libata's events call registers and flags; the lists are in the order of the headers, not of the tables."""

from __future__ import annotations

import pytest

from rbdump.events.printfmt import ata
from tests.events.printfmt.rendering import ALL, render

STATUS = {"ERR": 0x01, "SENSE": 0x02, "CORR": 0x04, "DRQ": 0x08, "DSC": 0x10, "DF": 0x20, "DRDY": 0x40, "BUSY": 0x80}
HOST_STATUS = {"ACTIVE": 0x1, "ERR": 0x2, "INTR": 0x4}
EH_ACTION = {"REVALIDATE": 0x01, "RESET": 0x02, "ENABLE_LINK": 0x08, "PARK": 0x20}
ERR_MASK = {
    "DEV": 0x1, "HSM": 0x2, "TIMEOUT": 0x4, "MEDIA": 0x8, "ATA_BUS": 0x10, "HOST_BUS": 0x20, "SYSTEM": 0x40,
    "INVALID": 0x80, "OTHER": 0x100, "NODEV_HINT": 0x200, "NCQ": 0x400,
}  # fmt: skip
QC_FLAGS = {
    "ACTIVE": 0x1, "DMAMAP": 0x2, "IO": 0x8, "RESULT_TF": 0x10, "CLEAR_EXCL": 0x20, "QUIET": 0x40, "RETRY": 0x80,
    "FAILED": 0x10000, "SENSE_VALID": 0x20000, "EH_SCHEDULED": 0x40000,
}  # fmt: skip
TF_FLAGS = {"LBA48": 0x1, "ISADDR": 0x2, "DEV": 0x4, "WRITE": 0x8, "LBA": 0x10, "FUA": 0x20, "POLL": 0x40}


def test_registers() -> None:
    for bit in range(8):
        value = 1 << bit
        names = [name for name in STATUS if STATUS[name] == value]
        assert ata.status(value) == f"{{ {names[0]} }}"
        names = [name for name in HOST_STATUS if HOST_STATUS[name] == value]
        assert ata.host_status(value) == (f"{{ {names[0]} }}" if names else "{ }")
    assert ata.status(0) == ata.host_status(0) == "{ }"
    assert ata.status(0xFF) == "{ BUSY DRDY DF DSC DRQ CORR SENSE ERR }"
    assert ata.host_status(0xFF) == "{ INTR ERR ACTIVE }"


@pytest.mark.parametrize(
    ("function", "bits"),
    [
        (ata.eh_err_mask, ERR_MASK),
        (ata.qc_flags, QC_FLAGS),
        (ata.tf_flags, TF_FLAGS),
        (ata.eh_action, EH_ACTION | {"RESET ": 0x04}),
    ],
)
def test_words(function: object, bits: dict[str, int]) -> None:
    assert callable(function)
    for bit in range(32):
        names = [f"{name.strip()} " for name in bits if bits[name] == 1 << bit]
        assert function(1 << bit) == f"{1 << bit:x}{{ {''.join(names)}}}"
    assert function(0) == function(1 << 32) == "0"  # the kernel's functions take an unsigned int
    everything = "".join(f"{name} " for name in bits if not name.endswith(" "))
    assert function(-1) == f"ffffffff{{ {everything}}}"


def test_both_kinds_of_reset_are_one() -> None:
    assert ata.eh_action(0x2) == "2{ RESET }"
    assert ata.eh_action(0x4) == "4{ RESET }"
    assert ata.eh_action(0xF) == "f{ REVALIDATE RESET ENABLE_LINK }"


SUBCOMMANDS = {  # command, feature, upper byte of the number of sectors
    (0x65, 0xFF, 0x01): " READ_LOG_DMA_EXT",
    (0x65, 0xFF, 0x42): "",
    (0x65, 0xFF, 0xA2): " ZAC_MGMT_IN",  # bits 5 and 7 are the priority
    (0x64, 0xFF, 0x02): " WRITE_LOG_DMA_EXT",
    (0x64, 0xFF, 0x00): " DATASET_MANAGEMENT",
    (0x64, 0xFF, 0x01): "",
    (0x63, 0x00, 0xFF): " ABORT_QUEUE",
    (0x63, 0x05, 0xFF): " SET_FEATURES",
    (0x63, 0x06, 0xFF): " ZERO_EXT",
    (0x63, 0x07, 0xFF): " ZAC_MGMT_OUT",
    (0x63, 0x01, 0xFF): "",
    (0x4A, 0x00, 0xFF): " REPORT_ZONES",
    (0x4A, 0x01, 0xFF): "",
    (0x9F, 0x01, 0xFF): " CLOSE_ZONE",
    (0x9F, 0x02, 0xFF): " FINISH_ZONE",
    (0x9F, 0x03, 0xFF): " OPEN_ZONE",
    (0x9F, 0x04, 0xFF): " RESET_WRITE_POINTER",
    (0x9F, 0x00, 0xFF): "",
    (0x60, 0x00, 0x00): "",
}


def test_subcommands() -> None:
    assert {key: ata.subcommand(*key) for key in SUBCOMMANDS} == SUBCOMMANDS


def test_print_fmts() -> None:
    text = (
        '"%s %s %s %s", libata_trace_parse_qc_flags(p, REC->flags), libata_trace_parse_status(p, REC->status), '
        "libata_trace_parse_host_stat(p, REC->host), libata_trace_parse_eh_action(p, REC->action)"
    )
    fields = {"unsigned long flags": 0x5B, "u8 status": 0x50, "u8 host": 4, "unsigned int action": 7}
    for abi in ALL:
        assert render(text, fields, abi=abi) == (
            "5b{ ACTIVE DMAMAP IO RESULT_TF QUIET } { DRDY DSC } { INTR } 7{ REVALIDATE RESET }"
        )
    text = (
        '"%s%s%s", libata_trace_parse_tf_flags(p, REC->flags), libata_trace_parse_eh_err_mask(p, REC->mask), '
        "libata_trace_parse_subcmd(p, REC->cmd, REC->feature, REC->hob_nsect)"
    )
    fields = {"unsigned int flags": 0, "unsigned int mask": 0, "u8 cmd": 0x9F, "u8 feature": 4, "u8 hob_nsect": 0}
    assert render(text, fields) == "00 RESET_WRITE_POINTER"
