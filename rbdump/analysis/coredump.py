# SPDX-License-Identifier: Apache-2.0
"""Where an ELF core dump has a range of memory in one piece: /proc/vmcore, makedumpfile -E, dump-guest-memory.

Excluded pages (makedumpfile -d) are not in the file: such a segment has fewer bytes there than in memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["torn_at"]

_CORE = 4
_LOAD = 1
_MANY_SEGMENTS = 0xFFFF  # the number is in a section header then


@dataclass(frozen=True, slots=True)
class _Segment:
    begin: int
    """Offset in the file."""
    end: int
    paddr: int
    vaddr: int


def _load_segments(data: npt.NDArray[np.uint8]) -> list[_Segment]:
    head = data[:64].tobytes()
    if len(head) < 64 or not head.startswith(b"\x7fELF"):
        return []
    order: Literal["<", ">"] = ">" if head[5] == 2 else "<"
    wide = head[4] == 2
    (kind,) = struct.unpack_from(order + "H", head, 16)
    (at,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    row = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if kind != _CORE or count == _MANY_SEGMENTS or size != row.size or at + size * count > len(data):
        return []
    table = data[at : at + size * count].tobytes()
    segments = []
    for number in range(count):
        values = row.unpack_from(table, number * size)
        offset, vaddr, paddr, length = values[2:6] if wide else values[1:5]
        if values[0] == _LOAD and length:
            segments.append(_Segment(offset, offset + length, paddr, vaddr))
    return sorted(segments, key=lambda segment: segment.begin)


def torn_at(data: npt.NDArray[np.uint8], offset: int, size: int) -> int | None:
    """Physical address of what is at ``offset`` of an ELF core dump that has not all ``size`` bytes there as in memory.

    None when they are in one piece, or nothing tells.
    """
    segments = _load_segments(data)
    inside = [segment for segment in segments if segment.begin <= offset < segment.end]
    if not inside:
        return None
    wanted = min(offset + size, len(data))
    for of in ("paddr", "vaddr"):
        ends: dict[int, int] = {}
        """Where the file ends to have memory as it is, by the distance between the two."""
        for segment in segments:
            distance = getattr(segment, of) - segment.begin
            if segment.begin <= ends.get(distance, offset) and segment.end > offset:
                ends[distance] = max(ends.get(distance, 0), segment.end)
        if max(ends.values()) >= wanted:
            return None
    return inside[0].paddr + offset - inside[0].begin
