# SPDX-License-Identifier: Apache-2.0
"""Finds regions in an input: at a place, or the surest places one after the other, each with what was derived there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rbdump.errors import NotARegionError, UsageError
from rbdump.ring.evidence import looks_like_subbufs
from rbdump.ring.geometry import Geometry, derive_geometry, looks_like_header
from rbdump.ring.identify import Identity, identify
from rbdump.ring.search import Places
from rbdump.ring.structs import struct_parse

__all__ = ["Found", "find_regions", "first_region", "region_at", "region_of_cpu", "regions_behind"]

Bytes = npt.NDArray[np.uint8]
Found = tuple[Identity, Geometry]

MAX_GUESSES = 32
"""Places, the surest first, where sizes are tried that no header says; a file made to be slow has a thousand."""


def find_regions(data: Bytes, *, start: int = 0) -> list[int]:
    """Offsets of all regions from ``start`` on that do not overlap."""
    return list(regions_behind(Places(data), start))


def regions_behind(places: Places, start: int) -> Iterator[int]:
    """The same one by one."""
    while start + 4096 <= len(places.data):
        candidate = first_region(places, start)
        if candidate is None:
            break
        identity, geometry = candidate
        yield identity.offset
        start = max(geometry.end, identity.offset + 4096)


def region_at(places: Places, offset: int) -> Found | None:
    """The region at ``offset``. UsageError when another one begins elsewhere that shows this to be none."""
    data = places.data
    if not 0 <= offset < len(data):
        raise UsageError(f"--offset {offset:#x} lies outside of the input, which ends at {len(data):#x}")
    found = _try(data, offset)
    if found is not None and found[0].by_magic:
        return found
    other = first_region(places, 0)
    if other is None or other[0].offset == offset:
        return found
    identity, geometry = other
    # the header of a CPU stands as far behind a place near the right one as another layout has it
    if found is None or (identity.by_magic and identity.offset < found[1].end and offset < geometry.end):
        raise UsageError(f"--offset {offset:#x}: no region begins there, but one at {identity.offset:#x}")
    return found


def _try(data: Bytes, offset: int, pointers: int = 2, *, guess: bool = True) -> Found | None:
    identity = identify(data, offset, pointers=pointers)
    if identity is None:
        return None
    meta = identity.structs.meta
    try:
        total_size = None if meta is None else int(struct_parse(meta, data, offset).total_size)
        return identity, derive_geometry(data, identity, total_size, guess=guess)
    except NotARegionError:
        return None


def first_region(places: Places, start: int) -> Found | None:
    """The first region from ``start`` on: at the surest place that holds one."""
    for number, (offset, pointers) in enumerate(places.behind(start)):
        found = _try(places.data, offset, pointers, guess=number < MAX_GUESSES)
        if found is None:
            continue
        in_front = _try(places.data, start, 3) if offset > start else None
        if in_front is not None and in_front[1].end <= offset:
            return in_front  # a region without any magic
        return _with_lost_cpus(places.data, start, *found)
    return None


def region_of_cpu(data: Bytes, header: int) -> Found | None:
    """The region without a magic whose first header of a CPU is at ``header``."""
    found = _try(data, header, 3, guess=False)
    return None if found is None else _with_lost_cpus(data, 0, *found)


def _with_lost_cpus(data: Bytes, start: int, identity: Identity, geometry: Geometry) -> Found:
    """Step back over CPUs in front whose headers, and with them the magic of an era B region, are damaged."""
    if identity.structs.meta is not None:
        return identity, geometry
    size, count = geometry.subbuf_size, geometry.nr_subbufs
    lead = geometry.chunks[0].data - geometry.chunks[0].header
    first = identity.offset
    while (offset := first - lead - size * count) >= start and (
        looks_like_header(data, identity, offset, size, count)
        or looks_like_subbufs(data, identity, offset + lead, size, count)
    ):
        first = offset
    if first == identity.offset:
        return identity, geometry
    identity = Identity(first, identity.structs, identity.cpus_offset, identity.by_magic)
    return identity, derive_geometry(data, identity)
