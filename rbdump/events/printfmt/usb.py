# SPDX-License-Identifier: Apache-2.0
"""USB control requests as usb_decode_ctrl() of drivers/usb/common/debug.c spells them since 6.1."""

from __future__ import annotations

__all__ = ["usb_control"]

_STANDARD, _CLASS, _VENDOR = 0x00, 0x20, 0x40
_TYPE_MASK, _RECIPIENT_MASK, _DIR_IN = 0x60, 0x1F, 0x80
_TYPES = {_STANDARD: "Standard", _CLASS: "Class", _VENDOR: "Vendor"}
_RECIPIENTS = ("Device", "Interface", "Endpoint")
_FEATURES = {0: "Self Powered", 1: "Remote Wakeup", 2: "Test Mode", 48: "U1 Enable", 49: "U2 Enable", 50: "LTM Enable"}
_TEST_MODE = 2
_TESTS = {1: "TEST_J", 2: "TEST_K", 3: "TEST_SE0_NAK", 4: "TEST_PACKET", 5: "TEST_FORCE_EN"}
_DESCRIPTORS = {
    1: "Device", 2: "Configuration", 3: "String", 4: "Interface", 5: "Endpoint", 6: "Device Qualifier",
    7: "Other Speed Config", 8: "Interface Power", 9: "OTG", 10: "Debug", 11: "Interface Association", 15: "BOS",
    16: "Device Capability", 36: "Pipe Usage", 48: "SS Endpoint Companion", 49: "SSP Isochronous Endpoint Companion",
}  # fmt: skip


def usb_control(request_type: int, request: int, value: int, index: int, length: int) -> str:
    """What a setup packet asks for: bRequestType, bRequest, wValue, wIndex, wLength."""
    if request_type & _TYPE_MASK == _STANDARD:
        text = _standard(request_type & _RECIPIENT_MASK, request, value, index, length)
        if text is not None:
            return text
    recipient = request_type & _RECIPIENT_MASK
    return (
        f"Type={_TYPES.get(request_type & _TYPE_MASK, 'Unknown')} "
        f"Recipient={_RECIPIENTS[recipient] if recipient < len(_RECIPIENTS) else 'Unknown'} "
        f"Dir={'IN' if request_type & _DIR_IN else 'OUT'} bRequest={request} "
        f"wValue={value} wIndex={index} wLength={length}"
    )


def _standard(recipient: int, request: int, value: int, index: int, length: int) -> str | None:
    """A standard request, None for one that USB does not define."""
    low = value & 0xFF
    if request == 0:
        return _status(recipient, index, length)
    if request in (1, 3):
        return _feature(recipient, "Clear" if request == 1 else "Set", value, index)
    if request in (6, 7):
        name = _DESCRIPTORS.get(value >> 8, "UNKNOWN")
        return f"{'Get' if request == 6 else 'Set'} {name} Descriptor(Index = {low}, Length = {length})"
    return {
        5: f"Set Address(Addr = {value:02x})",
        8: f"Get Configuration(Length = {length})",
        9: f"Set Configuration(Config = {low})",
        10: f"Get Interface(Intf = {index}, Length = {length})",
        11: f"Set Interface(Intf = {index}, Alt.Setting = {low})",
        12: f"Synch Frame(Endpoint = {index}, Length = {length})",
        0x30: f"Set SEL(Length = {length})",
        0x31: f"Set Isochronous Delay(Delay = {low} ns)",
    }.get(request)


def _endpoint(index: int) -> str:
    return f"ep{index & ~_DIR_IN}{'in' if index & _DIR_IN else 'out'}"


def _status(recipient: int, index: int, length: int) -> str:
    """GET_STATUS; the kernel writes nothing for a recipient that it does not know."""
    return {
        0: f"Get Device Status(Length = {length})",
        1: f"Get Interface Status(Intf = {index}, Length = {length})",
        2: f"Get Endpoint Status({_endpoint(index)})",
    }.get(recipient, "")


def _feature(recipient: int, verb: str, value: int, index: int) -> str:
    """CLEAR_FEATURE and SET_FEATURE; the kernel writes nothing for a recipient that it does not know."""
    test = f": {_TESTS.get(index, 'UNKNOWN')}" if value == _TEST_MODE else ""
    return {
        0: f"{verb} Device Feature({_FEATURES.get(value, 'UNKNOWN')}{test})",
        1: f"{verb} Interface Feature({'UNKNOWN' if value else 'Function Suspend'})",
        2: f"{verb} Endpoint Feature({'UNKNOWN' if value else 'Halt'} {_endpoint(index)})",
    }.get(recipient, "")
