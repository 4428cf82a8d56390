# SPDX-License-Identifier: Apache-2.0
"""Whether memory belongs to a region or to another one behind it: by addresses, and by headers of other regions.

Kernel facts: a region is mapped in one piece (rb_range_meta_init() of kernel/trace/ring_buffer.c is given one start
address), so that the addresses in the headers of its CPUs lie as far apart as the sub-buffers in the dump do, and no
region begins inside another one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt
from construct import Container

from rbdump.ring.identify import identify, sane_pointers
from rbdump.ring.search import Places
from rbdump.ring.structs import RegionStructs, struct_parse

__all__ = ["Mapping", "intact_header", "is_other_region", "region_at", "region_within"]

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where a region was mapped in the last boot, by the header of one CPU whose pointers make sense."""

    header: Container
    data: int
    """Offset of that CPU's sub-buffers in the input."""
    size: int
    """Bytes of a CPU's sub-buffers."""
    mask: int
    """Largest address."""

    def distance(self, header: Container) -> int:
        """Bytes from the sub-buffers of this CPU to those of ``header``, as the addresses tell; about, in era A0."""
        name = "first_buffer" if "first_buffer" in header else "commit_buffer"
        half = self.mask // 2 + 1
        return int(((header[name] - self.header[name] + half) & self.mask) - half)

    def agrees(self, header: Container, data: int) -> bool:
        """Whether ``header`` is the one of a CPU of the region whose sub-buffers are at ``data`` of the input.

        One wrong bit is damage.
        """
        one, two, distance = self.header, header, data - self.data
        if "first_buffer" in one and "first_buffer" in two:
            wrong = (
                (((one.first_buffer + distance) & self.mask) ^ two.first_buffer).bit_count(),
                (((two.first_buffer - distance) & self.mask) ^ one.first_buffer).bit_count(),
            )
            is_copy = wrong[0] > 0 and one.first_buffer == two.first_buffer
            return min(wrong) <= 1 and not is_copy
        # Era A0 does not store the first address; the commit page can be any of a CPU's sub-buffers.
        return bool(abs(two.commit_buffer - one.commit_buffer - distance) < self.size)

    def is_behind_guard(self, header: Container, data: int) -> bool:
        """Whether ``header`` is one page further than it would be as of this region, with sub-buffers at ``data``.

        Up to 6.14 a region is mapped by vmap(), which leaves a page free behind it, and what is mapped next follows.
        """
        if "first_buffer" not in header:
            return False
        return bool(self.distance(header) - (data - self.data) == self.header.subbuf_size)


def intact_header(data: Bytes, structs: RegionStructs, at: int) -> Container | None:
    """The header of a CPU at ``at`` of the input when all its pointers make sense, else None."""
    return struct_parse(structs.cpu_meta, data, at) if sane_pointers(data, at, structs) == 3 else None


def is_other_region(
    data: Bytes, structs: RegionStructs, mapping: Mapping, places: Sequence[tuple[int, int, int]], cpu: int
) -> bool:
    """Whether the intact header where the one of ``cpu`` belongs is that of another region's first CPU.

    ``places`` as for `is_swapped`. The regions of a machine have as many CPUs each, all mapped alike, and none lies
    between CPUs of another.
    """

    def header_at(place: int) -> Container | None:
        return intact_header(data, structs, places[place][0]) if place < len(places) else None

    def is_behind_guard(place: int) -> bool:
        header = header_at(place)
        return header is not None and mapping.is_behind_guard(header, places[place][1])

    header = header_at(cpu)
    assert header is not None
    for place in (cpu + 1, cpu + 2):
        following = header_at(place)
        if following is not None and mapping.distance(following) == places[place][1] - mapping.data:
            return False
    if mapping.agrees(header, places[cpu][1]):
        moved = [is_behind_guard(place) for place in (cpu - 1, cpu, 2 * cpu - 1, 2 * cpu)]
        return cpu > 1 and moved == [False, True, True, False]  # alone it may as well be one wrong bit
    return not is_swapped(data, structs, mapping, places, cpu)


def is_swapped(
    data: Bytes, structs: RegionStructs, mapping: Mapping, places: Sequence[tuple[int, int, int]], cpu: int
) -> bool:
    """Whether the intact header of ``cpu`` is another CPU's of the same region, which stands at a wrong place.

    ``places`` are the offsets of the header and of the sub-buffers of CPU after CPU, and of the end of these. The
    header that belongs there is then at a wrong place, too, and not as far from its own: all headers of another region
    are moved alike.
    """

    def owner(place: int) -> int | None:
        header = intact_header(data, structs, places[place][0])
        if header is None:
            return None
        nearest = bisect_left(places, mapping.data + mapping.distance(header), key=itemgetter(1))
        near = range(max(nearest - 1, 0), min(nearest + 1, len(places)))
        return next((number for number in near if mapping.agrees(header, places[number][1])), None)

    other = owner(cpu)
    if other is None or owner(other) in (None, other, 2 * other - cpu):
        return False
    return cpu + 1 == len(places) or owner(cpu + 1) != other + 1


def region_within(
    data: Bytes, begin: int, end: int, structs: RegionStructs, mapping: Mapping | None, lost: Sequence[int]
) -> bool:
    """Whether another region begins from ``begin`` up to ``end`` of the input than the one with these ``structs``.

    ``lost`` as for `region_at`.
    """
    for offset, pointers in Places(data[:end]).behind(begin):
        if pointers < 3:
            break
        if region_at(data, offset, structs, mapping, lost, pointers):
            return True
    return False


def region_at(
    data: Bytes, offset: int, structs: RegionStructs, mapping: Mapping | None, lost: Sequence[int], pointers: int = 3
) -> bool:
    """Whether another region begins at ``offset``; ``pointers`` as for `identify`.

    ``lost`` are the offsets of the sub-buffers of CPUs that miss their headers: what has the addresses of one of them
    is that header, perhaps at a wrong place.
    """
    found = identify(data, offset, pointers=pointers)
    if found is None:
        return False
    if found.by_magic and found.structs.meta is not None:
        return True  # no header of a CPU begins like the global one
    header = intact_header(data, found.structs, offset + found.cpus_offset)
    if header is None or mapping is None:
        return False
    other_layout = found.by_magic and found.structs is not structs
    return other_layout or not any(mapping.agrees(header, at) for at in lost)
