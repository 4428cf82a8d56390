# SPDX-License-Identifier: Apache-2.0
"""Names that functions and arrays of the kernel give to numbers, each table as a whole.

Each list is written in the order and notation of the kernel's header, not in that of the table it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from rbdump.events.printfmt import decoders, xhci
from rbdump.events.printfmt.usb import ucsi_command, ucsi_recipient, usb_control, usb_speed, usb_state
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


DWC3_DEVICE_EVENTS = """
OVERFLOW 11 Overflow
CMD_CMPL 10 Command Complete
ERRATIC_ERROR 9 Erratic Error
SOF 7 Start-Of-Frame
SUSPEND 6 Suspend
WAKEUP 4 WakeUp
LINK_STATUS_CHANGE 3 Link Change
CONNECT_DONE 2 Connection Done
RESET 1 Reset
DISCONNECT 0 Disconnect:
"""
DWC3_LINKS = """
U0 0x00 U0
U1 0x01 U1
U2 0x02 U2
U3 0x03 U3
SS_DIS 0x04 SS.Disabled
RX_DET 0x05 RX.Detect
SS_INACT 0x06 SS.Inactive
POLL 0x07 Polling
RECOV 0x08 Recovery
HRESET 0x09 Hot Reset
CMPLY 0x0a Compliance
LPBK 0x0b Loopback
RESET 0x0e Reset
RESUME 0x0f Resume
"""


def test_events_of_dwc3_devices() -> None:
    events, links = defined(DWC3_DEVICE_EVENTS), defined(DWC3_LINKS)
    for kind in range(16):
        for link in range(16):
            expected = f"{events.get(kind)} [{links.get(link, 'UNKNOWN link state')}]" if kind in events else "UNKNOWN"
            assert decoders.dwc3_event(0xFFF0F001 | kind << 8 | link << 16, 0) == expected


@pytest.mark.parametrize(
    ("event", "state", "expected"),
    [  # parameters, status, kind and number of the endpoint, from the upper bits on
        (0x00006040, 1, "ep0out: Transfer Complete (SIl) [Setup Phase]"),
        (0x00008042, 3, "ep0in: Transfer Complete (siL) [Status Phase]"),
        (0x00000040, 0, "ep0out: Transfer Complete (sil) [Unconnected]"),
        (0x00000040, 2, "ep0out: Transfer Complete (sil) [Data Phase]"),
        (0x00000040, 4, "ep0out: Transfer Complete (sil) [UNKNOWN]"),
        (0x0000E046, 0, "ep1in: Transfer Complete (SIL)"),
        (0xABCDE084, 0, "ep1out: Transfer In Progress [0000abcd] (SIM)"),
        (0x000010BE, 0, "ep15in: Transfer In Progress [00000000] (sim)"),
        (0x000010C2, 0, "ep0in: Transfer Not Ready [00000000] (Not Active) [Data Phase]"),
        (0x0001A0C0, 0, "ep0out: Transfer Not Ready [00000001] (Active) [Status Phase]"),
        (0x000000C0, 0, "ep0out: Transfer Not Ready [00000000] (Not Active)"),
        (0xFFFF80C4, 0, "ep1out: Transfer Not Ready [0000ffff] (Active)"),
        (0x00000104, 0, "ep1out: FIFO"),
        (0x00071184, 0, "ep1out:  Stream 7 Found"),
        (0x00072184, 0, "ep1out:  Stream Not Found"),
        (0x000701C4, 0, "ep1out: Endpoint Command Complete"),
        (0x00000144, 0, "ep1out: UNKNOWN"),
    ],
)
def test_events_of_dwc3_endpoints(event: int, state: int, expected: str) -> None:
    text = '"%s", dwc3_decode_event(__get_buf(500), 500, REC->event, REC->ep0state)'
    assert render(text, {"u32 event": event, "u32 ep0state": state}) == expected


def test_the_mode_of_a_dwc3_controller() -> None:
    assert named(decoders.dwc3_mode, range(-100, 100), "UNKNOWN") == {3: "otg", 2: "device", 1: "host"}


def test_the_status_of_a_dwc3_command_is_a_signed_field() -> None:
    text = '"%s|%s", dwc3_gadget_ep_cmd_string(REC->cmd), dwc3_ep_cmd_status_string(REC->cmd_status)'
    assert render(text, {"unsigned int cmd": 0x30406, "int cmd_status": -110}) == "Start Transfer|Timed Out"
    assert render(text, {"unsigned int cmd": 0x16, "int cmd_status": -22}) == "UNKNOWN command|UNKNOWN"


@pytest.mark.parametrize(
    ("function", "unknown", "names"),
    [
        (xhci.ring_type, "UNKNOWN", ["CTRL", "ISOC", "BULK", "INTR", "STREAM", "CMD", "EVENT"]),
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


USB: list[tuple[str, str]] = [  # bRequestType, bRequest, wValue, wIndex, wLength
    ("80 00 0000 0000 2", "Get Device Status(Length = 2)"),
    ("81 00 0000 0003 2", "Get Interface Status(Intf = 3, Length = 2)"),
    ("82 00 0000 0081 2", "Get Endpoint Status(ep1in)"),
    ("82 00 0000 0002 2", "Get Endpoint Status(ep2out)"),
    ("83 00 0000 0002 2", ""),
    ("00 01 0000 0000 0", "Clear Device Feature(Self Powered)"),
    ("00 03 0001 0000 0", "Set Device Feature(Remote Wakeup)"),
    ("00 03 0030 0000 0", "Set Device Feature(U1 Enable)"),
    ("00 03 0031 0000 0", "Set Device Feature(U2 Enable)"),
    ("00 03 0032 0000 0", "Set Device Feature(LTM Enable)"),
    ("00 03 0003 0000 0", "Set Device Feature(UNKNOWN)"),
    ("00 03 0002 0001 0", "Set Device Feature(Test Mode: TEST_J)"),
    ("00 03 0002 0002 0", "Set Device Feature(Test Mode: TEST_K)"),
    ("00 03 0002 0003 0", "Set Device Feature(Test Mode: TEST_SE0_NAK)"),
    ("00 03 0002 0004 0", "Set Device Feature(Test Mode: TEST_PACKET)"),
    ("00 03 0002 0005 0", "Set Device Feature(Test Mode: TEST_FORCE_EN)"),
    ("00 03 0002 0006 0", "Set Device Feature(Test Mode: UNKNOWN)"),
    ("01 03 0000 0000 0", "Set Interface Feature(Function Suspend)"),
    ("01 01 0001 0000 0", "Clear Interface Feature(UNKNOWN)"),
    ("02 01 0000 0083 0", "Clear Endpoint Feature(Halt ep3in)"),
    ("02 03 0001 0003 0", "Set Endpoint Feature(UNKNOWN ep3out)"),
    ("03 03 0001 0003 0", ""),
    ("00 05 000a 0000 0", "Set Address(Addr = 0a)"),
    ("80 08 0000 0000 1", "Get Configuration(Length = 1)"),
    ("00 09 0101 0000 0", "Set Configuration(Config = 1)"),
    ("81 0a 0000 0002 1", "Get Interface(Intf = 2, Length = 1)"),
    ("01 0b 0103 0002 0", "Set Interface(Intf = 2, Alt.Setting = 3)"),
    ("82 0c 0000 0081 2", "Synch Frame(Endpoint = 129, Length = 2)"),
    ("00 30 0000 0000 6", "Set SEL(Length = 6)"),
    ("00 31 0128 0000 0", "Set Isochronous Delay(Delay = 40 ns)"),
    ("80 02 0001 0002 3", "Type=Standard Recipient=Device Dir=IN bRequest=2 wValue=1 wIndex=2 wLength=3"),
    ("21 09 0200 0001 8", "Type=Class Recipient=Interface Dir=OUT bRequest=9 wValue=512 wIndex=1 wLength=8"),
    ("c2 06 0001 0081 4", "Type=Vendor Recipient=Endpoint Dir=IN bRequest=6 wValue=1 wIndex=129 wLength=4"),
    ("e3 00 0000 0000 0", "Type=Unknown Recipient=Unknown Dir=IN bRequest=0 wValue=0 wIndex=0 wLength=0"),
]
USB_DESCRIPTORS = {
    "Device": 0x01, "Configuration": 0x02, "String": 0x03, "Interface": 0x04, "Endpoint": 0x05,
    "Device Qualifier": 0x06, "Other Speed Config": 0x07, "Interface Power": 0x08, "OTG": 0x09, "Debug": 0x0A,
    "Interface Association": 0x0B, "BOS": 0x0F, "Device Capability": 0x10, "Pipe Usage": 0x24,
    "SS Endpoint Companion": 0x30, "SSP Isochronous Endpoint Companion": 0x31,
}  # fmt: skip


@pytest.mark.parametrize(("setup", "expected"), USB)
def test_usb_control_requests(setup: str, expected: str) -> None:
    words = [int(word, 16) for word in setup.split()]
    text = '"%s", usb_decode_ctrl(__get_buf(500), 500, REC->t, REC->r, REC->v, REC->i, REC->l)'
    fields = dict(zip(("u8 t", "u8 r", "u16 v", "u16 i", "u16 l"), words, strict=True))
    assert render(text, fields) == expected


def test_usb_descriptors() -> None:
    found = {kind: usb_control(0x80, 6, kind << 8 | 7, 0, 18) for kind in range(256)}
    assert {text: kind for kind, text in found.items() if "UNKNOWN" not in text} == {
        f"Get {name} Descriptor(Index = 7, Length = 18)": kind for name, kind in USB_DESCRIPTORS.items()
    }
    assert usb_control(0, 7, 0xFF01, 0, 2) == "Set UNKNOWN Descriptor(Index = 1, Length = 2)"


USB_SPEEDS = ["UNKNOWN", "low-speed", "full-speed", "high-speed", "wireless", "super-speed", "super-speed-plus"]
USB_STATES = """
SUSPENDED 8 suspended
CONFIGURED 7 configured
ADDRESS 6 addressed
DEFAULT 5 default
UNAUTHENTICATED 4 unauthenticated
RECONNECTING 3 reconnecting
POWERED 2 powered
ATTACHED 1 attached
NOTATTACHED 0 not attached
"""


def test_speeds_and_states_of_usb_devices() -> None:
    assert {speed: usb_speed(speed) for speed in range(7)} == dict(enumerate(USB_SPEEDS))
    assert named(usb_speed, (-1, *range(7, 300)), "UNKNOWN") == {}
    assert named(usb_state, range(-9, 300), "UNKNOWN") == defined(USB_STATES)
    text = '"speed %s state %s", usb_speed_string(REC->speed), usb_state_string(REC->state)'
    assert render(text, {"unsigned int speed": 3, "unsigned int state": 7}) == "speed high-speed state configured"


UCSI_COMMANDS = """
PPM_RESET 0x01   CANCEL 0x02   CONNECTOR_RESET 0x03   ACK_CC_CI 0x04   SET_NOTIFICATION_ENABLE 0x05
GET_CAPABILITY 0x06   GET_CONNECTOR_CAPABILITY 0x07   SET_CCOM 0x08   SET_UOR 0x09   SET_PDM 0x0a   SET_PDR 0x0b
GET_ALTERNATE_MODES 0x0c   GET_CAM_SUPPORTED 0x0d   GET_CURRENT_CAM 0x0e   SET_NEW_CAM 0x0f   GET_PDOS 0x10
GET_CABLE_PROPERTY 0x11   GET_CONNECTOR_STATUS 0x12   GET_ERROR_STATUS 0x13
"""


def test_ucsi() -> None:
    words = UCSI_COMMANDS.split()
    expected = {int(number, 16): name for name, number in zip(words[::2], words[1::2], strict=True)}
    assert named(ucsi_command, range(256), "Unknown command") == expected
    recipients = {0: "port", 1: "partner", 2: "plug (prime)", 3: "plug (double prime)"}
    assert named(ucsi_recipient, range(-9, 256), "") == recipients
    text = '"%s %s", ucsi_cmd_str(REC->ctrl), ucsi_recipient_str(REC->recipient)'
    assert render(text, {"u64 ctrl": 0xDBE7000000010012, "u8 recipient": 1}) == "GET_CONNECTOR_STATUS partner"


def test_directions_of_sound() -> None:
    directions = [render('"%s", snd_pcm_direction_name(REC->stream)', {"int stream": n}) for n in (0, 1, 2, -1)]
    assert directions == ["Playback", "Capture", "Capture", "Capture"]
