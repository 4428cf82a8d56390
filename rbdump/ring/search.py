# SPDX-License-Identifier: Apache-2.0
"""Where in an input a region may begin, the surest places first.

The input may be a memory image of many gigabytes that holds no region at all, so that it is read in blocks, once for
the magic and once for the structure of a header, and no further than the caller asks for places.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from rbdump.ring.identify import MAGIC_ONLY, likely_offsets, structure_offsets, word_on_each_byte
from rbdump.ring.layout import META_MAGIC

__all__ = ["Places"]

Bytes = npt.NDArray[np.uint8]

MAX_TRIES = 1024
"""Places that look like the start of a region and are tried before the input counts as noise."""
MAX_UNLIKELY_TRIES = 16
"""The same for places with a magic and impossible sizes: the header of a damaged region."""
MAGIC_BLOCK = 1 << 18
"""Bytes that are searched for the magic at once; they stay in the processor's cache."""
STRUCTURE_BLOCK = 1 << 24
"""Bytes whose pages are looked at for a header at once."""

_BYTES = META_MAGIC.to_bytes(4, "little")
_MAGICS = [int.from_bytes(octets, "little") for octets in (_BYTES, _BYTES[::-1])]
_HALVES = [int.from_bytes(octets[at : at + 2], "little") for octets in (_BYTES, _BYTES[::-1]) for at in (0, 1)]
"""What an aligned pair of bytes holds where a magic begins, or one byte behind its beginning."""


class Places:
    """The places of one input. What a search learns of it serves the next one, which may not begin further in front."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self._no_magic = bytearray(len(data) // MAGIC_BLOCK + 1)
        self._structures: list[int] = []
        self._structures_end = 0

    def behind(self, start: int) -> Iterator[tuple[int, int]]:
        """Where a region may begin from ``start`` on, and how many sane pointers a header there needs without a magic.

        ``start`` itself, then by magic, then by structure.
        """
        yield start, MAGIC_ONLY
        for offset in self._by_magic(start):
            yield offset, MAGIC_ONLY
        yield start, 3
        for offset in self._by_structure(start):
            yield offset, 3
        yield start, 2
        for offset in self._by_structure(start):
            yield offset, 2

    def _by_magic(self, start: int) -> Iterator[int]:
        """Those a multiple of four bytes from ``start`` before others; those with impossible sizes last."""
        likely: list[list[int]] = [[], [], [], []]
        unlikely: list[list[int]] = [[], [], [], []]
        for offsets in self._magics(start):
            possible = likely_offsets(self.data, offsets)
            shifts = (offsets - start) % 4
            for shift in range(4):
                found = offsets[(shifts == shift) & possible][: MAX_TRIES - len(likely[shift])].tolist()
                likely[shift] += found
                room = MAX_UNLIKELY_TRIES - len(unlikely[shift])
                unlikely[shift] += offsets[(shifts == shift) & ~possible][:room].tolist()
                if shift == 0:
                    yield from found
            if len(unlikely[0]) == MAX_UNLIKELY_TRIES and all(len(places) == MAX_TRIES for places in likely):
                break
        for places in likely[1:]:
            yield from places
        yield from [*chain.from_iterable(unlikely)][:MAX_UNLIKELY_TRIES]

    def _magics(self, start: int) -> Iterator[npt.NDArray[np.int64]]:
        """Offsets from ``start`` on where the magic stands in either byte order, block by block, ascending."""
        for number in range(start // MAGIC_BLOCK, len(self._no_magic)):
            if self._no_magic[number]:
                continue
            begin = max(start, number * MAGIC_BLOCK)
            found = _magics_in(self.data[begin : (number + 1) * MAGIC_BLOCK + 3])
            if len(found):
                yield found + begin
            elif begin == number * MAGIC_BLOCK:
                self._no_magic[number] = True

    def _by_structure(self, start: int) -> Iterator[int]:
        """The first offsets from ``start`` on that structure_offsets() has."""
        self._structures = [offset for offset in self._structures if offset >= start]
        self._structures_end = max(self._structures_end, start)
        tried = 0
        while tried < MAX_TRIES:
            if tried < len(self._structures):
                yield self._structures[tried]
                tried += 1
            elif self._structures_end < len(self.data):
                end = min(self._structures_end + STRUCTURE_BLOCK, len(self.data))
                self._structures += structure_offsets(self.data, self._structures_end, end).tolist()
                self._structures_end = end
            else:
                break


def _magics_in(block: Bytes) -> npt.NDArray[np.int64]:
    """Where the magic stands in a block, in either byte order and at any offset; ascending."""
    pairs = block[: len(block) // 2 * 2].view("<u2")
    hits = pairs == _HALVES[0]
    for half in _HALVES[1:]:
        hits |= pairs == half
    at: npt.NDArray[np.int64] = np.flatnonzero(hits) * 2
    at = np.sort(np.concatenate([at - 1, at]))
    at = at[(at >= 0) & (at + 4 <= len(block))]
    if not len(at):
        return at
    return at[np.isin(word_on_each_byte(block)[at], _MAGICS)]
