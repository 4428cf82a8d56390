# SPDX-License-Identifier: Apache-2.0
"""Writes BTF blobs, correct ones and broken ones, in either byte order."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

KIND_NAMES = (
    "unkn int ptr array struct union enum fwd typedef volatile const restrict func func_proto var datasec float "
    "decl_tag type_tag enum64"
)
KINDS = {name: number for number, name in enumerate(KIND_NAMES.split(" "))}
MemberSpec = tuple[str, int, int] | tuple[str, int, int, int]


class BtfWriter:
    """Types are numbered in the order in which they are added, from 1 (0 is void), or behind those of ``base``."""

    def __init__(self, endian: str = "<", base: BtfWriter | None = None) -> None:
        self.endian = endian
        self.types: list[bytes] = []
        self.first_type = 1 + len(base.types) if base else 1
        self.first_string = len(base.strings) if base else 0
        self.strings = bytearray(b"" if base else b"\0")
        self.offsets: dict[str, int] = dict(base.offsets) if base else {"": 0}

    def string(self, text: str) -> int:
        """The offset of ``text`` in the string section."""
        if text not in self.offsets:
            self.offsets[text] = self.first_string + len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.offsets[text]

    def add(
        self, kind: str | int, name: str, size: int, extra: bytes = b"", *, vlen: int = 0, flag: bool = False
    ) -> int:
        number = KINDS[kind] if isinstance(kind, str) else kind
        info = number << 24 | vlen | (1 << 31 if flag else 0)
        self.types.append(struct.pack(f"{self.endian}3I", self.string(name), info, size) + extra)
        return self.first_type + len(self.types) - 1

    def pack(self, *values: int) -> bytes:
        return struct.pack(f"{self.endian}{len(values)}I", *(value & 0xFFFFFFFF for value in values))

    def int(self, name: str, size: int, *, signed: bool = False) -> int:
        return self.add("int", name, size, self.pack((1 << 24 if signed else 0) | 8 * size))

    def ptr(self, target: int = 0) -> int:
        return self.add("ptr", "", target)

    def array(self, element: int, count: int) -> int:
        return self.add("array", "", 0, self.pack(element, 0, count))

    def struct(self, name: str, size: int, members: Sequence[MemberSpec], *, kind: str = "struct") -> int:
        """Members are ``(name, type, byte offset)`` or, for bit fields, ``(name, type, bit offset, bits)``."""
        bits = any(len(member) == 4 for member in members)
        extra = b""
        for member in members:
            position = member[2] | member[3] << 24 if len(member) == 4 else 8 * member[2]
            extra += self.pack(self.string(member[0]), member[1], position)
        return self.add(kind, name, size, extra, vlen=len(members), flag=bits)

    def enum(self, name: str, values: Mapping[str, int], *, signed: bool = False) -> int:
        extra = b"".join(self.pack(self.string(key), value) for key, value in values.items())
        return self.add("enum", name, 4, extra, vlen=len(values), flag=signed)

    def enum64(self, name: str, values: Mapping[str, int], *, signed: bool = False) -> int:
        extra = b"".join(self.pack(self.string(key), value, value >> 32) for key, value in values.items())
        return self.add("enum64", name, 8, extra, vlen=len(values), flag=signed)

    def func(self, name: str, parameters: Sequence[tuple[str, int]], result: int = 0) -> int:
        extra = b"".join(self.pack(self.string(key), type_id) for key, type_id in parameters)
        proto = self.add("func_proto", "", result, extra, vlen=len(parameters))
        return self.add("func", name, proto)

    def build(self, *, layout: Mapping[int, tuple[int, int]] | None = None) -> bytes:
        """The blob; ``layout`` adds the section in which newer blobs describe the sizes of their kinds."""
        types = b"".join(self.types)
        strings = bytes(self.strings)
        kinds = (
            b"".join(struct.pack("BBxx", *(layout or {}).get(kind, (0, 0))) for kind in range(32)) if layout else b""
        )
        size = 32 if layout else 24
        header = struct.pack(f"{self.endian}HBB", 0xEB9F, 1, 0) + self.pack(
            size, 0, len(types), len(types), len(strings)
        )
        if layout:
            header += self.pack(len(types) + len(strings), len(kinds))
        return header + types + strings + kinds
