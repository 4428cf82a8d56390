# SPDX-License-Identifier: Apache-2.0
"""What an input lacks of a region's beginning, and what lies behind a region that does not tell its size."""

from __future__ import annotations

from rbdump.findings import Finding, Severity
from rbdump.ring.region import Region

__all__ = ["say_edges"]


def say_edges(region: Region) -> None:
    """Add findings of a beginning that the input lacks, and of bytes behind."""
    if region.lacking:
        message = (
            f"the input begins inside of the region: for the {region.lacking} bytes that it lacks zeros were put in "
            "front, offsets count from the first of them, and more CPUs may be missing"
        )
        region.findings.append(Finding(Severity.ERROR, "beginning-cut-off", message, offset=region.lacking))
    if region.structs.meta is None:
        _say_behind(region)


def _say_behind(region: Region) -> None:
    begin = region.offset + region.size
    end = begin + region.subbuf_size * region.nr_subbufs
    room = min([len(region.data), *region.other_regions])
    if end <= room and region.data[begin:end].any():
        message = f"{room - begin} bytes lie behind the region, without the header of a further CPU"
        region.findings.append(Finding(Severity.INFO, "bytes-behind", message, offset=begin))
