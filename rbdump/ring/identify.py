# SPDX-License-Identifier: Apache-2.0
"""Which layout, byte order and word size a region has, by what its first words say; and where regions begin.

The magic and the word behind it, which holds the sizes of the headers, decide from era B on. Era A has no magic,
and a damaged region may have lost it: then the header of a CPU is recognised by its structure (a power of two as
sub-buffer size, and a `buffers[]` array that names every sub-buffer once).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.columns import distinct
from rbdump.ring.layout import LAYOUTS, META_MAGIC, SCRATCH_MODULES
from rbdump.ring.structs import RegionStructs, member_offset, region_structs, size_of, struct_parse

__all__ = [
    "ABIS",
    "MAGIC_ONLY",
    "MIN_SUBBUFS",
    "SUBBUF_SIZES",
    "Identity",
    "identify",
    "likely_offsets",
    "looks_like_cpu",
    "plausible_sizes",
    "sane_pointers",
    "structure_offsets",
    "word_on_each_byte",
]

Bytes = npt.NDArray[np.uint8]

ABIS = (Abi("little", 8), Abi("big", 8), Abi("little", 4), Abi("big", 4))
MAGIC_ONLY = 4
"""More pointers than a header has: structure alone is not enough."""
MIN_SUBBUFS = 3
"""The kernel refuses to make a persistent buffer with fewer sub-buffers for a CPU."""
SUBBUF_SIZES = (4096, 8192, 16384, 32768, 65536, 131072, 262144)
"""A sub-buffer of a persistent buffer is one page of the machine."""
_MOST_ENTRIES = 4096
"""So many entries of `buffers[]` tell whether it is one; a header that is none may claim any number."""
_SIZES_EITHER_ORDER = np.array([SUBBUF_SIZES, np.array(SUBBUF_SIZES, np.uint32).byteswap()], np.uint32)


@dataclass(frozen=True, slots=True)
class Identity:
    """A region at ``offset`` of the input, its layout, and where the header of its first CPU is."""

    offset: int
    structs: RegionStructs
    cpus_offset: int
    """Offset of the first CPU's header, from the region's start."""
    by_magic: bool
    """False when only the structure was recognised."""


def word_on_each_byte(data: Bytes) -> npt.NDArray[np.uint32]:
    """The little-endian word of four bytes that begins on each byte, as a view."""
    return np.ndarray((max(len(data) - 3, 0),), "<u4", buffer=data, strides=(1,))


def plausible_sizes(subbuf_size: int, nr_subbufs: int, room: int) -> bool:
    """Whether a CPU can have these sizes when ``room`` bytes are there: its `buffers[]` at least must fit."""
    return subbuf_size in SUBBUF_SIZES and MIN_SUBBUFS <= nr_subbufs <= room // 4


def likely_offsets(data: Bytes, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the places where a magic stands have possible sizes in the header of the first CPU."""
    return _have_sizes(data, offsets, _sizes_offsets(with_magic=True), 0xFFFFFFFF)


def structure_offsets(data: Bytes, start: int, end: int) -> npt.NDArray[np.int64]:
    """Page-aligned offsets from ``start`` up to ``end`` where a region may begin without any magic; ascending."""
    pages = np.arange(-(-start // 4096) * 4096, end, 4096, dtype=np.int64)
    return pages[_have_sizes(data, pages, _sizes_offsets(with_magic=False), len(data) // 4)]


@cache
def _sizes_offsets(*, with_magic: bool) -> tuple[int, ...]:
    """Where the first CPU's `subbuf_size` is, from the region's start, in all layouts or in those with a magic."""
    found = set()
    for abi in ABIS:
        for layout in LAYOUTS.values():
            if layout.cpu_magic or layout.has_scratch or not with_magic:
                structs = region_structs(abi, layout)
                found.add(structs.buffers_offset + member_offset(structs.cpu_meta, "subbuf_size"))
    return tuple(sorted(found))


def _have_sizes(
    data: Bytes, offsets: npt.NDArray[np.int64], distances: tuple[int, ...], most: int
) -> npt.NDArray[np.bool_]:
    """At which offsets the sizes of a CPU stand, any of ``distances`` further; it has ``most`` sub-buffers at most."""
    found = np.zeros(len(offsets), np.bool_)
    words = word_on_each_byte(data)
    for distance in distances:
        inside = np.flatnonzero(offsets + (distance + 8) <= len(data))
        inside = inside[np.isin(words[offsets[inside] + distance], _SIZES_EITHER_ORDER)]
        at = offsets[inside] + distance
        sizes, numbers = words[at], words[at + 4]
        for size, number in ((sizes, numbers), (sizes.byteswap(), numbers.byteswap())):
            found[inside] |= np.isin(size, SUBBUF_SIZES) & (number >= MIN_SUBBUFS) & (number <= most)
    return found


def identify(data: Bytes, offset: int, *, pointers: int = 2) -> Identity | None:
    """The region that begins at ``offset``, or None: by its magic, else by the structure of a CPU's header.

    Without any word of a magic ``pointers`` of a header's three pointers must make sense.
    """
    return _by_magic(data, offset) or _by_structure(data, offset, pointers)


def _word(data: Bytes, offset: int, size: int, abi: Abi) -> int:
    part = data[offset : offset + size]
    return int.from_bytes(part.tobytes(), abi.byteorder) if len(part) == size else 0


def _by_magic(data: Bytes, offset: int) -> Identity | None:
    for abi in ABIS:
        if _word(data, offset, 4, abi) != META_MAGIC:
            continue
        sizes = _word(data, offset + 4, 4, abi)
        for layout in LAYOUTS.values():
            structs = region_structs(abi, layout)
            if structs.struct_size != sizes or not (layout.cpu_magic or layout.has_scratch):
                continue
            if layout.cpu_magic:
                return Identity(offset, structs, 0, True)
            found = _scratch_layout(data, offset, structs)
            if found is not None:
                return found
    return None


def _scratch_layout(data: Bytes, offset: int, structs: RegionStructs) -> Identity | None:
    """Era C: `buffers_offset` tells whether the scratch holds a clock; its number of modules may differ."""
    assert structs.meta is not None
    abi, layout = structs.abi, structs.layout
    at = _word(data, offset + member_offset(structs.meta, "buffers_offset"), abi.long_size, abi)
    names = ("C2-inject",) if layout.name == "C2-inject" else ("C1", "C2")
    candidates = [region_structs(abi, LAYOUTS[name]) for name in names]
    for candidate in candidates:
        if at == candidate.buffers_offset:
            return Identity(offset, candidate, at, True)
    for candidate in candidates:  # a damaged word, or another number of modules than 128
        extra = at - (candidate.buffers_offset - SCRATCH_MODULES * size_of(candidate.mod_entry))
        if (
            0 <= extra <= 1 << 20
            and extra % size_of(candidate.mod_entry) == 0
            and looks_like_cpu(data, offset + at, candidate)
        ):
            return Identity(offset, candidate, at, True)
    for candidate in candidates:
        if looks_like_cpu(data, offset + candidate.buffers_offset, candidate):
            return Identity(offset, candidate, candidate.buffers_offset, True)
    return Identity(offset, candidates[-1], candidates[-1].buffers_offset, True)


def _by_structure(data: Bytes, offset: int, pointers: int) -> Identity | None:
    """Try every layout; the one whose magic words are left wins, then the one whose pointers make most sense."""
    best: tuple[tuple[int, int, bool, bool], Identity] | None = None
    for abi in ABIS:
        for layout in LAYOUTS.values():
            structs = region_structs(abi, layout)
            at = structs.buffers_offset
            if not looks_like_cpu(data, offset + at, structs):
                continue
            words = 0
            if layout.cpu_magic or layout.has_scratch:
                words = (_word(data, offset, 4, abi) == META_MAGIC) + (
                    _word(data, offset + 4, 4, abi) == structs.struct_size
                )
            sane = sane_pointers(data, offset + at, structs)
            score = (words, sane, layout.has_scratch, not layout.cpu_magic)
            least = max(pointers, 3) if layout.cpu_magic else pointers
            if (words or sane >= least) and (best is None or score > best[0]):
                best = score, Identity(offset, structs, at, False)
    return best[1] if best else None


def looks_like_cpu(data: Bytes, at: int, structs: RegionStructs) -> bool:
    """Whether the header of a CPU stands at ``at``: its sizes are possible and `buffers[]` is an array of indices."""
    abi, size = structs.abi, size_of(structs.cpu_meta)
    subbuf_size = _word(data, at + member_offset(structs.cpu_meta, "subbuf_size"), 4, abi)
    nr_subbufs = _word(data, at + member_offset(structs.cpu_meta, "nr_subbufs"), 4, abi)
    if not plausible_sizes(subbuf_size, nr_subbufs, len(data) - at):
        return False
    if at + size + 4 * nr_subbufs > len(data):
        return False
    count = min(nr_subbufs, _MOST_ENTRIES)
    indices = np.frombuffer(data[at + size : at + size + 4 * count].tobytes(), abi.dtype(4)).astype(np.int64)
    good = distinct(indices[indices < nr_subbufs])
    return len(good) * 10 >= count * 9


def sane_pointers(data: Bytes, at: int, structs: RegionStructs) -> int:
    """How many of a header's three pointers make sense: head and commit page among the sub-buffers, first on a page."""
    header = struct_parse(structs.cpu_meta, data, at)
    size = int(header.subbuf_size * header.nr_subbufs)
    head, commit = int(header.head_buffer), int(header.commit_buffer)
    if not size:  # of a header of zeros with one wrong byte all would make sense: a CPU that was never online has none
        return 0
    if "first_buffer" not in header:
        distance = abs(head - commit)
        return (head % 4096 == 0 and head != 0) + (commit % 4096 == 0) + (distance < size)
    first = int(header.first_buffer)
    inside = [addr == 0 or (0 <= addr - first < size and (addr - first) % 4096 == 0) for addr in (head, commit)]
    return sum(inside) + (first != 0 and first % 4096 == 0)
