# SPDX-License-Identifier: Apache-2.0
"""Structures at the start of a region, of a CPU's memory and of a sub-buffer, declared once for every word size.

Source of the format: kernel/trace/ring_buffer.c (ring_buffer_meta, ring_buffer_cpu_meta, buffer_data_page) and
kernel/trace/trace.c, trace.h (trace_scratch, trace_mod_entry). The declarations keep the kernel's order of members
and its alignment rule: a member is aligned to its own size, a structure to its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from construct import (
    Bytes,
    BytesInteger,
    Construct,
    ConstructError,
    Container,
    Int32sb,
    Int32sl,
    Int32ub,
    Int32ul,
    Struct,
)

from rbdump.abi import Abi
from rbdump.errors import NotARegionError
from rbdump.ring.layout import SCRATCH_MODULES, Layout

__all__ = ["RegionStructs", "member_offset", "region_structs", "size_of", "struct_parse"]


@dataclass(frozen=True, slots=True)
class RegionStructs:
    """The declarations of one layout, built for one (byte order, word size) pair."""

    abi: Abi
    layout: Layout
    meta: Construct | None
    """struct ring_buffer_meta at the start of the region (era C); None before it existed."""
    scratch: Construct | None
    """Fixed part of struct trace_scratch (era C)."""
    mod_entry: Construct
    """struct trace_mod_entry: 64 bytes on every machine."""
    cpu_meta: Construct
    """Fixed part of each CPU's header, up to ``buffers[]``."""
    subbuf: Construct
    """Fixed part of struct buffer_data_page, up to ``data[]``."""

    def __reduce__(self) -> tuple[Callable[[Abi, Layout], RegionStructs], tuple[Abi, Layout]]:
        return region_structs, (self.abi, self.layout)

    @property
    def struct_size(self) -> int:
        """What the second word of the region says: the size of its header, or of both headers (era C)."""
        if self.meta is None:
            return size_of(self.cpu_meta)
        return size_of(self.cpu_meta) | size_of(self.meta) << 16

    @property
    def buffers_offset(self) -> int:
        """Offset of the first CPU's header in the region, as the kernel of this layout computes it."""
        if self.meta is None or self.scratch is None:
            return 0
        return size_of(self.meta) + size_of(self.scratch) + SCRATCH_MODULES * size_of(self.mod_entry)


@cache
def region_structs(abi: Abi, layout: Layout) -> RegionStructs:
    """The declarations of ``layout`` on a machine of this ``abi``."""
    little = abi.byteorder == "little"
    long = BytesInteger(abi.long_size, swapped=little)
    int32 = Int32sl if little else Int32sb
    u32 = Int32ul if little else Int32ub
    u64 = BytesInteger(8, swapped=little)
    pad_to_long = Bytes(abi.long_size - 4)  # a long that follows one int

    pages = ("subbuf_size" / u32, "nr_subbufs" / u32)
    pointers = ("first_buffer" / long, "head_buffer" / long, "commit_buffer" / long)
    magic = ("magic" / int32, "struct_size" / u32)
    cpu_meta = {
        # March 2024, before and after first_buffer was added; April to June 2024 with addresses.
        "A0": Struct(*pointers[1:], *pages),
        "A": Struct(*pointers, *pages),
        "A'": Struct("text_addr" / long, "data_addr" / long, *pointers, *pages),
        # Linux 6.12; 6.14.9 replaced the two addresses by the slide (bcba8d4dbe68, backported alone).
        "B": Struct(*magic, "text_addr" / long, "data_addr" / long, *pointers, *pages),
        "B'": Struct(*magic, "kaslr_addr" / long, *pointers, *pages),
        # Linux 6.15 moved the magic into a global header.
        "C1": Struct(*pointers, *pages),
        "C2": Struct(*pointers, *pages),
        # CONFIG_RING_BUFFER_PERSISTENT_INJECT.
        "C2-inject": Struct(*pointers, *pages, "nr_invalid" / u32, "entry_bytes" / u32),
    }[layout.name]

    scratch = None
    if layout.name == "C1":
        scratch = Struct("text_addr" / long, "nr_entries" / long)
    elif layout.has_scratch:
        scratch = Struct("clock_id" / u32, "_pad" / pad_to_long, "text_addr" / long, "nr_entries" / long)

    return RegionStructs(
        abi=abi,
        layout=layout,
        meta=Struct("magic" / int32, "struct_sizes" / u32, "total_size" / long, "buffers_offset" / long)
        if layout.has_scratch
        else None,
        scratch=scratch,
        mod_entry=Struct("mod_addr" / long, "mod_name" / Bytes(64 - abi.long_size)),
        cpu_meta=cpu_meta,
        subbuf=Struct("time_stamp" / u64, "commit" / long),
    )


@cache  # construct adds it up anew each time, and a search asks for each place that may be a header
def size_of(struct: Construct) -> int:
    """Bytes of a structure of fixed size."""
    return int(struct.sizeof())


@cache
def member_offset(struct: Construct, name: str) -> int:
    """Offset of the member ``name`` of a structure of fixed size."""
    offset = 0
    for member in struct.subcons:
        if member.name == name:
            return offset
        offset += int(member.sizeof())
    raise KeyError(name)


def struct_parse(struct: Construct, data: npt.NDArray[np.uint8], offset: int) -> Container:
    """Parse ``struct`` at ``offset`` of the input; NotARegionError when the input ends before it."""
    try:
        return struct.parse(data[max(offset, 0) : offset + size_of(struct)].tobytes())
    except ConstructError as error:
        raise NotARegionError(f"the input ends inside a header at offset {offset:#x}; is it cut short?") from error
