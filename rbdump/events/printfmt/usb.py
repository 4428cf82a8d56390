# SPDX-License-Identifier: Apache-2.0
"""USB: control requests as usb_decode_ctrl() of drivers/usb/common/debug.c spells them since 6.1, speeds and states of
devices as drivers/usb/common/common.c does, and commands of UCSI as drivers/usb/typec/ucsi/trace.c does.
"""

from __future__ import annotations

__all__ = ["ucsi_command", "ucsi_recipient", "usb_control", "usb_speed", "usb_state"]

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


_SPEEDS = ("UNKNOWN", "low-speed", "full-speed", "high-speed", "wireless", "super-speed", "super-speed-plus")
_STATES = (
    "not attached", "attached", "powered", "reconnecting", "unauthenticated", "default", "addressed", "configured",
    "suspended",
)  # fmt: skip


def usb_speed(speed: int) -> str:
    """enum usb_device_speed."""
    return _SPEEDS[speed] if 0 <= speed < len(_SPEEDS) else "UNKNOWN"


def usb_state(state: int) -> str:
    """enum usb_device_state."""
    return _STATES[state] if 0 <= state < len(_STATES) else "UNKNOWN"


_UCSI_COMMANDS = (
    "Unknown command", "PPM_RESET", "CANCEL", "CONNECTOR_RESET", "ACK_CC_CI", "SET_NOTIFICATION_ENABLE",
    "GET_CAPABILITY", "GET_CONNECTOR_CAPABILITY", "SET_CCOM", "SET_UOR", "SET_PDM", "SET_PDR", "GET_ALTERNATE_MODES",
    "GET_CAM_SUPPORTED", "GET_CURRENT_CAM", "SET_NEW_CAM", "GET_PDOS", "GET_CABLE_PROPERTY", "GET_CONNECTOR_STATUS",
    "GET_ERROR_STATUS",
)  # fmt: skip
_UCSI_RECIPIENTS = ("port", "partner", "plug (prime)", "plug (double prime)")


def ucsi_command(command: int) -> str:
    """A UCSI command by its low byte. Older kernels call command 8, which debugfs alone gives, SET_UOM."""
    number = command & 0xFF
    return _UCSI_COMMANDS[number if number < len(_UCSI_COMMANDS) else 0]


def ucsi_recipient(recipient: int) -> str:
    """Whose alternate modes are asked for. The kernel has no name for others, and reads what lies behind its table."""
    return _UCSI_RECIPIENTS[recipient] if 0 <= recipient < len(_UCSI_RECIPIENTS) else ""
