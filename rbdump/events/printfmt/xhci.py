# SPDX-License-Identifier: Apache-2.0
"""Requests, contexts and registers of xHCI host controllers as drivers/usb/host/xhci.h spells them.

Names and places of bits are those of the xHCI specification; every argument is a u32, but for the u64 of a dequeue
pointer.
"""

from __future__ import annotations

from string import ascii_uppercase, digits

__all__ = [
    "control_context",
    "doorbell",
    "endpoint_context",
    "port_status",
    "port_status_before_6_19",
    "ring_type",
    "slot_context",
    "trb",
    "trb_before_6_13",
]

Bits = tuple[tuple[int, str], ...]
_CODES = (
    "Invalid", "Success", "Data Buffer Error", "Babble Detected", "USB Transaction Error", "TRB Error", "Stall Error",
    "Resource Error", "Bandwidth Error", "No Slots Available Error", "Invalid Stream Type Error",
    "Slot Not Enabled Error", "Endpoint Not Enabled Error", "Short Packet", "Ring Underrun", "Ring Overrun",
    "VF Event Ring Full Error", "Parameter Error", "Bandwidth Overrun Error", "Context State Error",
    "No Ping Response Error", "Event Ring Full Error", "Incompatible Device Error", "Missed Service Error",
    "Command Ring Stopped", "Command Aborted", "Stopped", "Stopped - Length Invalid", "Stopped - Short Packet",
    "Max Exit Latency Too Large Error", "Unknown!!", "Isoch Buffer Overrun", "Event Lost Error", "Undefined Error",
    "Invalid Stream ID Error", "Secondary Bandwidth Error", "Split Transaction Error",
)  # fmt: skip
_NORMAL, _SETUP, _DATA, _STATUS, _ISOCH, _LINK, _EVENT_DATA, _NO_OP = range(1, 9)
_TYPES = dict(enumerate((
    "Normal", "Setup Stage", "Data Stage", "Status Stage", "Isoch", "Link", "Event Data", "No-Op",
    "Enable Slot Command", "Disable Slot Command", "Address Device Command", "Configure Endpoint Command",
    "Evaluate Context Command", "Reset Endpoint Command", "Stop Ring Command", "Set TR Dequeue Pointer Command",
    "Reset Device Command", "Force Event Command", "Negotiate Bandwidth Command",
    "Set Latency Tolerance Value Command", "Get Port Bandwidth Command", "Force Header Command", "No-Op Command",
), 1)) | dict(enumerate((
    "Transfer Event", "Command Completion Event", "Port Status Change Event", "Bandwidth Request Event",
    "Doorbell Event", "Host Controller Event", "Device Notification Event", "MFINDEX Wrap Event",
), 32)) | {48: "NEC Command Completion Event", 49: "NET Get Firmware Revision Command"}  # fmt: skip
_EVENTS = range(32, 40)


def _split(bits: str) -> Bits:
    """``17CSC``: the bit and what it is called."""
    return tuple((int(word.rstrip(ascii_uppercase)), word.lstrip(digits)) for word in bits.split())


_CYCLE = _split("0C")
_FLAGS = {
    _SETUP: _split("6I 5I 0C"),
    _DATA: _split("6I 5I 4C 3S 2I 1E 0C"),
    _STATUS: _split("5I 4C 1E 0C"),
    _ISOCH: _split("31S 9B 6I 5I 4C 3S 2I 1E 0C"),
    _LINK: _split("5I 4C 1T 0C"),
    **dict.fromkeys((_NORMAL, _EVENT_DATA, _NO_OP), _split("9B 6I 5I 4C 3S 2I 1E 0C")),
    **dict.fromkeys(_EVENTS, _split("2E 0C")),
    11: _split("9B 0C"),
    12: _split("9D 0C"),
    14: _split("9T 0C"),
}
"""The bits of the last word that each type prints: a capital letter where they are set; other commands print one."""
_SLOT_SPEEDS = ("UNKNOWN speed", "full-speed", "low-speed", "high-speed", "super-speed", "super-speed plus")
_SLOT_STATES = ("enabled/disabled", "default", "addressed", "configured")
_LINK_STATES = (
    "U0", "U1", "U2", "U3", "Disabled", "RxDetect", "Inactive", "Polling", "Recovery", "Hot Reset", "Compliance mode",
    "Test mode", "Unknown", "Unknown", "Unknown", "Resume",
)  # fmt: skip
_ENDPOINT_STATES = ("disabled", "running", "halted", "stopped", "error", "INVALID", "INVALID", "INVALID")
_ENDPOINT_TYPES = ("INVALID", "Isoc OUT", "Bulk OUT", "Int OUT", "Ctrl", "Isoc IN", "Bulk IN", "Int IN")
_CHANGES = _split("17CSC 18PEC 19WRC 20OCC 21PRC 22PLC 23CEC")
_PORT = (*_split("0CCS 3OCA 24CAS 30DR 9PP 25WCE 26WDE 27WOE 16LWS 4PR 31WPR 1PED"), *_CHANGES)
_COLD, _WAKE = _split("24CAS"), _split("25WCE 26WDE 27WOE")


def ring_type(kind: int) -> str:
    """enum xhci_ring_type."""
    names = ("CTRL", "ISOC", "BULK", "INTR", "STREAM", "CMD", "EVENT")
    return names[kind] if 0 <= kind < len(names) else "UNKNOWN"


def _bits(value: int, at: int, count: int) -> int:
    return value >> at & (1 << count) - 1


def _name(names: tuple[str, ...], number: int, unknown: str) -> str:
    return names[number] if number < len(names) else unknown


def _signed(value: int) -> int:
    """A u32 that ``%d`` prints."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def _letters(word: int, bits: Bits) -> str:
    return ":".join(name if word >> bit & 1 else name.lower() for bit, name in bits)


def _set(word: int, bits: Bits) -> str:
    """The names of bits that are set, a blank behind each."""
    return "".join(f"{name} " for bit, name in bits if word >> bit & 1)


def trb(word0: int, word1: int, word2: int, word3: int) -> str:
    """A transfer request block."""
    if _bits(word3, 10, 6) != _ISOCH:
        return trb_before_6_13(word0, word1, word2, word3)
    return (
        f"{_buffer(word0, word1, word2, 'TD size/TBC')} type 'Isoch' TBC {_bits(word3, 7, 2)} "
        f"TLBPC {_bits(word3, 16, 4)} frame_id {_bits(word3, 20, 11)} flags {_letters(word3, _FLAGS[_ISOCH])}"
    )


def trb_before_6_13(word0: int, word1: int, word2: int, word3: int) -> str:
    """A transfer request block; isochronous ones are printed as normal ones are."""
    kind = _bits(word3, 10, 6)
    name = _TYPES.get(kind, "UNKNOWN")
    flags = _letters(word3, _FLAGS.get(_NORMAL if kind == _ISOCH else kind, _CYCLE))
    slot, endpoint = _bits(word3, 24, 8), _bits(word3, 16, 5)
    pointer = f"{word1 & 0xFFFFFFFF:08x}{word0 & 0xFFFFFFFF:08x}"
    if kind == _LINK:
        return f"LINK {pointer} intr {_bits(word2, 22, 10)} type '{name}' flags {flags}"
    if kind in _EVENTS:
        code = _name(_CODES, _bits(word2, 24, 8), "Unknown!!")
        length = _bits(word2, 0, 24)
        return f"TRB {pointer} status '{code}' len {length} slot {slot} ep {endpoint} type '{name}' flags {flags}"
    if kind == _SETUP:
        return (
            f"bRequestType {_bits(word0, 0, 8):02x} bRequest {_bits(word0, 8, 8):02x} "
            f"wValue {_bits(word0, 16, 16):04x} wIndex {_bits(word1, 0, 16):04x} "
            f"wLength {_bits(word1, 16, 16)} {_transfer(word2)} type '{name}' flags {flags}"
        )
    if _NORMAL <= kind <= _NO_OP:
        return f"{_buffer(word0, word1, word2)} type '{name}' flags {flags}"
    details = {
        9: "",
        10: f" slot {slot}",
        11: f" ctx {pointer} slot {slot}",
        12: f" ctx {pointer} slot {slot}",
        13: f" ctx {pointer} slot {slot}",
        14: f" ctx {pointer} slot {slot} ep {endpoint}",
        15: f" slot {slot} sp {_bits(word3, 23, 1)} ep {endpoint}",
        16: f" deq {pointer} stream {_bits(word2, 16, 16)} slot {slot} ep {endpoint}",
        17: f" slot {slot}",
        18: f" event {pointer} vf intr {_bits(word2, 22, 10)} vf id {_bits(word3, 16, 8)}",
        19: f" slot {slot}",
        20: f" belt {_bits(word3, 16, 12)}",
        21: f" ctx {pointer} slot {slot} speed {_bits(word3, 16, 4)}",
        22: f" info {word2 & 0xFFFFFFFF:08x}{word1 & 0xFFFFFFFF:08x}{word0 & 0xFFFFFFE0:08x} "
        f"pkt type {_bits(word0, 0, 5)} roothub port {slot}",
        23: "",
    }.get(kind)
    if details is not None:
        return f"{name}:{details} flags {flags}"
    words = " ".join(f"{word & 0xFFFFFFFF:08x}" for word in (word0, word1, word2, word3))
    return f"type '{name}' -> raw {words}"


def _buffer(word0: int, word1: int, word2: int, size: str = "TD size") -> str:
    return f"Buffer {word1 & 0xFFFFFFFF:08x}{word0 & 0xFFFFFFFF:08x} {_transfer(word2, size)}"


def _transfer(word2: int, size: str = "TD size") -> str:
    return f"length {_bits(word2, 0, 17)} {size} {_bits(word2, 17, 5)} intr {_bits(word2, 22, 10)}"


def _endpoint(number: int) -> str:
    """An endpoint by its index in a device context or a doorbell."""
    return f"{number // 2}{'in' if number % 2 else 'out'}"


def control_context(drop: int, add: int) -> str:
    """The contexts that an input control context drops and adds: the slot's by bit 0, each endpoint's by its own."""
    text = ""
    if drop:
        text = f"Drop:{''.join(f' {_endpoint(bit)}' for bit in range(32) if drop >> bit & 1)}, "
    if add:
        names = [_endpoint(bit) for bit in range(2, 32) if add >> bit & 1]
        text += "".join(["Add:", " slot" * (add & 1), " ep0" * (add >> 1 & 1), *(f" {name}" for name in names)])
    return text


def slot_context(info: int, info2: int, tt: int, state: int) -> str:
    """A slot context."""
    return (
        f"RS {_bits(info, 0, 20):05x} {_name(_SLOT_SPEEDS, _bits(info, 20, 4), _SLOT_SPEEDS[0])}"
        f"{' multi-TT' * _bits(info, 25, 1)}{' Hub' * _bits(info, 26, 1)} Ctx Entries {_bits(info, 27, 5)} "
        f"MEL {_bits(info2, 0, 16)} us Port# {_bits(info2, 16, 8)}/{_bits(info2, 24, 8)} "
        f"[TT Slot {_bits(tt, 0, 8)} Port# {_bits(tt, 8, 8)} TTT {_bits(tt, 16, 2)} Intr {_bits(tt, 22, 10)}] "
        f"Addr {_bits(state, 0, 8)} State {_name(_SLOT_STATES, _bits(state, 27, 5), 'reserved')}"
    )


def endpoint_context(info: int, info2: int, dequeue: int, transfer: int) -> str:
    """An endpoint context. The kernel shifts an int by the interval, of which most machines take five bits."""
    return (
        f"State {_ENDPOINT_STATES[info & 7]} mult {_bits(info, 8, 2) + 1} max P. Streams {_bits(info, 10, 5)} "
        f"{'LSA ' * _bits(info, 15, 1)}interval {_signed(125 << _bits(info, 16, 5))} us "
        f"max ESIT payload {_bits(info, 24, 8) << 16 | _bits(transfer, 16, 16)} CErr {_bits(info2, 1, 2)} "
        f"Type {_ENDPOINT_TYPES[_bits(info2, 3, 3)]} {'HID' * _bits(info2, 7, 1)}burst {_bits(info2, 8, 8)} "
        f"maxp {_bits(info2, 16, 16)} deq {dequeue & 0xFFFFFFFFFFFFFFFF:016x} avg trb len {_bits(transfer, 0, 16)}"
    )


def port_status(value: int) -> str:
    """The register PORTSC: speed, state of the link, and the specification's names of all bits that are set."""
    value &= 0xFFFFFFFF
    text = f"0x{value:08x} "
    if value == 0xFFFFFFFF:  # the controller is gone
        return text
    return f"{text}Speed={_bits(value, 10, 4)} Link={_LINK_STATES[_bits(value, 5, 4)]} {_set(value, _PORT)}"


def port_status_before_6_19(value: int) -> str:
    """The register PORTSC in words, changes and wake events by name."""
    value &= 0xFFFFFFFF
    text = f"0x{value:08x} "
    if value == 0xFFFFFFFF:
        return text
    return (
        f"{text}{'Powered' if value >> 9 & 1 else 'Powered-off'} {'Connected' if value & 1 else 'Not-connected'} "
        f"{'Enabled' if value >> 1 & 1 else 'Disabled'} Link:{_LINK_STATES[_bits(value, 5, 4)]} "
        f"PortSpeed:{_bits(value, 10, 4)} {'OverCurrent ' * _bits(value, 3, 1)}{'In-Reset ' * _bits(value, 4, 1)}"
        f"Change: {_set(value, _CHANGES)}{_set(value, _COLD)}Wake: {_set(value, _WAKE)}"
    )


def doorbell(slot: int, value: int) -> str:
    """A doorbell. The kernel writes a stream not behind the text but as far behind its begin as the target is long."""
    if not slot & 0xFFFFFFFF:
        return f"Command Ring {_signed(value)}"
    number, stream = value & 0xFF, _bits(value, 16, 16)
    if 0 < number < 32:
        target = f"ep{_endpoint(number)}"
    else:
        target = f"{'Reserved' if number < 248 else 'Vendor Defined'} {number}"
    text = f"Slot {_signed(slot)} {target}"
    return f"{text[: len(target)]} Stream {stream}" if stream else text
