# SPDX-License-Identifier: Apache-2.0
"""What events of xHCI host controllers say of TRBs, contexts and registers, with the two texts of some."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.events.format import EventFormat, parse_format
from rbdump.events.printfmt import UnsupportedPrintFmt, xhci
from tests.events.printfmt.rendering import ALL, render
from tests.events.records import COMMON

TRB = '"%s", xhci_decode_trb(__get_buf(500), 500, REC->field0, REC->field1, REC->field2, REC->field3)'


def words(numbers: str) -> list[int]:
    return [int(number, 16) for number in numbers.split()]


TRBS = [
    ("2dab8000 0 0 00000401", "length 0 TD size 0 intr 0 type 'Normal' flags b:i:i:c:s:i:e:C"),
    ("2dab8000 0 0 00000675", "length 0 TD size 0 intr 0 type 'Normal' flags B:I:I:C:s:I:e:C"),
    ("2dab8000 0 0043ffff 0000040a", "length 131071 TD size 1 intr 1 type 'Normal' flags b:i:i:c:S:i:E:c"),
    ("2dab8000 0 00400008 00010c7f", "length 8 TD size 0 intr 1 type 'Data Stage' flags I:I:C:S:I:E:C"),
    ("2dab8000 0 ffc00000 00001021", "length 0 TD size 0 intr 1023 type 'Status Stage' flags I:c:e:C"),
    ("2dab8000 0 0 00001012", "length 0 TD size 0 intr 0 type 'Status Stage' flags i:C:E:c"),
    ("2dab8000 0 003e0000 00001c00", "length 0 TD size 31 intr 0 type 'Event Data' flags b:i:i:c:s:i:e:c"),
    ("2dab8000 0 0 00002021", "length 0 TD size 0 intr 0 type 'No-Op' flags b:i:I:c:s:i:e:C"),
]
OTHER_TRBS = [
    (
        "01000680 00120000 00000008 00030841",
        "bRequestType 80 bRequest 06 wValue 0100 wIndex 0000 wLength 18 length 8 TD size 0 intr 0 "
        "type 'Setup Stage' flags I:i:C",
    ),
    (
        "0200ab21 ffff1234 00000008 00000820",
        "bRequestType 21 bRequest ab wValue 0200 wIndex 1234 wLength 65535 length 8 TD size 0 intr 0 "
        "type 'Setup Stage' flags i:I:c",
    ),
    ("2dab8000 1 00800000 00001803", "LINK 000000012dab8000 intr 2 type 'Link' flags i:c:T:C"),
    ("2dab8000 1 0 00001830", "LINK 000000012dab8000 intr 0 type 'Link' flags I:C:t:c"),
    (
        "2dab8010 0 0d000012 01038005",
        "TRB 000000002dab8010 status 'Short Packet' len 18 slot 1 ep 3 type 'Transfer Event' flags E:C",
    ),
    ("0 0 0 00002401", "Enable Slot Command: flags C"),
    ("0 0 0 ff002800", "Disable Slot Command: slot 255 flags c"),
    ("2dab8000 0 0 01002e01", "Address Device Command: ctx 000000002dab8000 slot 1 flags B:C"),
    ("2dab8000 0 0 01002c01", "Address Device Command: ctx 000000002dab8000 slot 1 flags b:C"),
    ("2dab8000 0 0 01003200", "Configure Endpoint Command: ctx 000000002dab8000 slot 1 flags D:c"),
    ("2dab8000 0 0 02003401", "Evaluate Context Command: ctx 000000002dab8000 slot 2 flags C"),
    ("2dab8000 0 0 021f3a01", "Reset Endpoint Command: ctx 000000002dab8000 slot 2 ep 31 flags T:C"),
    ("0 0 0 02833c01", "Stop Ring Command: slot 2 sp 1 ep 3 flags C"),
    ("1 2 fffe0000 01034001", "Set TR Dequeue Pointer Command: deq 0000000200000001 stream 65534 slot 1 ep 3 flags C"),
    ("0 0 0 03004401", "Reset Device Command: slot 3 flags C"),
    ("1 2 ffc00000 00ff4800", "Force Event Command: event 0000000200000001 vf intr 1023 vf id 255 flags c"),
    ("0 0 0 04004c01", "Negotiate Bandwidth Command: slot 4 flags C"),
    ("0 0 0 0fff5001", "Set Latency Tolerance Value Command: belt 4095 flags C"),
    ("10 0 0 01045401", "Get Port Bandwidth Command: ctx 0000000000000010 slot 1 speed 4 flags C"),
    ("000000a4 2 3 07005800", "Force Header Command: info 0000000300000002000000a0 pkt type 4 roothub port 7 flags c"),
    ("0 0 0 00005c01", "No-Op Command: flags C"),
    ("1 2 3 0000c001", "type 'NEC Command Completion Event' -> raw 00000001 00000002 00000003 0000c001"),
    ("1 2 3 0000c400", "type 'NET Get Firmware Revision Command' -> raw 00000001 00000002 00000003 0000c400"),
    ("1 2 3 00000001", "type 'UNKNOWN' -> raw 00000001 00000002 00000003 00000001"),
]


def test_transfer_request_blocks() -> None:
    for numbers, expected in TRBS:
        assert xhci.trb(*words(numbers)) == f"Buffer 000000002dab8000 {expected}"
    for numbers, expected in OTHER_TRBS:
        assert xhci.trb(*words(numbers)) == expected
    fields = dict(zip(("u32 field0", "u32 field1", "u32 field2", "u32 field3"), words(OTHER_TRBS[2][0]), strict=True))
    for abi in ALL:
        assert render(TRB, fields, abi=abi) == OTHER_TRBS[2][1]


COMPLETION_CODES = """
INVALID 0 Invalid
STOPPED_SHORT_PACKET 28 Stopped - Short Packet
STOPPED_LENGTH_INVALID 27 Stopped - Length Invalid
STOPPED 26 Stopped
COMMAND_ABORTED 25 Command Aborted
COMMAND_RING_STOPPED 24 Command Ring Stopped
MISSED_SERVICE_ERROR 23 Missed Service Error
INCOMPATIBLE_DEVICE_ERROR 22 Incompatible Device Error
EVENT_RING_FULL_ERROR 21 Event Ring Full Error
NO_PING_RESPONSE_ERROR 20 No Ping Response Error
CONTEXT_STATE_ERROR 19 Context State Error
BANDWIDTH_OVERRUN_ERROR 18 Bandwidth Overrun Error
PARAMETER_ERROR 17 Parameter Error
VF_EVENT_RING_FULL_ERROR 16 VF Event Ring Full Error
RING_OVERRUN 15 Ring Overrun
RING_UNDERRUN 14 Ring Underrun
SHORT_PACKET 13 Short Packet
ENDPOINT_NOT_ENABLED_ERROR 12 Endpoint Not Enabled Error
SLOT_NOT_ENABLED_ERROR 11 Slot Not Enabled Error
INVALID_STREAM_TYPE_ERROR 10 Invalid Stream Type Error
NO_SLOTS_AVAILABLE_ERROR 9 No Slots Available Error
BANDWIDTH_ERROR 8 Bandwidth Error
RESOURCE_ERROR 7 Resource Error
STALL_ERROR 6 Stall Error
TRB_ERROR 5 TRB Error
USB_TRANSACTION_ERROR 4 USB Transaction Error
BABBLE_DETECTED_ERROR 3 Babble Detected
DATA_BUFFER_ERROR 2 Data Buffer Error
SUCCESS 1 Success
MAX_EXIT_LATENCY_TOO_LARGE_ERROR 29 Max Exit Latency Too Large Error
ISOCH_BUFFER_OVERRUN 31 Isoch Buffer Overrun
EVENT_LOST_ERROR 32 Event Lost Error
UNDEFINED_ERROR 33 Undefined Error
INVALID_STREAM_ID_ERROR 34 Invalid Stream ID Error
SECONDARY_BANDWIDTH_ERROR 35 Secondary Bandwidth Error
SPLIT_TRANSACTION_ERROR 36 Split Transaction Error
"""
EVENTS = """
MFINDEX_WRAP 39 MFINDEX Wrap Event
DEV_NOTE 38 Device Notification Event
HC_EVENT 37 Host Controller Event
DOORBELL 36 Doorbell Event
BANDWIDTH_EVENT 35 Bandwidth Request Event
PORT_STATUS 34 Port Status Change Event
COMPLETION 33 Command Completion Event
TRANSFER 32 Transfer Event
"""


def named(text: str) -> dict[int, str]:
    rows = [line.split(" ", 2) for line in text.strip().splitlines()]
    return {int(number): name for _, number, name in rows}


def test_events_and_their_completion_codes() -> None:
    codes = named(COMPLETION_CODES)
    for code in range(256):
        name = codes.get(code, "Unknown!!")
        assert f" status '{name}' len 16777215 slot " in xhci.trb(0, 0, code << 24 | 0xFFFFFF, 33 << 10)
    for kind, name in named(EVENTS).items():
        assert xhci.trb(0, 0, 0, kind << 10).endswith(f"status 'Invalid' len 0 slot 0 ep 0 type '{name}' flags e:c")


def test_isochronous_trbs_tell_more_since_records_tell_the_place() -> None:
    trb = {"u32 field0": 0x1000, "u32 field1": 0, "u32 field2": 0x000600C0, "u32 field3": 0x8C0515B5}
    assert render(TRB, trb) == (
        "Buffer 0000000000001000 length 192 TD size 3 intr 0 type 'Isoch' flags b:i:I:C:s:I:e:C"
    )
    assert render(TRB, {"u64 dma": 0x2000, **trb}) == (
        "Buffer 0000000000001000 length 192 TD size/TBC 3 intr 0 type 'Isoch' TBC 3 TLBPC 5 frame_id 192 "
        "flags S:b:i:I:C:s:I:e:C"
    )
    with_place = {"u64 dma": 0x2000, **trb, "u32 field3": 0x00001600}
    assert render(TRB, with_place).endswith("TBC 0 TLBPC 0 frame_id 0 flags s:B:i:i:c:s:i:e:c")


def test_the_buffer_cuts_a_trb() -> None:
    fields = {"u32 field0": 0, "u32 field1": 0, "u32 field2": 0, "u32 field3": 0x2401}
    text = "Enable Slot Command: flags C"
    assert render(TRB.replace("500", "29"), fields) == text
    assert render(TRB.replace("500", "28"), fields) == text[:27]


def test_control_contexts() -> None:
    text = '"%s", xhci_decode_ctrl_ctx(__get_buf(500), REC->drop, REC->add)'
    for drop, add, expected in [
        (0, 0, ""),
        (0, 3, "Add: slot ep0"),
        (0, 1, "Add: slot"),
        (0x18, 0x19, "Drop: 1in 2out, Add: slot 1in 2out"),
        (0x3, 0, "Drop: 0out 0in, "),
        (0x80000000, 0x80000004, "Drop: 15in, Add: 1out 15in"),
    ]:
        assert render(text, {"u32 drop": drop, "u32 add": add}) == expected


def test_slot_contexts() -> None:
    text = '"%s", xhci_decode_slot_context(__get_buf(500), REC->info, REC->info2, REC->tt_info, REC->state)'
    fields = {"u32 info": 0x0E4FFFFF, "u32 info2": 0x05020203, "u32 tt_info": 0x00430201, "u32 state": 0x18000004}
    assert render(text, fields) == (
        "RS fffff super-speed multi-TT Hub Ctx Entries 1 MEL 515 us Port# 2/5 "
        "[TT Slot 1 Port# 2 TTT 3 Intr 1] Addr 4 State configured"
    )
    speeds = ["UNKNOWN speed", "full-speed", "low-speed", "high-speed", "super-speed", "super-speed plus"]
    for speed in range(16):
        name = speeds[speed] if speed < 6 else "UNKNOWN speed"
        assert xhci.slot_context(speed << 20, 0, 0, 0).startswith(f"RS 00000 {name} Ctx Entries 0 MEL")
    states = ["enabled/disabled", "default", "addressed", "configured"]
    for state in range(32):
        name = states[state] if state < 4 else "reserved"
        assert xhci.slot_context(0, 0, 0, state << 27).endswith(f" Addr 0 State {name}")


def test_endpoint_contexts() -> None:
    text = '"%s", xhci_decode_ep_context(__get_buf(500), REC->info, REC->info2, REC->deq, REC->tx_info)'
    fields = {"u32 info": 0x01038203, "u32 info2": 0x02000FB6, "u64 deq": 0x112233445, "u32 tx_info": 0x00030200}
    assert render(text, fields) == (
        "State stopped mult 3 max P. Streams 0 LSA interval 1000 us max ESIT payload 65539 CErr 3 Type Bulk IN "
        "HIDburst 15 maxp 512 deq 0000000112233445 avg trb len 512"
    )
    states = ["disabled", "running", "halted", "stopped", "error", "INVALID", "INVALID", "INVALID"]
    types = ["INVALID", "Isoc OUT", "Bulk OUT", "Int OUT", "Ctrl", "Isoc IN", "Bulk IN", "Int IN"]
    for number in range(8):
        found = xhci.endpoint_context(0x7C00 | number, number << 3, 0, 0)
        assert found.startswith(f"State {states[number]} mult 1 max P. Streams 31 interval 125 us")
        assert f" Type {types[number]} burst 0 maxp 0" in found
    for interval, expected in ((0x0F, 4096000), (0x19, -100663296), (0x1F, -2147483648), (0x20, 125), (0xFF, -(2**31))):
        assert f" interval {expected} us max" in xhci.endpoint_context(interval << 16, 0, 0, 0)


LINK_STATES = {
    0: "U0", 1: "U1", 2: "U2", 3: "U3", 4: "Disabled", 5: "RxDetect", 6: "Inactive", 7: "Polling", 8: "Recovery",
    9: "Hot Reset", 10: "Compliance mode", 11: "Test mode", 15: "Resume",
}  # fmt: skip
PORT_BITS = {
    "CCS": 0, "PED": 1, "OCA": 3, "PR": 4, "PP": 9, "LWS": 16, "CSC": 17, "PEC": 18, "WRC": 19, "OCC": 20, "PRC": 21,
    "PLC": 22, "CEC": 23, "CAS": 24, "WCE": 25, "WDE": 26, "WOE": 27, "DR": 30, "WPR": 31,
}  # fmt: skip
OLD_PORT_BITS = {name: PORT_BITS[name] for name in ["CSC", "PEC", "WRC", "OCC", "PRC", "PLC", "CEC", "CAS"]}


def test_port_status() -> None:
    for bit in (bit for bit in range(32) if bit not in range(5, 9) and bit not in range(10, 14)):
        names = "".join(f"{name} " for name in PORT_BITS if PORT_BITS[name] == bit)
        assert xhci.port_status(1 << bit) == f"0x{1 << bit:08x} Speed=0 Link=U0 {names}"
    for state in range(16):
        assert f"Link={LINK_STATES.get(state, 'Unknown')} " in xhci.port_status(state << 5)
        assert f" Speed={state} " in xhci.port_status(state << 10)
    assert xhci.port_status(0xFFFFFFFF) == xhci.port_status_before_6_19(0xFFFFFFFF) == "0xffffffff "
    assert xhci.port_status(0xFFFFFFFE) == (
        "0xfffffffe Speed=15 Link=Resume OCA CAS DR PP WCE WDE WOE LWS PR WPR PED CSC PEC WRC OCC PRC PLC CEC "
    )


def test_port_status_before_6_19() -> None:
    off = "Powered-off Not-connected Disabled Link:U0 PortSpeed:0"
    for name, bit in OLD_PORT_BITS.items():
        assert xhci.port_status_before_6_19(1 << bit) == f"0x{1 << bit:08x} {off} Change: {name} Wake: "
    for name in ("WCE", "WDE", "WOE"):
        value = 1 << PORT_BITS[name]
        assert xhci.port_status_before_6_19(value) == f"0x{value:08x} {off} Change: Wake: {name} "
    assert xhci.port_status_before_6_19(0x8) == f"0x00000008 {off} OverCurrent Change: Wake: "
    assert xhci.port_status_before_6_19(0x10) == f"0x00000010 {off} In-Reset Change: Wake: "
    assert xhci.port_status_before_6_19(0x00021203) == (
        "0x00021203 Powered Connected Enabled Link:U0 PortSpeed:4 Change: CSC Wake: "
    )
    assert xhci.port_status_before_6_19(0xFFFFFFFE) == (
        "0xfffffffe Powered Not-connected Enabled Link:Resume PortSpeed:15 OverCurrent In-Reset "
        "Change: CSC PEC WRC OCC PRC PLC CEC CAS Wake: WCE WDE WOE "
    )


def address_context(*names: str) -> EventFormat:
    fields = "".join(f"\tfield:u32 {name};\toffset:{8 + 4 * n};\tsize:4;\tsigned:0;\n" for n, name in enumerate(names))
    text = f'name: xhci_address_ctx\nID: 9\nformat:\n{COMMON}{fields}\nprint fmt: "x"\n'
    return parse_format(text, "xhci-hcd", long_size=8)


def test_which_port_status_another_event_tells() -> None:
    text, fields = '"%s", xhci_decode_portsc(__get_buf(500), REC->portsc)', {"u32 portsc": 0x2A0}
    known = {"xhci-hcd:xhci_address_ctx": address_context("ctx_64", "ctx_type")}
    assert render(text, fields, event=known.get) == "0x000002a0 Speed=0 Link=RxDetect PP "
    known = {"xhci-hcd:xhci_address_ctx": address_context("ctx_64", "ctx_type", "ctx_ep_num")}
    assert render(text, fields, event=known.get) == (
        "0x000002a0 Powered Not-connected Disabled Link:RxDetect PortSpeed:0 Change: Wake: "
    )
    with pytest.raises(UnsupportedPrintFmt, match="shows in the event xhci_address_ctx, which is missing"):
        render(text, fields)


def test_doorbells() -> None:
    text = '"%s", xhci_decode_doorbell(__get_buf(500), REC->slot, REC->doorbell)'
    for slot, doorbell, expected in [
        (0, 0, "Command Ring 0"),
        (0, 0xFFFFFFFF, "Command Ring -1"),
        (1, 1, "Slot 1 ep0in"),
        (2, 4, "Slot 2 ep2out"),
        (2, 31, "Slot 2 ep15in"),
        (2, 32, "Slot 2 Reserved 32"),
        (2, 0, "Slot 2 Reserved 0"),
        (2, 247, "Slot 2 Reserved 247"),
        (2, 248, "Slot 2 Vendor Defined 248"),
        (0xFFFFFFFF, 0x0000FF03, "Slot -1 ep1in"),
        (1, 0x00070003, "Slot  Stream 7"),  # the kernel puts it behind as many characters as "ep1in" has
        (12, 0xFFFF0020, "Slot 12 Res Stream 65535"),
    ]:
        assert render(text, {"u32 slot": slot, "u32 doorbell": doorbell}) == expected


def test_no_value_is_too_wild() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        numbers = [int(number) for number in random.integers(-(1 << 63), 1 << 63, size=4)]
        numbers[3] = numbers[3] & ~0xFC00 | int(random.integers(64)) << 10
        for function in (xhci.trb, xhci.trb_before_6_13, xhci.slot_context, xhci.endpoint_context):
            assert function(*numbers)
        xhci.control_context(*numbers[:2])
        for status in (xhci.port_status, xhci.port_status_before_6_19):
            assert status(numbers[0])
        assert xhci.doorbell(*numbers[:2])
