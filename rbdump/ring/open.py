# SPDX-License-Identifier: Apache-2.0
"""Opens a region: reads its headers, checks them as the kernel does, and repairs what is certain.

Mirrors rb_meta_init(), rb_range_meta_init() and rb_cpu_meta_valid() of kernel/trace/ring_buffer.c. Addresses in the
headers are the last boot's; only their differences are used.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import numpy.typing as npt
from construct import Container

from rbdump.columns import distinct
from rbdump.errors import NotARegionError
from rbdump.findings import Finding, Severity, first_of
from rbdump.ring.bare import bare_region
from rbdump.ring.beginning import whole_region
from rbdump.ring.buffers import is_permutation, repair_buffers
from rbdump.ring.edges import say_edges
from rbdump.ring.find import first_region, region_at, regions_behind
from rbdump.ring.geometry import Chunk, Geometry, are_swaps_shifted, nr_subbufs_for
from rbdump.ring.identify import Identity
from rbdump.ring.layout import META_MAGIC
from rbdump.ring.region import CpuBuffer, Region, ScratchModule
from rbdump.ring.search import Places
from rbdump.ring.structs import size_of, struct_parse
from rbdump.ring.subbufs import SubbufState, parse_subbufs

__all__ = ["MAX_OTHER_REGIONS", "open_region"]

Bytes = npt.NDArray[np.uint8]

MAX_OTHER_REGIONS = 32
"""Further regions that are looked for; a kernel has a few, and a file made to be slow as many as fit."""
_MANY = 8  # values that a finding lists at most


def open_region(data: Bytes, *, offset: int | None = None) -> Region:
    """Open the region at ``offset`` of the input, or the first one that is found.

    NotARegionError when none is, UsageError when the input has no such offset, or a region at another one only.
    """
    places = Places(data)
    given = len(data)
    if offset is not None:
        found = region_at(places, offset) or bare_region(data, offset)
    else:
        data, found = whole_region(data, first_region(places, 0)) or (data, None)
    if found is None:
        where = "anywhere in the input" if offset is None else f"at offset {offset:#x}, nor anywhere else"
        raise NotARegionError(f"no persistent ring buffer {where}")
    region = _Opener(data, *found, lacking=len(data) - given).open()
    if offset is None:
        places = places if not region.lacking else Places(data)
        region.other_regions = tuple(islice(regions_behind(places, region.offset + region.size), MAX_OTHER_REGIONS))
        say_edges(region)
    return region


class _Opener:
    """Reads the headers of one region, collecting findings."""

    def __init__(self, data: Bytes, identity: Identity, geometry: Geometry, *, lacking: int) -> None:
        self.data = data
        self.lacking = lacking
        self.identity = identity
        self.geometry = geometry
        self.structs = identity.structs
        self.findings: list[Finding] = []

    def find(
        self,
        code: str,
        message: str,
        cpu: int | None = None,
        offset: int | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.findings.append(Finding(severity, code, message, cpu=cpu, offset=offset))

    def open(self) -> Region:
        geometry = self.geometry
        region = Region(
            data=self.data,
            offset=self.identity.offset,
            size=geometry.end - self.identity.offset,
            structs=self.structs,
            subbuf_size=geometry.subbuf_size,
            nr_subbufs=geometry.nr_subbufs,
            cpus=(),
            lacking=self.lacking,
            findings=self.findings,
        )
        if self.structs.meta is not None:
            self.read_meta(region)
            region.meta_ok = not self.findings
            self.read_scratch(region)
        if not any(chunk.plausible for chunk in geometry.chunks):
            words = "no header is left: sizes, CPUs and their order are inferred from the sub-buffers"
            self.find("headers-destroyed", words, offset=max(region.offset, self.lacking))
        headers = [struct_parse(self.structs.cpu_meta, self.data, chunk.header) for chunk in geometry.chunks]
        base = self.vote_base(headers)
        region.cpus = tuple(self.read_cpu(cpu, header, base) for cpu, header in enumerate(headers))
        if not self.structs.layout.has_scratch:
            self.read_addresses(region, headers)
        if geometry.end > len(self.data) or (region.total_size or 0) > len(self.data) - region.offset:
            missing = max(geometry.end, region.offset + (region.total_size or 0)) - len(self.data)
            self.find(
                "truncated",
                f"the input ends {missing} bytes before the region does; what is there is decoded",
                offset=len(self.data),
            )
        # of the zeros that were put in front nothing but that is said
        self.findings[:] = [item for item in self.findings if item.offset is None or item.offset >= self.lacking]
        return region

    def read_meta(self, region: Region) -> None:
        """The global header of era C (rb_meta_init)."""
        structs, offset = self.structs, region.offset
        assert structs.meta is not None
        meta = struct_parse(structs.meta, self.data, offset)
        if meta.magic != META_MAGIC:
            self.find("magic-mismatch", f"the region's magic is {meta.magic & 0xFFFFFFFF:#010x}", offset=offset)
        if meta.struct_sizes != structs.struct_size:
            self.find(
                "struct-size-mismatch", f"the sizes of the headers are given as {meta.struct_sizes:#x}", offset=offset
            )
        if meta.buffers_offset != self.identity.cpus_offset:
            self.find(
                "buffers-offset-mismatch",
                f"the first CPU is said to be at {meta.buffers_offset:#x} and is at {self.identity.cpus_offset:#x}",
                offset=offset,
            )
        total, count = int(meta.total_size), len(self.geometry.chunks)
        if nr_subbufs_for(self.identity, total, count, region.subbuf_size) == region.nr_subbufs:
            region.total_size = total
            region.size = max(region.size, total)
        elif total > len(self.data) - offset and total >= region.size and total - region.size <= total // 2 + 4096:
            region.total_size = total  # the input ends before the other CPUs do
        else:
            self.find(
                "total-size-mismatch",
                f"the region's size is given as {total:#x}, its CPUs take {region.size:#x}",
                offset=offset,
            )

    def read_scratch(self, region: Region) -> None:
        """Clock, text address and modules (struct trace_scratch)."""
        structs = self.structs
        assert structs.meta is not None
        assert structs.scratch is not None
        at = region.offset + size_of(structs.meta)
        scratch = struct_parse(structs.scratch, self.data, at)
        region.text_addr = int(scratch.text_addr) or None
        if "clock_id" in scratch:
            region.clock_id = int(scratch.clock_id)
            if region.clock_name is None:
                self.find(
                    "clock-unknown", f"the scratch names trace clock {region.clock_id}, which nobody knows", offset=at
                )
        entry_size = size_of(structs.mod_entry)
        at += size_of(structs.scratch)
        room = (region.offset + self.identity.cpus_offset - at) // entry_size
        count = int(scratch.nr_entries)
        if count > room:
            self.find("module-count", f"the scratch claims {count} modules and has room for {room}", offset=at)
            count = 0
        modules = []
        for index in range(count):
            entry = struct_parse(structs.mod_entry, self.data, at + index * entry_size)
            name = entry.mod_name.split(b"\0", 1)[0].decode("utf-8", "replace")
            modules.append(ScratchModule(name, int(entry.mod_addr)))
        region.modules = tuple(modules)

    def read_addresses(self, region: Region, headers: list[Container]) -> None:
        """Text and data address of eras A' and B, the slide of B': what most CPUs agree on."""
        for member, name in (("text_addr", "text_addr"), ("data_addr", "data_addr"), ("kaslr_addr", "kaslr_offset")):
            values = Counter(
                int(header[member])
                for header, chunk in zip(headers, self.geometry.chunks, strict=True)
                if member in header and chunk.plausible
            )
            if values:
                value = values.most_common(1)[0][0]
                setattr(region, name, value if value or name == "kaslr_offset" else None)
            if len(values) > 1:
                listed = first_of([f"{value:#x}" for value in sorted(values)], _MANY)
                self.find("address-mismatch", f"the CPUs do not agree in {member}: {listed}", severity=Severity.WARNING)

    def vote_base(self, headers: list[Container]) -> int | None:
        """Address of the region's start in the last boot: the one that makes most pointers of all CPUs land."""
        mask = self.structs.abi.long_mask
        votes: Counter[int] = Counter()
        for header, chunk in zip(headers, self.geometry.chunks, strict=True):
            if "first_buffer" in header and chunk.plausible and header.first_buffer:
                base = (header.first_buffer - (chunk.data - self.identity.offset)) & mask
                votes[base] += 4
                good = [
                    self.index(header[name], header.first_buffer) is not None
                    for name in ("head_buffer", "commit_buffer")
                ]
                votes[base] += sum(good)
        return max(votes, key=votes.__getitem__) if votes else None

    def index(self, addr: int, first: int) -> int | None:
        """Sub-buffer at address ``addr`` when sub-buffer 0 is at ``first``; None when there is none."""
        index, rest = divmod((addr - first) & self.structs.abi.long_mask, self.geometry.subbuf_size)
        return index if not rest and index < self.geometry.nr_subbufs else None

    def read_cpu(self, cpu: int, header: Container, base: int | None) -> CpuBuffer:
        """One CPU's header, `buffers[]` and the headers of its sub-buffers (rb_cpu_meta_valid)."""
        geometry, structs, chunk = self.geometry, self.structs, self.geometry.chunks[cpu]
        count, at = geometry.nr_subbufs, chunk.header
        before = len(self.findings)
        if structs.layout.cpu_magic and (header.magic != META_MAGIC or header.struct_size != structs.struct_size):
            self.find(
                "magic-mismatch",
                f"magic {header.magic & 0xFFFFFFFF:#010x}, size of the header {header.struct_size:#x}",
                cpu,
                at,
            )
        others = "the others" if len(geometry.chunks) > 1 else "and it is"
        if header.subbuf_size != geometry.subbuf_size:
            self.find("subbuf-size-mismatch", f"says {header.subbuf_size}, {others} {geometry.subbuf_size}", cpu, at)
        if header.nr_subbufs != count:
            self.find("nr-subbufs-mismatch", f"says {header.nr_subbufs}, {others} {count}", cpu, at)

        subbufs = parse_subbufs(
            self.data, chunk.data, count, geometry.subbuf_size, size_of(structs.subbuf), structs.abi
        )
        subbufs.state[subbufs.offset < self.lacking] = SubbufState.MISSING
        online = bool(header.head_buffer or header.commit_buffer) or not chunk.plausible
        first = self.first_buffer(cpu, header, base, subbufs.time_stamp)
        head = commit = None
        if online:
            head, commit = self.index(header.head_buffer, first), self.index(header.commit_buffer, first)
            for name, index in (("head", head), ("commit", commit)):
                if index is None:
                    addr = header[f"{name}_buffer"]
                    self.find(
                        f"{name}-out-of-range",
                        f"the {name} page is said to be at {addr:#x}, first is {first:#x}",
                        cpu,
                        at,
                    )
        buffers = self.read_buffers(cpu, chunk, subbufs.time_stamp, head, commit)
        meta_ok = len(self.findings) == before
        return CpuBuffer(
            cpu=cpu,
            offset=at,
            data_offset=chunk.data,
            reader=None if buffers is None else int(buffers[0]),
            head=head,
            commit=commit,
            online=online,
            buffers=buffers,
            meta_ok=meta_ok,
            subbufs=subbufs,
            nr_invalid=int(header.nr_invalid) if "nr_invalid" in header else None,
        )

    def first_buffer(self, cpu: int, header: Container, base: int | None, stamps: npt.NDArray[np.uint64]) -> int:
        """Address of sub-buffer 0; era A0 does not store it, there the commit page is the newest one."""
        geometry, chunk = self.geometry, self.geometry.chunks[cpu]
        if "first_buffer" not in header:
            return int(header.commit_buffer) - int(np.argmax(stamps)) * geometry.subbuf_size
        first = int(header.first_buffer)
        if base is None:
            return first
        expected = (base + chunk.data - self.identity.offset) & self.structs.abi.long_mask
        if first != expected:
            self.find(
                "first-buffer-mismatch",
                f"first_buffer is {first:#x}, the other CPUs make it {expected:#x}",
                cpu,
                chunk.header,
            )
        return expected

    def read_buffers(
        self, cpu: int, chunk: Chunk, stamps: npt.NDArray[np.uint64], head: int | None, commit: int | None
    ) -> npt.NDArray[np.int64] | None:
        """`buffers[]`, repaired; None when it is beyond repair."""
        at, count = chunk.header + size_of(self.structs.cpu_meta), self.geometry.nr_subbufs
        stored = np.zeros(4 * count, np.uint8)
        there = self.data[at : at + 4 * count]
        stored[: len(there)] = there
        raw = stored.view(self.structs.abi.dtype(4, signed=True)).astype(np.int64)
        if is_permutation(raw):
            return raw
        outside = np.flatnonzero((raw < 0) | (raw >= count))
        if len(outside):
            position = int(outside[0])
            self.find(
                "buffers-out-of-range",
                f"buffers[{position}] is {raw[position]}, {len(outside)} of {count} entries name no sub-buffer",
                cpu,
                at + 4 * position,
            )
        repeated = count - len(distinct(raw))
        if repeated:
            self.find("buffers-duplicate", f"{repeated} entries of buffers[] repeat another one", cpu, at)
        shifted = are_swaps_shifted(self.identity, chunk.header, self.geometry.subbuf_size, count)
        repaired = repair_buffers(raw, stamps, head, commit, shifted=shifted)
        if repaired is None:
            self.find(
                "buffers-unusable", "buffers[] cannot be repaired: sub-buffers are ordered by time stamp", cpu, at
            )
        else:
            changed = int(np.count_nonzero(repaired != raw))
            by_kernel = shifted and ((raw - repaired)[repaired != raw] == 1).all()
            self.find(
                "buffers-repaired",
                f"{changed} entries of buffers[] were corrected"
                + (" (kernels before 7.3 write some that are one too large)" if by_kernel else ""),
                cpu,
                at,
                Severity.INFO,
            )
        return repaired
