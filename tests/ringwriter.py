# SPDX-License-Identifier: Apache-2.0
"""Writes persistent ring buffers for tests: every layout, byte order, word size and sub-buffer size.

    region = write_region([[(100, payload), (250, payload)], None, []], layout="B", subbuf_size=4096)

Each CPU is a list of items in the order of their time stamps, or None for a CPU that never came online. An item is
``(ts, payload)``, or one of the small classes below, which stand for what a kernel does besides writing events.
The writer behaves as the kernel's: it fills sub-buffers, goes around the ring over the oldest ones, and leaves old
bytes behind what it commits. It shares no code with the package, so that each checks the other.

`RegionWriter` gives in addition the offsets of everything, to break it on purpose.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MAGIC = 0x0BADFEED
CPU_HEADERS = {  # words: m magic, s size of the header, l long by name, i u32 by name
    "A0": "head commit subbuf_size nr_subbufs",
    "A": "first head commit subbuf_size nr_subbufs",
    "A'": "text data first head commit subbuf_size nr_subbufs",
    "B": "magic header_size text data first head commit subbuf_size nr_subbufs",
    "B'": "magic header_size slide first head commit subbuf_size nr_subbufs",
    "C1": "first head commit subbuf_size nr_subbufs",
    "C2": "first head commit subbuf_size nr_subbufs",
    "C2-inject": "first head commit subbuf_size nr_subbufs nr_invalid entry_bytes",
}
INTS = {"magic", "header_size", "subbuf_size", "nr_subbufs", "nr_invalid", "entry_bytes"}
SCRATCH_MODULES = 128


@dataclass(frozen=True)
class Discarded:
    """An event that was discarded after it had been written."""

    ts: int
    payload: bytes


@dataclass(frozen=True)
class Stamped:
    """An event with an absolute time stamp in front, as a nested writer leaves it."""

    ts: int
    payload: bytes


@dataclass(frozen=True)
class Consume:
    """A reader takes so many sub-buffers; ``kernel`` says what it does to those it has read."""

    subbufs: int
    kernel: Literal["6.12", "6.17", "7.2"] = "6.12"


@dataclass(frozen=True)
class Reset:
    """The buffer is cleared (before 7.2: time stamps and bytes stay)."""


@dataclass(frozen=True)
class Reboot:
    """The next boot adopts the buffer and goes on: the commit page is written again from its start."""


@dataclass(frozen=True)
class Missed:
    """Marks the sub-buffer that is being written: events were lost before it (None: no number is stored)."""

    count: int | None = None


Item = tuple[int, bytes] | Discarded | Stamped | Consume | Reset | Reboot | Missed


@dataclass
class _Subbuf:
    ts: int = 0
    commit: int = 0
    data: bytearray = field(default_factory=bytearray)
    missed: bool = False
    missed_count: int | None = None
    events: list[tuple[int, bytes]] = field(default_factory=list)
    """What a reader of the kernel would find in it."""


class _Cpu:
    """One CPU's ring, driven by items."""

    def __init__(self, writer: RegionWriter, count: int, *, shift: int) -> None:
        self.writer = writer
        self.shift = shift
        """What a reader's swap adds to the entries of `buffers[]` that it writes."""
        capacity = writer.capacity
        self.subbufs = [_Subbuf(data=bytearray(capacity)) for _ in range(count)]
        self.buffers = list(range(count))
        self.stored = list(range(count))
        self.head = self.tail = 1
        """Ring positions; tail 0 is the reader page."""
        self.last = 0
        self.early = 0
        """Time of discarded records, and by which the clock went back, that the kernel's readers forget in this
        sub-buffer."""

    def run(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Consume):
                for _ in range(item.subbufs):
                    self.swap(item.kernel)
            elif isinstance(item, Reset):
                for subbuf in self.subbufs:
                    subbuf.commit = 0
                self.tail = self.head
            elif isinstance(item, Reboot):
                self.subbufs[self.buffers[self.tail]].commit = 0
            elif isinstance(item, Missed):
                page = self.subbufs[self.buffers[self.tail]]
                page.missed, page.missed_count = True, item.count
            elif isinstance(item, tuple):
                self.write(item[0], item[1], "event")
            else:
                self.write(item.ts, item.payload, "discarded" if isinstance(item, Discarded) else "stamped")

    def swap(self, kernel: str) -> None:
        """The reader page changes places with the head page."""
        if self.tail == 0:
            return
        old = self.buffers[0]
        if kernel != "6.17":
            self.subbufs[old].commit = 0
        if kernel == "7.2":
            self.subbufs[old].ts = 0
        self.buffers[0], self.buffers[self.head] = self.buffers[self.head], old
        self.stored[0], self.stored[self.head] = self.buffers[0] + self.shift, old + self.shift
        if self.tail == self.head:
            self.tail = 0
        self.head = self.after(self.head)

    def after(self, position: int) -> int:
        return position + 1 if position + 1 < len(self.buffers) else 1

    def write(self, ts: int, payload: bytes, kind: str) -> None:
        page = self.subbufs[self.buffers[self.tail]]
        if page.commit == 0:
            page.ts, self.last = ts, ts
            page.events, self.early = [], 0
        record = self.record(ts - self.last, ts, payload, kind)
        if page.commit + len(record) > len(page.data):
            self.close(page)
            if self.tail == 0:
                self.tail = self.head  # a reader has taken all: the writer goes on in the head page
            else:
                self.tail = self.after(self.tail)
                if self.tail == self.head:
                    self.head = self.after(self.head)
            page = self.subbufs[self.buffers[self.tail]]
            page.ts, page.commit, page.missed, self.last = ts, 0, False, ts
            page.events, self.early = [], 0
            record = self.record(0, ts, payload, kind)
        page.data[page.commit : page.commit + len(record)] = record
        page.commit += len(record)
        if kind == "discarded":
            self.early += ts - self.last if ts - self.last < 1 << 27 else 0
        else:
            self.early = 0 if kind == "stamped" else self.early + min(ts - self.last, 0)
            page.events.append((ts - self.early, payload))
        self.last = ts

    def close(self, page: _Subbuf) -> None:
        rest = len(page.data) - page.commit
        if rest >= 8:
            page.data[page.commit : page.commit + 8] = self.word(29, 1) + self.u32(rest - 4)
            page.commit = len(page.data)
        elif rest:
            page.data[page.commit :] = self.word(29, 0)

    def word(self, type_len: int, delta: int) -> bytes:
        value = delta << 5 | type_len if self.writer.endian == "<" else type_len << 27 | delta
        return self.u32(value)

    def u32(self, value: int) -> bytes:
        return struct.pack(self.writer.endian + "I", value & 0xFFFFFFFF)

    def record(self, delta: int, ts: int, payload: bytes, kind: str) -> bytes:
        prefix = b""
        if kind == "stamped":
            stamp = ts & ((1 << 59) - 1)
            prefix, delta = self.word(31, stamp & 0x7FFFFFF) + self.u32(stamp >> 27), 0
        elif delta >= 1 << 27:
            prefix, delta = self.word(30, delta & 0x7FFFFFF) + self.u32(delta >> 27), 0
        elif delta < 0:  # the clock went backwards
            prefix, delta = self.word(30, 0) + self.u32(0), 0
        align = 8 if self.writer.force_8byte else 4
        length = -(-max(len(payload), 4) // 4) * 4
        large = length > 112 or self.writer.force_8byte
        total = -(-(length + 4 + 4 * large) // align) * align
        if total == 12:
            total = 16
        body = payload.ljust(total - 4 - 4 * large, b"\0")
        if kind == "discarded":
            return prefix + self.word(29, delta or 1) + self.u32(total - 4) + body[0 if large else 4 :]
        if large:
            return prefix + self.word(0, delta) + self.u32(total - 4) + body
        return prefix + self.word(len(body) // 4, delta) + body


class RegionWriter:
    """A region and the offsets of its parts.

    ``layout`` is a name as rbdump gives it; ``map_addr`` the address of the region's first byte in the last boot;
    ``modules`` stand in the scratch; ``force_8byte`` writes records as machines without unaligned access do;
    ``swap_bug`` makes readers' swaps write entries of `buffers[]` that are one too large, where kernels did; ``slack``
    unused bytes follow the last CPU.
    """

    def __init__(
        self,
        cpus: Sequence[Sequence[Item] | None],
        *,
        layout: str = "C2",
        byteorder: Literal["little", "big"] = "little",
        long_size: Literal[4, 8] = 8,
        subbuf_size: int = 4096,
        nr_subbufs: int = 8,
        map_addr: int | None = None,
        text_addr: int = 0x81000000,
        data_addr: int = 0x82000000,
        clock_id: int = 0,
        modules: Sequence[tuple[str, int]] = (),
        force_8byte: bool = False,
        swap_bug: bool = False,
        slack: int = 0,
    ) -> None:
        self.layout, self.long_size, self.subbuf_size, self.nr_subbufs = layout, long_size, subbuf_size, nr_subbufs
        self.endian = "<" if byteorder == "little" else ">"
        self.force_8byte = force_8byte
        self.header_size = 8 + long_size
        self.capacity = subbuf_size - self.header_size
        self.map_addr = map_addr if map_addr is not None else (0xFF11000010000000 if long_size == 8 else 0xE0800000)
        self.values = {"text": text_addr, "data": data_addr, "slide": 0x5000000, "nr_invalid": 0, "entry_bytes": 0}
        names = CPU_HEADERS[layout].split()
        self.cpu_header_size = sum(4 if name in INTS else long_size for name in names)
        self.clock_id, self.modules, self.text_addr = clock_id, modules, text_addr
        position = self.buffers_offset = self._buffers_offset()
        self.cpu_offsets: list[int] = []
        self.data_offsets: list[int] = []
        for _ in cpus:
            self.cpu_offsets.append(position)
            at = -(-(position + self.cpu_header_size + 4 * nr_subbufs) // subbuf_size) * subbuf_size
            self.data_offsets.append(at)
            position = at + nr_subbufs * subbuf_size
        self.size = position + slack
        self.rings: list[_Cpu] = []
        self.data = bytearray(self.size)
        if layout.startswith("C"):
            self._write_global_header()
        for cpu, items in enumerate(cpus):
            behind = self.cpu_offsets[cpu] + 4 * nr_subbufs
            pages = [-(-at // subbuf_size) for at in (behind, behind + self.cpu_header_size)]
            ring = _Cpu(self, nr_subbufs, shift=pages[1] - pages[0] if swap_bug else 0)
            ring.run(items or ())
            self.rings.append(ring)
            self._write_cpu(cpu, ring, online=items is not None)

    def subbuf_offset(self, cpu: int, index: int) -> int:
        """Offset of the header of a sub-buffer, by its index in memory."""
        return self.data_offsets[cpu] + index * self.subbuf_size

    def header_field(self, cpu: int, name: str) -> tuple[int, int]:
        """(offset, size) of a word of a CPU's header: first, head, commit, subbuf_size, nr_subbufs, magic, ..."""
        offset = self.cpu_offsets[cpu]
        for member in CPU_HEADERS[self.layout].split():
            size = 4 if member in INTS else self.long_size
            if member == name:
                return offset, size
            offset += size
        raise KeyError(name)

    def poke(self, offset: int, size: int, value: int) -> None:
        """Overwrite an integer of the region."""
        order: Literal["little", "big"] = "little" if self.endian == "<" else "big"
        self.data[offset : offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)

    def poke_commit(self, cpu: int, index: int, value: int) -> None:
        """Overwrite the commit word of a sub-buffer."""
        self.poke(self.subbuf_offset(cpu, index) + 8, self.long_size, value)

    def order(self, cpu: int) -> list[int]:
        """Sub-buffers with committed bytes in the kernel's order: the reader page, then head to commit."""
        ring = self.rings[cpu]
        order, position = [ring.buffers[0]], ring.head
        while ring.tail:
            order.append(ring.buffers[position])
            if position == ring.tail:
                break
            position = ring.after(position)
        return [index for index in order if ring.subbufs[index].commit]

    def events(self, cpu: int) -> list[tuple[int, bytes]]:
        """What the kernel that wrote the region would read of one CPU: (time stamp, payload)."""
        return [event for index in self.order(cpu) for event in self.rings[cpu].subbufs[index].events]

    def region(self) -> bytes:
        """The bytes of the region."""
        return bytes(self.data)

    def _long(self, value: int) -> bytes:
        return struct.pack(self.endian + ("Q" if self.long_size == 8 else "I"), value & ((1 << 8 * self.long_size) - 1))

    def _int(self, value: int) -> bytes:
        return struct.pack(self.endian + "I", value & 0xFFFFFFFF)

    def _buffers_offset(self) -> int:
        if not self.layout.startswith("C"):
            return 0
        scratch = (2 if self.layout == "C1" else 3) * self.long_size
        return 8 + 2 * self.long_size + scratch + SCRATCH_MODULES * 64

    def _write_global_header(self) -> None:
        meta_size = 8 + 2 * self.long_size
        header = self._int(MAGIC) + self._int(self.cpu_header_size | meta_size << 16)
        header += self._long(self.size) + self._long(self.buffers_offset)
        if self.layout != "C1":
            header += self._int(self.clock_id) + bytes(self.long_size - 4)
        header += self._long(self.text_addr) + self._long(len(self.modules))
        for name, addr in self.modules:
            header += self._long(addr) + name.encode().ljust(64 - self.long_size, b"\0")
        self.data[: len(header)] = header

    def _write_cpu(self, cpu: int, ring: _Cpu, *, online: bool) -> None:
        first = self.map_addr + self.data_offsets[cpu]
        values = dict(self.values)
        values |= {"magic": MAGIC, "header_size": self.cpu_header_size, "first": first}
        values |= {"subbuf_size": self.subbuf_size, "nr_subbufs": self.nr_subbufs}
        values["head"] = first + ring.buffers[ring.head] * self.subbuf_size if online else 0
        values["commit"] = first + ring.buffers[ring.tail] * self.subbuf_size if online else 0
        header = b"".join(
            self._int(values[name]) if name in INTS else self._long(values[name])
            for name in CPU_HEADERS[self.layout].split()
        )
        header += b"".join(self._int(entry) for entry in ring.stored)
        self.data[self.cpu_offsets[cpu] : self.cpu_offsets[cpu] + len(header)] = header
        for index, page in enumerate(ring.subbufs):
            commit = page.commit
            data = bytes(page.data)
            if page.missed:
                commit |= ~0x7FFFFFFF  # bit 31, sign-extended
                if page.missed_count is not None:
                    commit |= 1 << 30
                    count = self._long(page.missed_count)
                    data = data[: page.commit] + count + data[page.commit + len(count) :]
            subbuf = struct.pack(self.endian + "Q", page.ts) + self._long(commit) + data
            at = self.subbuf_offset(cpu, index)
            self.data[at : at + self.subbuf_size] = subbuf


def write_region(cpus: Sequence[Sequence[Item] | None], **options: Any) -> bytes:
    """The bytes of a region; the arguments are those of `RegionWriter`."""
    return RegionWriter(cpus, **options).region()
