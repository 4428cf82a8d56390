# SPDX-License-Identifier: Apache-2.0
"""NVMe commands as drivers/nvme/host/trace.c and drivers/nvme/target/trace.c spell them.

A command is given by its opcode and by its 24 bytes from CDW10 on, which are little-endian on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["admin", "controller", "fabrics", "io", "io_without_names", "target_admin", "target_io_without_reservations"]

_ZONE_SEND = {
    1: "close zone", 2: "finish zone", 3: "open zone", 4: "reset zone", 5: "offline zone",
    16: "set zone descriptor extension",
}  # fmt: skip
_ZONE_RECEIVE = {
    0: "list all zones",
    1: "list the zones in the ZSE: Empty state",
    2: "list the zones in the ZSIO: Implicitly Opened state",
    3: "list the zones in the ZSEO: Explicitly Opened state",
    4: "list the zones in the ZSC: Closed state",
    5: "list the zones in the ZSF: Full state",
    6: "list the zones in the ZSRO: Read Only state",
    7: "list the zones in the ZSO: Offline state",
    9: "list the zones that have the zone attribute",
}
_REGISTER = {0: "register", 1: "unregister", 2: "replace"}
_ACQUIRE = {0: "acquire", 1: "preempt", 2: "preempt and abort"}
_RELEASE = {0: "release", 1: "clear"}
_RESERVATION = {
    1: "write exclusive",
    2: "exclusive access",
    3: "write exclusive registrants only",
    4: "exclusive access registrants only",
    5: "write exclusive all registrants",
    6: "exclusive access all registrants",
}


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def _u64(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 8], "little")


def _named(names: Mapping[int, str], number: int) -> str:
    return f"{number}:{names.get(number, 'reserved')}"


def _features(raw: bytes, bits: str) -> str:
    return f"fid=0x{raw[0]:x}, {bits}, cdw11=0x{_u32(raw, 4):x}"


def _lba_status(raw: bytes) -> str:
    return f"slba=0x{_u64(raw, 0):x}, mndw=0x{_u32(raw, 8):x}, rl=0x{_u16(raw, 12):x}, atype={raw[15]}"


def _format(raw: bytes) -> str:
    return (
        f"lbaf={raw[1] & 0x30 | raw[0] & 0xF}, mset={raw[0] >> 4 & 1}, pi={raw[0] >> 5}, pil={raw[1] & 1}, "
        f"ses={raw[1] >> 1 & 7}"
    )


def _create(raw: bytes, one: str, other: str) -> str:
    flags = f"{one[0]}q_flags=0x{_u16(raw, 4):x}"
    return f"{one}={_u16(raw, 0)}, qsize={_u16(raw, 2)}, {flags}, {other}={_u16(raw, 6)}"


Decoders = Mapping[int, Callable[[bytes], str]]
_TARGET_ADMIN: Decoders = {
    0x06: lambda raw: f"cns={raw[0]}, ctrlid={_u16(raw, 2)}",
    0x09: lambda raw: _features(raw, f"sv=0x{raw[3] & 8:x}"),
    0x0A: lambda raw: _features(raw, f"sel=0x{raw[1] & 7:x}"),
    0x86: _lba_status,
}
_ADMIN: Decoders = {
    0x00: lambda raw: f"sqid={_u16(raw, 0)}",
    0x01: lambda raw: _create(raw, "sqid", "cqid"),
    0x04: lambda raw: f"cqid={_u16(raw, 0)}",
    0x05: lambda raw: _create(raw, "cqid", "irq_vector"),
    0x80: _format,
    **_TARGET_ADMIN,
}


def _read_write(raw: bytes) -> str:
    return (
        f"slba={_u64(raw, 0)}, len={_u16(raw, 8)}, ctrl=0x{_u16(raw, 10):x}, dsmgmt={_u32(raw, 12)}, "
        f"reftag={_u32(raw, 16)}"
    )


def _zone_receive(raw: bytes) -> str:
    zones = _named(_ZONE_RECEIVE, raw[13])
    return f"slba={_u64(raw, 0)}, numd={_u32(raw, 8)}, zra={raw[12]}, zrasf={zones}, pr={raw[14]}"


_WITHOUT_RESERVATIONS: Decoders = {
    **dict.fromkeys((0x01, 0x02, 0x08, 0x7D), _read_write),
    0x09: lambda raw: f"nr={_u32(raw, 0)}, attributes={_u32(raw, 4)}",
    0x79: lambda raw: f"slba={_u64(raw, 0)}, zsa={_named(_ZONE_SEND, raw[12])}, all={raw[13]}",
    0x7A: _zone_receive,
}


def _key(raw: bytes) -> str:
    return f"iekey={raw[0] >> 3 & 1}"


_REPORT: Decoders = {0x0E: lambda raw: f"numd={_u32(raw, 0)}, eds={raw[4] & 1}"}
_WITHOUT_NAMES: Decoders = {
    **_WITHOUT_RESERVATIONS,
    **_REPORT,
    0x0D: lambda raw: f"rrega={raw[0] & 7}, {_key(raw)}, ptpl={raw[3] >> 6}",
    0x11: lambda raw: f"racqa={raw[0] & 7}, {_key(raw)}, rtype={raw[1]}",
    0x15: lambda raw: f"rrela={raw[0] & 7}, {_key(raw)}, rtype={raw[1]}",
}
_IO: Decoders = {
    **_WITHOUT_RESERVATIONS,
    **_REPORT,
    0x0D: lambda raw: f"rrega={_named(_REGISTER, raw[0] & 7)}, {_key(raw)}, ptpl={raw[3] >> 6}",
    0x11: lambda raw: f"racqa={_named(_ACQUIRE, raw[0] & 7)}, {_key(raw)}, rtype={_named(_RESERVATION, raw[1])}",
    0x15: lambda raw: f"rrela={_named(_RELEASE, raw[0] & 7)}, {_key(raw)}, rtype={_named(_RESERVATION, raw[1])}",
}
_FABRICS: Decoders = {
    0x00: lambda raw: f"attrib={raw[0]}, ofst=0x{_u32(raw, 4):x}, value=0x{_u64(raw, 8):x}",
    0x01: lambda raw: (
        f"recfmt={_u16(raw, 0)}, qid={_u16(raw, 2)}, sqsize={_u16(raw, 4)}, cattr={raw[6]}, kato={_u32(raw, 8)}"
    ),
    0x04: lambda raw: f"attrib={raw[0]}, ofst=0x{_u32(raw, 4):x}",
    0x05: lambda raw: f"{_security(raw)}, tl={_u32(raw, 4)}",
    0x06: lambda raw: f"{_security(raw)}, al={_u32(raw, 4)}",
}


def _security(raw: bytes) -> str:
    return f"spsp0={raw[1]:02x}, spsp1={raw[2]:02x}, secp={raw[3]:02x}"


def _command(decoders: Decoders, rest: str) -> Callable[[int, bytes], str]:
    def decode(opcode: int, raw: bytes) -> str:
        raw = raw[:24].ljust(24, b"\0")
        decoder = decoders.get(opcode & 0xFF)
        return decoder(raw) if decoder is not None else f"{rest}={raw.hex(' ')}"

    return decode


admin = _command(_ADMIN, "cdw10")
"""An admin command of a host."""
io = _command(_IO, "cdw10")
"""An I/O command."""
io_without_names = _command(_WITHOUT_NAMES, "cdw10")
"""An I/O command of a host before 6.13, which prints the actions and types of reservations as numbers."""
fabrics = _command(_FABRICS, "specific")
"""A fabrics command by its type."""
target_admin = _command(_TARGET_ADMIN, "cdw10")
"""An admin command of a target, which creates no queues by commands."""
target_io_without_reservations = _command(_WITHOUT_RESERVATIONS, "cdw10")
"""An I/O command of a target before 6.13, which knows no reservations."""


def controller(number: int) -> str:
    """nvmet_trace_ctrl_id(): the controller of a target, a u16; it has none until a host connects."""
    return str(number & 0xFFFF or "_")
