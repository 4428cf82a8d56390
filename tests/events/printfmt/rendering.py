# SPDX-License-Identifier: Apache-2.0
"""Renders records that a test describes by C declarations and values."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from rbdump.abi import Abi
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat, parse_format
from rbdump.events.printfmt import compile_print_fmt
from rbdump.events.rows import Rows
from rbdump.symbols.symbolizer import Symbolizer
from tests.events.records import COMMON, Rec, pack

LE64, BE64, LE32, BE32 = Abi("little", 8), Abi("big", 8), Abi("little", 4), Abi("big", 4)
ALL = (LE64, BE64, LE32, BE32)


def size_of(kind: str, abi: Abi) -> tuple[int, bool]:
    """Bytes and signedness of an integer type."""
    if "*" in kind or kind in ("unsigned long", "size_t"):
        return abi.long_size, False
    if kind == "long":
        return abi.long_size, True
    return {
        "char": (1, True), "u8": (1, False), "s8": (1, True), "bool": (1, False), "short": (2, True),
        "unsigned short": (2, False), "u16": (2, False), "__be16": (2, False), "__le32": (4, False), "int": (4, True),
        "unsigned int": (4, False), "u32": (4, False), "__be32": (4, False), "gfp_t": (4, False), "dev_t": (4, False),
        "access_mask_t": (4, False),
        "pid_t": (4, True), "s64": (8, True), "u64": (8, False), "long long": (8, True),
        "unsigned long long": (8, False),
    }[kind]  # fmt: skip


class Event:
    """One event with fields ``(declaration, value)``: integers, bytes, lists, and dynamic arrays as bytes."""

    def __init__(
        self, print_fmt: str, fields: Mapping[str, Any] | None = None, *, abi: Abi = LE64, system: str = "test"
    ) -> None:
        self.abi = abi
        self.lines: list[str] = []
        self.places: list[tuple[str, int, int, bool]] = []
        at = 8
        for declaration in fields or {}:
            kind, _, name = declaration.rpartition(" ")
            if kind.startswith(("__data_loc", "__rel_loc")):
                size, count, signed = 4, 1, False
            elif name.endswith("]"):
                count = int(name.partition("[")[2][:-1])
                size, signed = size_of(kind, abi) if not kind.startswith("struct") else (1, False)
            else:
                size, signed = size_of(kind, abi)
                count = 1
            at += -at % size
            self.places.append((declaration, at, size * count, signed))
            self.lines.append(f"\tfield:{declaration};\toffset:{at};\tsize:{size * count};\tsigned:{int(signed)};\n")
            at += size * count
        self.fixed = at
        text = f"name: ev\nID: 100\nformat:\n{COMMON}{''.join(self.lines)}\nprint fmt: {print_fmt}\n"
        self.format: EventFormat = parse_format(text, system, long_size=abi.long_size)

    def pack(self, fields: Mapping[str, Any]) -> bytes:
        """The record's bytes behind the common fields."""
        fixed, tail = bytearray(self.fixed), bytearray()
        for (declaration, at, size, _), value in zip(self.places, fields.values(), strict=True):
            kind = declaration.rpartition(" ")[0]
            if kind.startswith(("__data_loc", "__rel_loc")) and isinstance(value, bytes):
                begin = self.fixed + len(tail) - (at + 4 if kind.startswith("__rel_loc") else 0)
                value, tail = len(value) << 16 | begin, tail + value
            if isinstance(value, bytes):
                raw = value[:size].ljust(size, b"\0")
            else:
                values = value if isinstance(value, list) else [value]
                item = size // len(values)
                mask = (1 << 8 * item) - 1
                raw = b"".join((v & mask).to_bytes(item, self.abi.byteorder) for v in values)
            fixed[at : at + size] = raw
        return bytes(fixed[8:]) + bytes(tail)

    def rows(self, records: Sequence[Mapping[str, Any]], flags: int = 0) -> Rows:
        """Rows of records with these values."""
        entries, memory = pack([Rec(100, 42, self.pack(r), flags=flags) for r in records], self.abi)
        return entries.rows(memory)

    def facts(self, **known: Any) -> Facts:
        return Facts(self.abi, known.pop("symbols", Symbolizer(None, self.abi)), **known)

    def render(self, records: Sequence[Mapping[str, Any]], flags: int = 0, **known: Any) -> list[str]:
        """The bodies, without name and newline."""
        lines = compile_print_fmt(self.format, self.facts(**known))(self.rows(records, flags))
        assert all(line.startswith("ev: ") and line.endswith("\n") for line in lines)
        return [line[4:-1] for line in lines]


def render(print_fmt: str, fields: Mapping[str, Any] | None = None, *, abi: Abi = LE64, **known: Any) -> str:
    """The body of one record."""
    fields = fields or {}
    system = known.pop("system", "test")
    flags = known.pop("flags", 0)
    return Event(print_fmt, fields, abi=abi, system=system).render([fields], flags, **known)[0]


def sockaddr_in(address: bytes, port: int, abi: Abi) -> bytes:
    return struct.pack(f"{abi.endian}H", 2) + port.to_bytes(2, "big") + address + bytes(8)


def sockaddr_in6(address: bytes, port: int, flow: int, scope: int, abi: Abi) -> bytes:
    head = struct.pack(f"{abi.endian}H", 10) + port.to_bytes(2, "big") + flow.to_bytes(4, "big")
    return head + address + struct.pack(f"{abi.endian}I", scope)
