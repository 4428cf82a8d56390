# SPDX-License-Identifier: Apache-2.0
"""What lies in front of a region and behind it: CPUs whose headers are lost, where nothing tells how many there were.

Only eras A and B leave that open; a global header tells the region's size.
"""

from __future__ import annotations

from rbdump.findings import Finding, Severity
from rbdump.ring.evidence import looks_like_subbufs
from rbdump.ring.geometry import Geometry
from rbdump.ring.identify import Identity
from rbdump.ring.region import Region

__all__ = ["say_edges"]


def say_edges(region: Region, identity: Identity, geometry: Geometry) -> None:
    """Add findings of sub-buffers in front of a region that was searched for, and of bytes behind it."""
    if region.structs.meta is None:
        _say_in_front(region, identity, geometry)
        _say_behind(region)


def _say_in_front(region: Region, identity: Identity, geometry: Geometry) -> None:
    """The input begins inside a CPU: its header is cut off, and those of CPUs in front of it with all they had."""
    size, count = region.subbuf_size, region.nr_subbufs
    whole = min(region.offset // size, count)
    begin = region.offset - whole * size
    if not whole or not looks_like_subbufs(region.data, identity, begin, size, whole):
        return
    first = geometry.chunks[0]
    missing = first.data - first.header + size * count - region.offset
    message = (
        f"{whole} sub-buffers of a CPU lie in front of the first header and are not shown, and the numbers of CPUs "
        f"are too low: the input lacks its beginning; put {missing} bytes of zeros there if no more is left of it"
    )
    region.findings.append(Finding(Severity.ERROR, "beginning-cut-off", message, offset=begin))


def _say_behind(region: Region) -> None:
    begin = region.offset + region.size
    end = begin + region.subbuf_size * region.nr_subbufs
    room = min([len(region.data), *region.other_regions])
    if end <= room and region.data[begin:end].any():
        message = f"{room - begin} bytes lie behind the region, without the header of a further CPU"
        region.findings.append(Finding(Severity.INFO, "bytes-behind", message, offset=begin))
