# SPDX-License-Identifier: Apache-2.0
"""Names that functions and arrays of the kernel give to numbers, each table as a whole.

Each list is written in the order and notation of the kernel's header, not in that of the table it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from rbdump.events.printfmt import decoders
from tests.events.printfmt.rendering import render


def named(function: Callable[[int], str], numbers: Iterable[int], unknown: str) -> dict[int, str]:
    """All numbers that a function has a name for."""
    return {number: name for number in numbers if (name := function(number)) != unknown}


DWC3_ENDPOINT_COMMANDS = """
SETEPCONFIG 0x01 Set Endpoint Configuration
SETTRANSFRESOURCE 0x02 Set Endpoint Transfer Resource
GETEPSTATE 0x03 Get Endpoint State
SETSTALL 0x04 Set Stall
CLEARSTALL 0x05 Clear Stall
STARTTRANSFER 0x06 Start Transfer
UPDATETRANSFER 0x07 Update Transfer
ENDTRANSFER 0x08 End Transfer
DEPSTARTCFG 0x09 Start New Configuration
"""
DWC3_GENERIC_COMMANDS = """
SET_LMP 0x01 Set LMP
SET_PERIODIC_PAR 0x02 Set Periodic Parameters
XMIT_FUNCTION 0x03 Transmit Function Wake Device Notification
SET_SCRATCHPAD_ADDR_LO 0x04 Set Scratchpad Buffer Array Address Lo
SET_SCRATCHPAD_ADDR_HI 0x05 Set Scratchpad Buffer Array Address Hi
SELECTED_FIFO_FLUSH 0x09 Selected FIFO Flush
ALL_FIFO_FLUSH 0x0a All FIFO Flush
SET_ENDPOINT_NRDY 0x0c Set Endpoint NRDY
SET_ENDPOINT_PRIME 0x0d Set Endpoint Prime
RUN_SOC_BUS_LOOPBACK 0x10 Run SoC Bus Loopback Test
DEV_NOTIFICATION 0x07 Device Notification
"""
"""Macros of drivers/usb/dwc3/core.h, and what drivers/usb/dwc3/debug.h calls them."""


def defined(text: str) -> dict[int, str]:
    rows = [line.split(" ", 2) for line in text.strip().splitlines()]
    return {int(number, 0): name for _, number, name in rows}


def test_dwc3() -> None:
    everything = range(-4096, 4096)
    endpoint, generic = defined(DWC3_ENDPOINT_COMMANDS), defined(DWC3_GENERIC_COMMANDS)
    assert named(decoders.dwc3_ep_command, range(256), "UNKNOWN command") == endpoint
    assert named(decoders.dwc3_generic_command, range(256), "UNKNOWN") == generic
    assert decoders.dwc3_ep_command(0xF0406) == "Start Transfer"  # with its flags: the function takes a u8
    assert decoders.dwc3_generic_command(0x50A) == "All FIFO Flush"
    assert named(decoders.dwc3_ep_command_status, everything, "UNKNOWN") == {
        -110: "Timed Out", 0: "Successful", 1: "No Resource", 2: "Bus Expiry",
    }  # fmt: skip
    assert named(decoders.dwc3_generic_command_status, everything, "UNKNOWN") == {
        -110: "Timed Out", 0: "Successful", 1: "Error",
    }  # fmt: skip
    types = ["normal", "setup", "status2", "status3", "data", "isoc-first", "isoc", "link"]
    assert named(decoders.dwc3_trb_type, everything, "UNKNOWN") == {n << 4: name for n, name in enumerate(types, 1)}


def test_the_status_of_a_dwc3_command_is_a_signed_field() -> None:
    text = '"%s|%s", dwc3_gadget_ep_cmd_string(REC->cmd), dwc3_ep_cmd_status_string(REC->cmd_status)'
    assert render(text, {"unsigned int cmd": 0x30406, "int cmd_status": -110}) == "Start Transfer|Timed Out"
    assert render(text, {"unsigned int cmd": 0x16, "int cmd_status": -22}) == "UNKNOWN command|UNKNOWN"


@pytest.mark.parametrize(
    ("function", "unknown", "names"),
    [
        (decoders.xhci_ring_type, "UNKNOWN", ["CTRL", "ISOC", "BULK", "INTR", "STREAM", "CMD", "EVENT"]),
        (decoders.mc_event_error_type, "Info", ["Corrected", "Uncorrected", "Deferred", "Fatal"]),
    ],
)
def test_enumerations_from_zero_on(function: Callable[[int], str], unknown: str, names: list[str]) -> None:
    assert named(function, range(-100, 100), unknown) == dict(enumerate(names))


XEN_HYPERCALLS = """
set_trap_table 0   mmu_update 1   set_gdt 2   stack_switch 3   set_callbacks 4   fpu_taskswitch 5   sched_op_compat 6
platform_op 7   set_debugreg 8   get_debugreg 9   update_descriptor 10   memory_op 12   multicall 13
update_va_mapping 14   set_timer_op 15   event_channel_op_compat 16   xen_version 17   console_io 18
physdev_op_compat 19   grant_table_op 20   vm_assist 21   update_va_mapping_otherdomain 22   iret 23   vcpu_op 24
set_segment_base 25   mmuext_op 26   xsm_op 27   nmi_op 28   sched_op 29   callback_op 30   xenoprof_op 31
event_channel_op 32   physdev_op 33   hvm_op 34   sysctl 35   domctl 36   kexec_op 37   tmem_op 38   xc_reserved_op 39
xenpmu_op 40   dm_op 41   mca 48   arch_1 49   arch_2 50   arch_3 51   arch_4 52   arch_5 53   arch_6 54   arch_7 55
"""
"""xen_hypercall_names of x86-64 kernels 6.12.43 and 7.3.4, read out of their images."""


def test_xen_hypercalls() -> None:
    words = XEN_HYPERCALLS.split()
    expected = {int(number): f"({name})" for name, number in zip(words[::2], words[1::2], strict=True)}
    assert named(decoders.xen_hypercall, range(-100, 100), "") == expected


SCSI: list[tuple[str, str]] = [
    # scsi_trace_rw6: READ_6 WRITE_6
    ("08 1f ff ff 05 00", "lba=2097151 txlen=5"),
    ("0a 01 00 00 00 00", "lba=65536 txlen=256"),
    # scsi_trace_rw10: READ_10 WRITE_10 VERIFY WRITE_SAME
    ("28 00 00001000 00 0008 00", "lba=4096 txlen=8 protect=0"),
    ("2a 20 00000001 00 0100 00", "lba=1 txlen=256 protect=1"),
    ("2f e0 00000002 00 0003 00", "lba=2 txlen=3 protect=7"),
    ("41 08 00000010 00 0001 00", "lba=16 txlen=1 protect=0 unmap=1"),
    # scsi_trace_rw12: READ_12 WRITE_12 VERIFY_12
    ("a8 40 00000010 00010000 00 00", "lba=16 txlen=65536 protect=2"),
    ("aa 00 00000011 00000002 00 00", "lba=17 txlen=2 protect=0"),
    ("af 00 ffffffff 00000003 00 00", "lba=4294967295 txlen=3 protect=0"),
    # scsi_trace_rw16: READ_16 WRITE_16 VERIFY_16 WRITE_SAME_16
    ("88 20 0000000000000010 00000002 0000", "lba=16 txlen=2 protect=1"),
    ("8a 00 0000000100000000 00000001 0000", "lba=4294967296 txlen=1 protect=0"),
    ("8f 00 0000000000000001 ffffffff 0000", "lba=1 txlen=4294967295 protect=0"),
    ("93 08 0000000000000001 00000004 0000", "lba=1 txlen=4 protect=0 unmap=1"),
    # scsi_trace_atomic_write16_out, scsi_trace_unmap
    ("9c 00 0000000000000800 0010 0008 00 00", "lba=2048 txlen=8 boundary_size=16"),
    ("42 00 00000000 00 0018 00", "regions=1"),
    ("42 00 00000000 00 0000 00", "regions=268435455"),
    # scsi_trace_service_action_in
    ("9e 10 0000000000000000 00000020 0000", "READ_CAPACITY_16 lba=0 alloc_len=32"),
    ("9e 12 0000000000000007 00000018 0000", "GET_LBA_STATUS lba=7 alloc_len=24"),
    ("9e 11 0000000000000000 00000020 0000", "UNKNOWN"),
    # scsi_trace_zbc_in, scsi_trace_zbc_out
    ("95 00 0000000000080000 00001000 8f 00", "REPORT_ZONES zone=524288 alloc_len=4096 options=15 partial=1"),
    ("95 01 0000000000080000 00001000 00 00", "UNKNOWN"),
    ("94 01 0000000000080000 00000000 00 00", "CLOSE_ZONE zone=524288 all=0"),
    ("94 02 0000000000080000 00000000 00 00", "FINISH_ZONE zone=524288 all=0"),
    ("94 03 0000000000080000 00000000 00 00", "OPEN_ZONE zone=524288 all=0"),
    ("94 04 0000000000000000 00000000 01 00", "RESET_WRITE_POINTER zone=0 all=1"),
    ("94 05 0000000000000000 00000000 01 00", "UNKNOWN"),
    # scsi_trace_varlen: only known service actions reach scsi_trace_rw32
    *(
        (f"7f 00 000000000000 {action} 20 00 0000000000000005 00000006 0000 0000 00000007", expected)
        for action, expected in (
            ("0009", "READ_32 lba=5 txlen=7 protect=1 ei_lbrt=6"),
            ("000a", "VERIFY_32 lba=5 txlen=7 protect=1 ei_lbrt=6"),
            ("000b", "WRITE_32 lba=5 txlen=7 protect=1 ei_lbrt=6"),
            ("000d", "WRITE_SAME_32 lba=5 txlen=7 protect=1 ei_lbrt=6 unmap=0"),
            ("000c", "-"),
        )
    ),
    ("00 00 00 00 00 00", "-"),
    ("28", "lba=0 txlen=0 protect=0"),
]
MAINTENANCE = [
    "a3 05 REPORT_IDENTIFYING_INFORMATION",
    "a3 0a REPORT_TARGET_PORT_GROUPS",
    "a3 0b REPORT_ALIASES",
    "a3 0c REPORT_SUPPORTED_OPERATION_CODES",
    "a3 0d REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS",
    "a3 0e REPORT_PRIORITY",
    "a3 0f REPORT_TIMESTAMP",
    "a3 10 MANAGEMENT_PROTOCOL_IN",
    "a4 06 SET_IDENTIFYING_INFORMATION",
    "a4 0a SET_TARGET_PORT_GROUPS",
    "a4 0b CHANGE_ALIASES",
    "a4 0e SET_PRIORITY",
    "a4 0f SET_TIMESTAMP",
    "a4 10 MANAGEMENT_PROTOCOL_OUT",
]


@pytest.mark.parametrize(("cdb", "expected"), SCSI)
def test_scsi_commands(cdb: str, expected: str) -> None:
    raw = bytes.fromhex(cdb)
    assert decoders.scsi_cdb(raw) == expected
    fields = {"__data_loc unsigned char[] cmnd": raw, "u32 cmd_len": len(raw)}
    text = '"%s", scsi_trace_parse_cdb(p, __get_dynamic_array(cmnd), REC->cmd_len)'
    assert render(text, fields) == expected


def test_scsi_maintenance() -> None:
    found = []
    for opcode in (0xA3, 0xA4):
        for action in range(32):
            text = decoders.scsi_cdb(bytes((opcode, 0xE0 | action, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0)))
            if text != "UNKNOWN":
                assert text.endswith(" alloc_len=258")
                found.append(f"{opcode:02x} {action:02x} {text.removesuffix(' alloc_len=258')}")
    assert found == MAINTENANCE
