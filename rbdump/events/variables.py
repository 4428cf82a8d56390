# SPDX-License-Identifier: Apache-2.0
"""Run-time values of the dead kernel that print fmts need, inferred from the events themselves.

`mm_page_alloc` and its like record a page frame number and print the address of its struct page, which depends on a
base that the kernel chooses at boot (vmemmap_base on x86, vmemmap on s390, memstart_addr on arm64, mem_map on
32-bit, where a struct page has 32, 36 or 40 bytes). Events that record both tell the base and the size. Timers
record jiffies beside the time stamp, which tells CONFIG_HZ, and jiffies when the trace ended.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.events.entries import Entries
from rbdump.events.format import EventFormat
from rbdump.events.rows import Memory

__all__ = ["JIFFIES", "PAGE_BASE", "PAGE_SIZE", "infer_variables"]

PAGE_BASE = "the struct page of frame 0"
PAGE_SIZE = "sizeof(struct page)"
JIFFIES = "jiffies"
"""When the last event was recorded; a kernel prints with those of the time when it is asked."""

_ROWS = 4096
_AGREE = 0.75
"""Share of the pairs of page and frame that must give the same base; the others may be damaged."""
_HZ = (24, 48, 100, 128, 200, 250, 256, 300, 500, 512, 1000, 1024, 1200)
_MIN_SECONDS = 0.25

Formats = Callable[[int], EventFormat | None]


def infer_variables(entries: Entries, memory: Memory, formats: Formats, *, in_ns: bool = True) -> dict[str, int]:
    """What `Facts.variables` should hold, by name; ``HZ`` among them when timers tell it. Empty when nothing does."""
    counts = entries.counts()
    ids = np.flatnonzero(counts)
    found: dict[str, int] = {}
    for event_id in ids[np.argsort(-counts[ids], kind="stable")].tolist():
        fmt = formats(event_id)
        if fmt is None:
            continue
        if PAGE_BASE not in found:
            found |= _page_base(fmt, entries, memory)
        if in_ns and fmt.name == "timer_expire_entry":
            found |= _jiffies(fmt, entries, memory)
    return found


def _page_base(fmt: EventFormat, entries: Entries, memory: Memory) -> dict[str, int]:
    """Base and element size of the array of struct page, from an event that records a page and its frame number."""
    fields = {f.name: f for f in fmt.fields}
    page, pfn = fields.get("folio") or fields.get("page"), fields.get("pfn")
    long_size = memory.abi.long_size
    if page is None or pfn is None or page.size != long_size or pfn.size != long_size or "*" not in page.type:
        return {}
    rows = _rows(fmt, entries, max(page.offset, pfn.offset) + long_size)[-_ROWS:]
    of = entries.rows(memory, rows)
    addrs = of.integers(page.offset, long_size, signed=False).astype(np.uint64)
    frames = of.integers(pfn.offset, long_size, signed=False).astype(np.uint64)
    valid = (addrs != 0) & (frames < np.uint64(1 << 52))
    pairs, _ = np.unique(np.stack([addrs[valid], frames[valid]]), axis=1, return_counts=True)
    addrs, frames = pairs
    if len(distinct(frames)) < 2:
        return {}
    default = 64 if long_size == 8 else 32
    for size in (default, *(s for s in range(32, 129, long_size) if s != default)):
        bases, counts = np.unique(addrs - frames * np.uint64(size), return_counts=True)
        if counts.max() >= _AGREE * len(addrs):
            base = int(bases[counts.argmax()]) & memory.abi.long_mask
            return {PAGE_BASE: base, PAGE_SIZE: size}
    return {}


def _jiffies(fmt: EventFormat, entries: Entries, memory: Memory) -> dict[str, int]:
    """Jiffies in a second, and jiffies at the last event: ``now`` of timers against the time stamp in nanoseconds."""
    now = next((f for f in fmt.fields if f.name == "now"), None)
    if now is None or now.size != memory.abi.long_size:
        return {}
    rows = _rows(fmt, entries, now.offset + now.size)
    if len(rows) < 2:
        return {}
    jiffies = entries.rows(memory, rows[[0, -1]]).integers(now.offset, now.size, signed=False)
    stamps = entries.records.ts
    seconds = (int(stamps[rows[-1]]) - int(stamps[rows[0]])) / 1e9
    if seconds < _MIN_SECONDS:
        return {}
    rate = ((int(jiffies[1]) - int(jiffies[0])) & memory.abi.long_mask) / seconds
    hz = min(_HZ, key=lambda hz: abs(hz - rate))
    # one jiffy at either end, and the next candidate is at least 2.4 % away
    if abs(hz - rate) > 0.01 * hz + 2 / seconds:
        return {}
    since = int(stamps[-1]) - int(stamps[rows[-1]])  # the last boot comes last
    return {"HZ": hz, JIFFIES: (int(jiffies[1]) + max(since, 0) * hz // 10**9) & memory.abi.long_mask}


def _rows(fmt: EventFormat, entries: Entries, least: int) -> npt.NDArray[np.intp]:
    """The records of an event in the last boot that have at least that many bytes."""
    rows = np.flatnonzero(entries.id == fmt.id)
    keep: npt.NDArray[np.bool_] = (entries.records.length[rows] >= least) & (entries.records.epoch[rows] == 0)
    return rows[keep]
