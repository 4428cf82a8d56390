# SPDX-License-Identifier: Apache-2.0
"""A region whose beginning the input lacks: zeros are put in front of what is left, and that is decoded.

All that a CPU has lies at multiples of the sub-buffer size from the region's start, see geometry.py: the headers of the
other CPUs tell where that was, or else the sub-buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.columns import distinct
from rbdump.ring.bare import LARGEST, LEAST, bare_region
from rbdump.ring.evidence import look_at, looks_like_subbufs
from rbdump.ring.find import Found, region_of_cpu
from rbdump.ring.geometry import Chunk, Geometry, count_all_in_order, cpu_places, derive_geometry
from rbdump.ring.identify import ABIS, MIN_SUBBUFS, SUBBUF_SIZES, Identity
from rbdump.ring.layout import LAYOUTS
from rbdump.ring.structs import RegionStructs, region_structs
from rbdump.ring.unaligned import unaligned_headers

__all__ = ["whole_region"]

Bytes = npt.NDArray[np.uint8]

_PAGE = 4096
_SIZES = tuple(size for size in SUBBUF_SIZES if size <= 1 << 16)
"""Where no header says it: larger pages are rare, and numbers in a row look like those."""
_ROW = _SIZES[-1]
_MOST_ROWS = 256
"""Rows of so many bytes that are looked at, from all of the input."""
_HEADER = 16
"""Bytes of a sub-buffer's header at most: its time, and the commit word."""
_MOST_TIME = 1 << 30
"""Of the high half of a time: nanoseconds since 1970, for a century to come."""
_NR_BEST = 16
"""Places in a sub-buffer that are tried for each size, those with most votes."""
_MOST_WALKS = 64
"""Sizes and places whose records are read. More of them, and none of them right, has a file made to be slow."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A region that may be the right one, in the input behind the zeros that it lacks, and what its records say."""

    data: Bytes
    found: Found
    good: int
    used: int
    stamped: int
    """As `count_in_order` has them."""

    @classmethod
    def judged(cls, data: Bytes, found: Found) -> _Cut:
        return cls(data, found, *count_all_in_order(data, *found))

    def is_likely(self) -> bool:
        return self.good >= LEAST * self.used

    def score(self) -> tuple[int, int, int]:
        # big-endian sub-buffers of 64 bits look like those of 32 bits that begin four bytes further
        return self.good, self.stamped, self.found[0].structs.abi.long_size


def whole_region(data: Bytes, found: Found | None) -> tuple[Bytes, Found] | None:
    """The region of an input, with as many zeros in front as the input lacks of it; None if it has none.

    ``found`` is what a search for headers on pages gave. Without a magic, and with few sub-buffers whose records are in
    order, its header may be an accident.
    """
    cut = None
    if found is not None:
        data, found = _complete_region(data, *found)
        if found[0].by_magic:
            return data, found
        cut = _Cut.judged(data, found)
    if cut is None or not cut.is_likely():
        cut = _headless_region(data, cut)
    return None if cut is None else (cut.data, cut.found)


def _complete_region(data: Bytes, identity: Identity, geometry: Geometry) -> tuple[Bytes, Found]:
    """A region that was found, with the CPU in front of it whose sub-buffers the input has without their beginning.

    As given if there is none. Else the input with as many zeros in front as it lacks.
    """
    structs, first = identity.structs, geometry.chunks[0]
    size, count = geometry.subbuf_size, geometry.nr_subbufs
    whole = min(identity.offset // size, count)
    begin = identity.offset - whole * size
    in_front = whole > 0 and looks_like_subbufs(data, identity, begin, size, whole)
    if structs.layout.name == "A" and first.plausible:  # that era never got into a kernel: rather one like it, cut off
        in_front = in_front or (0 < identity.offset < count * size and not data[: identity.offset].any())
    has_header = any(chunk.plausible for chunk in geometry.chunks)
    if structs.meta is not None or not has_header or (first.plausible and not in_front):
        return data, (identity, geometry)
    if structs.layout.name == "A":
        # era C has the same headers of CPUs, and what would tell of a global header is lost
        structs = region_structs(structs.abi, LAYOUTS["C2"])
    at = identity.offset - count * size if in_front else first.data
    region = _region_of(structs, at, size, count)
    if region.offset < 0 and len(data) > LARGEST:
        return data, (identity, geometry)  # zeros in front would be a copy of it all
    data, identity = _behind_zeros(data, region)
    return data, (identity, derive_geometry(data, identity, guess=False))


def _region_of(structs: RegionStructs, at: int, subbuf_size: int, nr_subbufs: int) -> Identity:
    """The region whose first CPU has its sub-buffers at ``at``; its offset is negative if the input begins inside."""
    region = Identity(0, structs, structs.buffers_offset, by_magic=False)
    _, begin, _ = next(cpu_places(region, subbuf_size, nr_subbufs))
    return replace(region, offset=at - begin)


def _behind_zeros(data: Bytes, region: Identity) -> tuple[Bytes, Identity]:
    """The input with as many zeros in front as it lacks of the region, and where that lies then."""
    zeros = max(0, -region.offset)
    whole = np.concatenate([np.zeros(zeros, np.uint8), data]) if zeros else data
    return whole, replace(region, offset=region.offset + zeros)


def _headless_region(data: Bytes, doubtful: _Cut | None) -> _Cut | None:
    """A region that has no header of a CPU on a page of the input, or none at all; with the zeros that it lacks.

    ``doubtful`` has one: what it is if nothing else has more sub-buffers whose records are in order to their end.
    """
    bare = bare_region(data, 0)
    cuts = [doubtful, _Cut.judged(data, bare) if bare is not None else None]
    if len(data) <= LARGEST:
        cuts.append(max(_beside_pages(data), key=_Cut.score, default=None) or _without_headers(data))
    return max((cut for cut in cuts if cut is not None), key=_Cut.score, default=None)


def _beside_pages(data: Bytes) -> Iterator[_Cut]:
    """The regions of which a CPU has its header anywhere."""
    for at in unaligned_headers(data):
        found = region_of_cpu(data, at)
        if found is not None:
            cut = _Cut.judged(*_complete_region(data, *found))
            if cut.good and cut.is_likely():
                yield cut


def _without_headers(data: Bytes) -> _Cut | None:
    """The sub-buffers that fill the input, as those of one CPU."""
    likely: list[tuple[int, int, Identity]] = []
    for abi in ABIS:
        structs = region_structs(abi, LAYOUTS["C2"])
        for size, at in _likely_starts(data, abi):
            count = (len(data) - at) // size
            identity = Identity(at, structs, structs.buffers_offset, by_magic=False)
            look = look_at(data, identity, at, size, count)
            if count < MIN_SUBBUFS or not look.is_likely():
                continue
            # few begin at the same time, and the next one is begun when an event finds no room
            if len(distinct(look.stamps)) * 2 >= len(look.stamps) and np.median(look.sizes) * 2 >= size:
                likely.append((len(look.stamps), size, identity))
    best: _Cut | None = None
    for most, size, identity in sorted(likely, key=lambda one: one[0], reverse=True)[:_MOST_WALKS]:
        if best is not None and most < best.good:
            break  # each second sub-buffer looks like one that is twice as large
        at, count = identity.offset, (len(data) - identity.offset) // size
        geometry = Geometry(size, count, (Chunk(at, at, 0),), at + size * count)
        cut = _Cut.judged(data, (identity, geometry))
        if cut.good >= MIN_SUBBUFS and cut.is_likely() and (best is None or cut.score() > best.score()):
            best = cut
    if best is None:
        return None
    identity, geometry = best.found
    size, count = geometry.subbuf_size, geometry.nr_subbufs
    whole, identity = _behind_zeros(data, _region_of(identity.structs, identity.offset, size, count))
    header, begin, end = next(cpu_places(identity, size, count))
    return replace(best, data=whole, found=(identity, Geometry(size, count, (Chunk(header, begin, 0),), end)))


def _likely_starts(data: Bytes, abi: Abi) -> Iterator[tuple[int, int]]:
    """Sub-buffer sizes, and where the first one of that size begins: where most words can be those of a header."""
    little, wide = abi.byteorder == "little", abi.long_size == 8
    high, commit = (1, 2) if little else (0, 3 if wide else 2)
    votes = np.zeros(_ROW, np.int64)
    rows = -(-len(data) // _ROW)
    for row in range(0, rows, max(1, -(-rows // _MOST_ROWS))):
        block = data[row * _ROW : (row + 1) * _ROW + _HEADER]
        block = np.concatenate([block, np.zeros((_HEADER - len(block)) % _ROW, np.uint8)])
        number = len(block) // _ROW * _ROW
        for shift in range(4):
            words = block[shift : shift + number + 12].view("<u4" if little else ">u4")
            columns = [words[at : at + number // 4].astype(np.uint32) for at in range(4)]
            committed = columns[commit] & np.uint32(0x3FFF_FFFF)  # without the flags of missed events
            possible = (committed > 0) & (committed < _ROW) & (committed % 4 == 0)
            possible &= (columns[high] < _MOST_TIME) & ((columns[0] | columns[1]) != 0)
            if wide:
                rest = columns[5 - commit]
                possible &= (rest == 0) | (rest == 0xFFFF_FFFF)
            votes[shift::4] += possible.reshape(-1, _ROW // 4).sum(axis=0)
    for size in _SIZES:
        sums = votes.reshape(-1, size).sum(axis=0)
        best = np.argsort(-sums, kind="stable")[:_NR_BEST].tolist()
        yield from ((size, at) for at in {*best, *range(0, size, _PAGE)} if sums[at])
