# SPDX-License-Identifier: Apache-2.0
"""The contents of an image by link-time virtual address, as the kernel would find them when it starts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi

__all__ = ["ImageMemory", "Segment", "find_bytes"]

Octets = npt.NDArray[np.uint8]

_MAX_STRING = 1 << 16
_STEP = 1 << 24


def find_bytes(data: Octets, needle: bytes, begin: int = 0) -> int:
    """The first position of ``needle`` at or behind ``begin``; -1 when there is none. Copies little at a time."""
    for at in range(begin, len(data), _STEP):
        found = data[at : at + _STEP + len(needle) - 1].tobytes().find(needle)
        if found >= 0:
            return at + found
    return -1


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are linked to run at one place."""

    addr: int
    """Link-time virtual address of the first byte."""
    data: Octets
    zeros: int = 0
    """Bytes behind `data` that the kernel clears (.bss)."""


class ImageMemory:
    """Segments in order of address; where two overlap, the one that begins later wins."""

    def __init__(self, segments: Iterable[Segment], abi: Abi) -> None:
        self.segments = sorted(segments, key=lambda segment: segment.addr)
        self.abi = abi
        self._addrs = [segment.addr for segment in self.segments]

    def _at(self, addr: int) -> tuple[Segment, int] | None:
        # A section without contents may lie inside a longer segment: behind its end that one goes on.
        for index in range(bisect_right(self._addrs, addr) - 1, -1, -1):
            segment = self.segments[index]
            offset = addr - segment.addr
            if offset < len(segment.data) + segment.zeros:
                return segment, offset
        return None

    def read(self, addr: int, size: int) -> bytes:
        """Up to ``size`` bytes; fewer, or none, where the image ends. Cleared memory reads as zero bytes."""
        found = self._at(addr)
        if found is None or size <= 0:
            return b""
        segment, offset = found
        piece = segment.data[offset : offset + size].tobytes()
        if len(piece) < size and segment.zeros:
            cleared = len(segment.data) + segment.zeros - offset - len(piece)
            piece += bytes(min(cleared, size - len(piece)))
        return piece

    def cstring(self, addr: int) -> str | None:
        """The NUL-terminated string at ``addr``; None outside the image or without a NUL in `_MAX_STRING` bytes."""
        found = self._at(addr)
        if found is None:
            return None
        segment, offset = found
        step = 128
        while True:
            piece = segment.data[offset : offset + step].tobytes()
            end = piece.find(b"\0")
            if end >= 0:
                return piece[:end].decode("utf-8", "replace")
            if len(piece) < step and segment.zeros:
                return piece.decode("utf-8", "replace")
            if len(piece) < step or step >= _MAX_STRING:
                return None
            step = min(step * 8, _MAX_STRING)

    def array(self, addr: int, count: int, size: int) -> npt.NDArray[Any]:
        """``count`` integers of ``size`` bytes in native order; fewer where the image ends."""
        dtype = self.abi.dtype(size)
        found = self._at(addr)
        if found is None or count <= 0:
            return np.empty(0, dtype.newbyteorder("="))
        segment, offset = found
        there = (len(segment.data) - offset) // size if offset < len(segment.data) else 0
        if there >= count or not segment.zeros:
            view: npt.NDArray[Any] = np.ndarray((max(0, min(count, there)),), dtype, segment.data, offset)
            return view.astype(dtype.newbyteorder("="))
        piece = self.read(addr, min(count * size, len(segment.data) + segment.zeros - offset))
        return np.frombuffer(piece[: len(piece) // size * size], dtype).astype(dtype.newbyteorder("="))
