# SPDX-License-Identifier: Apache-2.0
"""A region as opened: what its headers say, repaired where that is certain, and what was wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.findings import Finding
from rbdump.ring.layout import Layout
from rbdump.ring.structs import RegionStructs, size_of
from rbdump.ring.subbufs import Subbufs

__all__ = ["CLOCKS", "CpuBuffer", "Region", "ScratchModule"]

CLOCKS = ("local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai")
"""Trace clocks by the number that the scratch stores (trace_clocks[] in kernel/trace/trace.c)."""


@dataclass(frozen=True, slots=True)
class ScratchModule:
    """A module that was loaded when the last boot was tracing."""

    name: str
    addr: int
    """Base address of its text."""


@dataclass(slots=True)
class CpuBuffer:
    """The ring buffer of one possible CPU."""

    cpu: int
    offset: int
    """Byte offset of its header in the input."""
    data_offset: int
    """Byte offset of sub-buffer 0 in the input."""
    reader: int | None
    """Index of the reader page's sub-buffer; None when `buffers[]` does not say."""
    head: int | None
    """Index of the head page's sub-buffer; None when the CPU was never online or the header is broken."""
    commit: int | None
    """Index of the commit page's sub-buffer; None as for `head`."""
    online: bool
    """False when the CPU never was online: head and commit were never set. No damage."""
    buffers: npt.NDArray[np.int64] | None
    """`buffers[]`, repaired: ring position -> sub-buffer; position 0 is the reader page. None when beyond repair."""
    meta_ok: bool
    """Header and `buffers[]` pass the kernel's own check at boot, the commit words aside."""
    subbufs: Subbufs
    nr_invalid: int | None = None
    """Sub-buffers that the panic-time corrupter of CONFIG_RING_BUFFER_PERSISTENT_INJECT broke on purpose."""

    def __len__(self) -> int:
        return len(self.subbufs)


@dataclass(slots=True)
class Region:
    """The dumped byte range of one persistent ring buffer."""

    data: npt.NDArray[np.uint8]
    """The whole input behind `lacking` zeros; every offset below counts from its first byte."""
    offset: int
    """Where the region begins."""
    size: int
    """Bytes up to the end of the last CPU's sub-buffers, or what the region says, whichever is more."""
    structs: RegionStructs
    subbuf_size: int
    nr_subbufs: int
    """Sub-buffers of each CPU, the reader page included."""
    cpus: tuple[CpuBuffer, ...]
    lacking: int = 0
    """Bytes of the region's beginning that the input lacks."""
    total_size: int | None = None
    """Size of the region as it says itself (era C)."""
    meta_ok: bool = True
    """The global header passes the kernel's own check (era C)."""
    clock_id: int | None = None
    """Number of the trace clock (C2)."""
    text_addr: int | None = None
    """Address in the last boot: of `_text` (C), of `rb_meta_init_text_addr` (B); None when not stored or 0."""
    data_addr: int | None = None
    """Address of `rb_data_ptr` in the last boot (B)."""
    kaslr_offset: int | None = None
    """The slide of the last boot itself (B')."""
    modules: tuple[ScratchModule, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    other_regions: tuple[int, ...] = ()
    """Offsets of further regions behind this one in the same input, the first 32."""

    @property
    def abi(self) -> Abi:
        """Byte order and word size of the machine."""
        return self.structs.abi

    @property
    def layout(self) -> Layout:
        """The layout; its `name` is what people call it."""
        return self.structs.layout

    @property
    def clock_name(self) -> str | None:
        """Name of the trace clock; None when the layout does not store it or the number is unknown."""
        if self.clock_id is None:
            return None
        # The ninth is the architecture's own: only x86 (always 4 KiB, little endian) and powerpc have one.
        arch = "x86-tsc" if self.abi.byteorder == "little" and self.subbuf_size == 4096 else "ppc-tb"
        names = (*CLOCKS, arch)
        return names[self.clock_id] if self.clock_id < len(names) else None

    @property
    def data_size(self) -> int:
        """Bytes of a sub-buffer that hold records."""
        return self.subbuf_size - size_of(self.structs.subbuf)
