# SPDX-License-Identifier: Apache-2.0
"""C structures in a kernel image: members by name, at the offsets that the image's own type information gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.symboldata import SymbolData
from rbdump.kernel.types.typeinfo import Member, StructLayout, TypeSource

__all__ = ["Memory", "StructReader", "layout_of", "pointer_table"]

MAX_TABLE = 1 << 16
"""Entries that a linker table of pointers can hold at most; event ids are 16 bits wide."""


class Memory(Protocol):
    """The link-time memory of a kernel image or of a module."""

    @property
    def abi(self) -> Abi:
        """Byte order and word size."""

    @property
    def symbols(self) -> SymbolData:
        """The symbols at link-time addresses."""

    def addr(self, name: str) -> int | None:
        """The link-time address of a symbol; None when there is none of that name."""

    def read(self, addr: int, size: int) -> bytes:
        """Up to ``size`` bytes at a link-time address; fewer where the image ends."""

    def cstring(self, addr: int) -> str | None:
        """The NUL-terminated string at a link-time address."""

    def array(self, addr: int, count: int, size: int) -> npt.NDArray[np.generic]:
        """``count`` integers of ``size`` bytes."""


def layout_of(types: TypeSource, name: str, members: Sequence[str]) -> StructLayout:
    """The layout of a structure that has all ``members``.

    :raises SourceError: the type information lacks it.
    """
    layout = types.struct(name, *members)
    if layout is None:
        raise SourceError(
            f"the kernel's {types.origin} does not describe struct {name} with {', '.join(members)}: "
            "give an image of a kernel built with tracing, or a copy of tracefs"
        )
    return layout


class StructReader:
    """Reads one kind of structure from an image's memory."""

    __slots__ = ("_memory", "_order", "layout")

    def __init__(self, memory: Memory, layout: StructLayout) -> None:
        self._memory = memory
        self._order = memory.abi.byteorder
        self.layout = layout

    def fetch(self, addr: int) -> bytes | None:
        """The bytes of the structure at ``addr``; None where the image does not hold all of it."""
        data = self._memory.read(addr, self.layout.size)
        return data if len(data) == self.layout.size else None

    def value(self, data: bytes, member: str, *, signed: bool = False) -> int:
        """An integer or pointer member of the structure whose bytes are ``data``."""
        found = self.layout.members[member]
        if found.bits:
            return self._bit_field(data, found)
        size = found.size or self._memory.abi.long_size
        return int.from_bytes(data[found.offset : found.offset + size], self._order, signed=signed)

    def _bit_field(self, data: bytes, member: Member) -> int:
        """An unsigned bit field; on big endian machines bits are counted from the most significant one."""
        first, last = member.bit_offset // 8, (member.bit_offset + member.bits + 7) // 8
        word = int.from_bytes(data[first:last], self._order)
        skip = member.bit_offset - 8 * first
        shift = skip if self._order == "little" else 8 * (last - first) - skip - member.bits
        return word >> shift & ((1 << member.bits) - 1)


def pointer_table(memory: Memory, start: str, stop: str) -> list[int] | None:
    """The pointers between two linker symbols; None when the symbols are not known.

    :raises SourceError: the symbols enclose no table of pointers, or one that is not in the image.
    """
    first, end = memory.addr(start), memory.addr(stop)
    if first is None or end is None:
        return None
    word = memory.abi.long_size
    count, rest = divmod(end - first, word)
    if rest or not 0 <= count <= MAX_TABLE:
        raise SourceError(
            f"{start} ({first:#x}) and {stop} ({end:#x}) do not enclose a table: the symbols are not this image's"
        )
    pointers: list[int] = memory.array(first, count, word).tolist()
    if len(pointers) != count:
        raise SourceError(f"the image does not hold the table at {start} ({first:#x}): it is cut short")
    return pointers
