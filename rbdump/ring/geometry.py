# SPDX-License-Identifier: Apache-2.0
"""Where each CPU's header and sub-buffers lie, and how many CPUs there are: nothing stores it, all of it is derived.

Mirrors rb_range_meta_init() and rb_range_buffer() (kernel/trace/ring_buffer.c). The header of CPU c, its `buffers[]`
and then, at the next multiple of the sub-buffer size counted from the region's start, its sub-buffers; CPU c+1
begins right behind them. All CPUs have the same number of sub-buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.errors import NotARegionError
from rbdump.ring.evidence import Look, count_in_order, look_at, looks_like_subbufs, may_be_subbufs
from rbdump.ring.identify import MIN_SUBBUFS, SUBBUF_SIZES, Identity
from rbdump.ring.neighbours import Mapping, intact_header, is_other_region, region_at, region_within
from rbdump.ring.structs import member_offset, size_of, struct_parse

__all__ = [
    "Chunk",
    "Geometry",
    "are_swaps_shifted",
    "count_all_in_order",
    "cpu_places",
    "derive_geometry",
    "guess_geometry",
    "looks_like_header",
    "nr_subbufs_for",
]

Bytes = npt.NDArray[np.uint8]

MAX_CPUS = 8192
"""NR_CPUS of the largest configuration."""
MAX_CLAIMS = 32
"""Different sizes that are tried; a region whose headers disagree more than this is noise."""
CLAIMS_BLOCK = 1 << 26
"""Bytes whose pages are looked at for such sizes at once."""
MAX_GUESSED_CPUS = 64
"""CPUs that are tried when no header is left."""
MAX_LOST_HEADERS = 64
"""CPUs in a row whose headers may be destroyed before the search for another one ends."""
LOOK_AHEAD = 1024
"""Entries of `buffers[]` that are looked at to see whether it goes on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The memory of one CPU, as offsets in the input."""

    header: int
    data: int
    evidence: int
    """How much of its header is as it should be: 0 nothing, 3 sub-buffer size, number and array of indices."""
    exact: bool = False
    """The array names every sub-buffer exactly once."""

    @property
    def plausible(self) -> bool:
        """A header stands there, perhaps damaged."""
        return self.evidence >= 2


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes that all CPUs share, and the chunk of each CPU."""

    subbuf_size: int
    nr_subbufs: int
    chunks: tuple[Chunk, ...]
    end: int
    """Offset in the input behind the last chunk; it lies behind the input's end when that is truncated."""


def nr_subbufs_for(identity: Identity, size: int, cpus: int, subbuf_size: int) -> int:
    """Sub-buffers that the kernel gives each of ``cpus`` CPUs in a region of ``size`` bytes; 0 when they do not fit."""
    if cpus < 1:
        return 0
    header, start = size_of(identity.structs.cpu_meta), identity.cpus_offset
    per_cpu = size // cpus
    if identity.structs.meta is not None:
        # The kernel adds the size of a CPU's header here, where it means the global one.
        long = identity.structs.abi.long_size
        start += -(-header // long) * long - size_of(identity.structs.meta)
        per_cpu = (size - start) // cpus
    count = (per_cpu - header) // (subbuf_size + 4)
    while count >= 3:
        position = start
        for _ in range(cpus):
            position = _align(position + header + 4 * count, subbuf_size) + subbuf_size * count
        if position <= size:
            return count
        count -= 1
    return 0


def derive_geometry(data: Bytes, identity: Identity, total_size: int | None = None, *, guess: bool = True) -> Geometry:
    """Sizes and positions of all CPUs. NotARegionError when no header says how large a sub-buffer is.

    ``total_size`` is what the region says of itself; it decides only when it fits what is found. ``guess``: also try
    sizes that no header says, which takes long.
    """
    room = len(data) - identity.offset
    sizes = {room} if total_size is None else {room, total_size}
    best: tuple[tuple[int, int, bool, int], Geometry] | None = None
    for subbuf_size, nr_subbufs, claimed in _claims(data, identity, sizes):
        if not claimed and (not guess or (best is not None and _intact(data, identity, best[1]))):
            break
        geometry = _lay_out(data, identity, subbuf_size, nr_subbufs, sizes, total_size)
        fits = any(nr_subbufs_for(identity, size, len(geometry.chunks), subbuf_size) == nr_subbufs for size in sizes)
        hits = [chunk for chunk in geometry.chunks if chunk.plausible]
        evidence = sum(chunk.evidence for chunk in hits) + fits
        score = (len(hits), evidence, any(chunk.exact for chunk in hits), nr_subbufs)
        if hits and (best is None or score > best[0]):
            best = score, geometry
    if best is not None:
        return _resized(data, identity, best[1], sizes, total_size) if guess and total_size else best[1]
    blind = guess_geometry(data, identity, sizes) if guess and identity.by_magic else None
    if blind is None:
        raise NotARegionError(
            f"the headers of all CPUs behind offset {identity.offset:#x} are destroyed: no sub-buffer size is left"
        )
    return blind[1]


def _resized(data: Bytes, identity: Identity, geometry: Geometry, sizes: set[int], total_size: int) -> Geometry:
    """``geometry``, or what it is when the sub-buffer size in the only header is damaged: by its number and the size of
    the region, if more sub-buffers hold events then.
    """
    number, chunks = geometry.nr_subbufs, geometry.chunks
    told = nr_subbufs_for(identity, total_size, len(chunks), geometry.subbuf_size) == number
    if sum(chunk.plausible for chunk in chunks) > 1 or not chunks[0].exact or (told and len(chunks) == 1):
        return geometry

    others = [
        _lay_out(data, identity, size, number, sizes, total_size)
        for size in SUBBUF_SIZES
        if any(nr_subbufs_for(identity, total_size, cpus, size) == number for cpus in range(1, MAX_GUESSED_CPUS + 1))
    ]
    return max(
        [geometry, *(other for other in others if other.chunks)],
        key=lambda one: count_all_in_order(data, identity, one)[0],
    )


def count_all_in_order(data: Bytes, identity: Identity, geometry: Geometry) -> tuple[int, int, int]:
    """`count_in_order` of the sub-buffers of all CPUs."""
    size, count = geometry.subbuf_size, geometry.nr_subbufs
    each = (count_in_order(data, identity, chunk.data, size, count) for chunk in geometry.chunks)
    good, used, stamped = (sum(column) for column in zip(*each, strict=True))
    return good, used, stamped


def _intact(data: Bytes, identity: Identity, geometry: Geometry) -> bool:
    """Whether all headers agree with the sizes, and no array goes on: of a number that damage made smaller the
    beginning of an array that is in order agrees as well.
    """
    count = geometry.nr_subbufs
    behind = size_of(identity.structs.cpu_meta) + 4 * count
    for chunk in geometry.chunks:
        word = data[chunk.header + behind : chunk.header + behind + 4].tobytes()
        goes_on = count <= int.from_bytes(word, identity.structs.abi.byteorder) < len(data) // min(SUBBUF_SIZES)
        if chunk.evidence < 3 or not chunk.exact or goes_on:
            return False
    return True


def guess_geometry(data: Bytes, identity: Identity, sizes: set[int]) -> tuple[tuple[int, int, int], Geometry] | None:
    """Without any header: the sizes that the kernel chooses for some number of CPUs, if sub-buffers lie there.

    Those by which most sub-buffers are used: sub-buffers twice as large would skip every second one, half as large they
    could not hold what they say, and the headers of more CPUs would lie on some. Then those by which, along the memory
    of a CPU, time stamps fall least often and fewest sub-buffers were left out: it is filled from its beginning on.
    In front stands what these make of it: how many are used, less how often that is so, and bytes.
    """
    best: tuple[tuple[int, int, int], Geometry] | None = None
    for subbuf_size in SUBBUF_SIZES:
        for size in sizes:
            for cpus in range(1, MAX_GUESSED_CPUS + 1):
                count = nr_subbufs_for(identity, size, cpus, subbuf_size)
                if not count or size > len(data) - identity.offset:
                    continue
                positions = cpu_places(identity, subbuf_size, count)
                chunks = [Chunk(at, begin, 0) for at, begin, _ in islice(positions, cpus)]
                each = (look_at(data, identity, chunk.data, subbuf_size, count) for chunk in chunks)
                looks = list(takewhile(Look.is_likely, each))
                if len(looks) < cpus:
                    continue
                used = sum(len(look.stamps) - look.wrong for look in looks)
                odd = sum(look.skipped + int(np.count_nonzero(look.stamps[1:] < look.stamps[:-1])) for look in looks)
                score = (used, -odd, cpus * count * subbuf_size)
                if best is None or score > best[0]:
                    end = chunks[-1].data + count * subbuf_size
                    best = score, Geometry(subbuf_size, count, tuple(chunks), end)
    return best


def cpu_places(identity: Identity, subbuf_size: int, nr_subbufs: int) -> Iterator[tuple[int, int, int]]:
    """(header, sub-buffers, end) of CPU after CPU, as offsets in the input."""
    header = size_of(identity.structs.cpu_meta)
    position = identity.cpus_offset
    while True:
        at = _align(position + header + 4 * nr_subbufs, subbuf_size)
        end = at + subbuf_size * nr_subbufs
        yield identity.offset + position, identity.offset + at, identity.offset + end
        position = end


def looks_like_header(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> bool:
    """Whether a CPU's header of these sizes stands at ``at``, perhaps damaged."""
    return at >= 0 and Chunk(at, at, *_evidence(data, identity, at, subbuf_size, nr_subbufs)).plausible


def are_swaps_shifted(identity: Identity, header: int, subbuf_size: int, nr_subbufs: int) -> bool:
    """Whether the sub-buffers of the CPU whose header is at ``header`` begin later for the size of that header.

    Then a reader's swap writes entries of `buffers[]` that are one too large, see `rbdump.ring.buffers`.
    """
    behind = header - identity.offset + 4 * nr_subbufs
    return _align(behind, subbuf_size) != _align(behind + size_of(identity.structs.cpu_meta), subbuf_size)


def _align(position: int, size: int) -> int:
    return -(-position // size) * size


def _claims(data: Bytes, identity: Identity, sizes: set[int]) -> Iterator[tuple[int, int, bool]]:
    """(sub-buffer size, number, True) as the headers claim them, the first CPU's first.

    Then, with False, what the kernel would choose.
    """
    cpu_meta, abi = identity.structs.cpu_meta, identity.structs.abi
    first = np.array([identity.offset + identity.cpus_offset], np.int64)
    others = (
        np.arange(begin, min(begin + CLAIMS_BLOCK, len(data)), 4096, dtype=np.int64)
        for begin in range(identity.offset + 4096, len(data), CLAIMS_BLOCK)
    )
    seen: dict[tuple[int, int], None] = {}
    for headers, most in chain([(first, max(sizes) // 4)], ((pages, max(sizes) // 4096) for pages in others)):
        headers = headers[headers + size_of(cpu_meta) <= len(data)]
        at = headers[:, None] + np.arange(4)
        subbuf_sizes, numbers = (
            np.ascontiguousarray(data[at + member_offset(cpu_meta, name)]).view(abi.dtype(4))[:, 0].astype(np.int64)
            for name in ("subbuf_size", "nr_subbufs")
        )
        possible = np.isin(subbuf_sizes, SUBBUF_SIZES) & (numbers >= MIN_SUBBUFS) & (numbers <= most)
        for claim in zip(subbuf_sizes[possible].tolist(), numbers[possible].tolist(), strict=True):
            if claim not in seen and len(seen) < MAX_CLAIMS:
                seen[claim] = None
                yield *claim, True
    for subbuf_size in dict.fromkeys(claim[0] for claim in seen):
        for size in sizes:
            for cpus in range(1, 65):
                claim = subbuf_size, nr_subbufs_for(identity, size, cpus, subbuf_size)
                if claim[1] and claim not in seen:
                    seen[claim] = None
                    yield *claim, False


def _lay_out(
    data: Bytes, identity: Identity, subbuf_size: int, nr_subbufs: int, sizes: set[int], total_size: int | None
) -> Geometry:
    """The chunks that CPUs of these sizes have: up to the last one that shows a header, or whose data do."""

    def fits(cpus: int, size: int) -> bool:
        return nr_subbufs_for(identity, size, cpus, subbuf_size) == nr_subbufs

    structs = identity.structs
    header, data_size = size_of(structs.cpu_meta), subbuf_size * nr_subbufs
    positions = islice(cpu_places(identity, subbuf_size, nr_subbufs), MAX_CPUS)
    places = [*takewhile(lambda place: place[0] + header <= len(data), positions)]
    chunks: list[Chunk] = []
    known = 0
    mapping: Mapping | None = None
    told = 0  # how many CPUs the region has by its own word, where the sizes agree with it
    if total_size is not None:
        told = sum(1 for _ in takewhile(lambda place: place[2] <= identity.offset + total_size, places))
        told *= fits(told, total_size)
    for at, begin, end in places:
        chunk = Chunk(at, begin, *_evidence(data, identity, at, subbuf_size, nr_subbufs))
        intact = intact_header(data, structs, at)
        if intact is not None and mapping is None:
            mapping = Mapping(intact, begin, data_size, structs.abi.long_mask)
        elif (
            intact is not None
            and mapping is not None
            and not (chunk.evidence == 3 and len(chunks) < told)
            and is_other_region(data, structs, mapping, places, len(chunks))
        ):
            break  # the header of another region's CPU
        if chunk.plausible and chunk.evidence < 3 and intact is None and region_at(data, at, structs, mapping, [begin]):
            break  # an address of another layout that looks like a size
        if (
            total_size is not None
            and at <= identity.offset + total_size < end
            and not chunk.plausible
            and any(fits(cpus, total_size) for cpus in range(known, len(chunks) + 1))
        ):
            # The kernel makes the number of sub-buffers from the region's size: one that gives it is not damaged.
            break
        chunks.append(chunk)
        if chunk.plausible:
            known = len(chunks)
        elif end - identity.offset > max(sizes) or len(chunks) - known > MAX_LOST_HEADERS:
            break
    lost = [chunk.data for chunk in chunks if not chunk.plausible]
    while known < len(chunks) and not any(fits(known, size) for size in sizes):
        chunk = chunks[known]
        told_so = total_size is not None and fits(known + 1, total_size)
        as_large = any(fits(known + 1, size) for size in sizes) and may_be_subbufs(
            data, identity, chunk.data, subbuf_size, nr_subbufs
        )
        if not (told_so or as_large or looks_like_subbufs(data, identity, chunk.data, subbuf_size, nr_subbufs)):
            break
        if region_within(data, chunk.header, chunk.data + data_size, structs, mapping, lost):
            break
        known += 1
    chunks = chunks[:known]
    end = chunks[-1].data + data_size if chunks else identity.offset
    return Geometry(subbuf_size, nr_subbufs, tuple(chunks), end)


def _evidence(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> tuple[int, bool]:
    """How many of three things the header at ``at`` agrees in: sub-buffer size, number, an array of indices.

    And whether the array is complete.
    """
    cpu_meta, abi = identity.structs.cpu_meta, identity.structs.abi
    header, begin = struct_parse(cpu_meta, data, at), at + size_of(cpu_meta)

    def indices(count: int, first: int) -> int:
        """How many of ``count`` sub-buffers the first entries of the array name."""
        raw = data[begin : begin + 4 * first]
        if len(raw) < 4 * first:
            return 0
        values = np.ascontiguousarray(raw).view(abi.dtype(4)).astype(np.int64)
        return len(distinct(values[values < count]))

    number, good = int(header.nr_subbufs), indices(nr_subbufs, nr_subbufs)
    if number > nr_subbufs:
        longer = min(number, nr_subbufs + LOOK_AHEAD)
        found = indices(number, longer)
        more = found - indices(number, nr_subbufs)
        if found * 10 >= longer * 9 and more * 10 >= (longer - nr_subbufs) * 9:
            return 0, False  # no accident makes the array go on: it is a header of other sizes
    is_array = good * 10 >= nr_subbufs * 9 or good == nr_subbufs - 1
    agreed = (header.subbuf_size == subbuf_size, number == nr_subbufs, is_array)
    return sum(map(bool, agreed)), good == nr_subbufs
