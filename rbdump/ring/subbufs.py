# SPDX-License-Identifier: Apache-2.0
"""The sub-buffers of one CPU as parallel columns: what their headers say and what became of them.

Mirrors struct buffer_data_page and the bits of its commit word (kernel/trace/ring_buffer.c): bits 0 to 29 count the
committed bytes, bit 31 says that events were lost before this sub-buffer, bit 30 that their number is stored behind
the data; a flagged word is sign-extended on 64-bit machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi

__all__ = ["SubbufState", "Subbufs", "parse_subbufs"]

RB_MISSED_EVENTS = 1 << 31
RB_MISSED_STORED = 1 << 30
RB_MISSED_MASK = 3 << 30
_MOST_MISSED = 1 << 40
"""A larger number of lost events is damage."""


class SubbufState(IntEnum):
    """What became of a sub-buffer."""

    EMPTY = 0
    """Holds nothing: never written, or cleared, or its whole content overwritten by zeros."""
    READER = 1
    """The reader page, with events."""
    RING = 2
    """Between head page and commit page, with events."""
    CONSUMED = 3
    """Taken by a reader before the machine died, and still readable."""
    DISCARDED = 4
    """Thrown away by the validation of a later boot: its time stamp is made up, its data may be intact."""
    STRAY = 5
    """Holds events but is not in the kernel's order: damage hides it from the kernel."""
    INVALID = 6
    """Should hold events, and none can be decoded."""
    STALE = 7
    """Cleared or consumed; old data is left, with no time stamp or no certain end: not shown."""
    MISSING = 8
    """Behind the end of a truncated input."""
    REJECTED = 9
    """Holds events that the kernel's validation would refuse (strict)."""


@dataclass(slots=True)
class Subbufs:
    """One item for each sub-buffer of a CPU in memory order (index 0 .. nr_subbufs-1).

    The columns from ``state`` on are filled by the walk.
    """

    offset: npt.NDArray[np.int64]
    """Byte offset of the sub-buffer's header in the input."""
    time_stamp: npt.NDArray[np.uint64]
    """Absolute time of the first record, in units of the trace clock."""
    commit: npt.NDArray[np.uint64]
    """The commit word as stored."""
    size: npt.NDArray[np.int64]
    """Committed bytes: the commit word without its flags. May be wild."""
    missed: npt.NDArray[np.bool_]
    """Events were lost before this sub-buffer."""
    missed_count: npt.NDArray[np.int64]
    """How many: -1 when the region does not say, 0 when none."""
    state: npt.NDArray[np.uint8]
    """A `SubbufState`."""
    nr_events: npt.NDArray[np.int64]
    """Events decoded."""
    first_ts: npt.NDArray[np.uint64]
    """Time of the first event; 0 without events."""
    last_ts: npt.NDArray[np.uint64]
    """Time of the last event; 0 without events."""
    epoch: npt.NDArray[np.uint8]
    """Boot that wrote it: 0 is the last one."""
    bad_offset: npt.NDArray[np.int64]
    """Byte offset in the input where decoding had to stop; -1 when it reached the committed end."""

    def __len__(self) -> int:
        return len(self.offset)


def parse_subbufs(
    data: npt.NDArray[np.uint8], offset: int, count: int, subbuf_size: int, header_size: int, abi: Abi
) -> Subbufs:
    """Read the headers of ``count`` sub-buffers that begin at ``offset`` of the input; it may end before they do."""
    offsets = offset + np.arange(count, dtype=np.int64) * subbuf_size
    there = int(np.count_nonzero(offsets + header_size <= len(data)))
    raw = np.zeros((count, header_size), np.uint8)
    whole = min(there, max(0, (len(data) - offset) // subbuf_size))
    rows = data[offset : offset + whole * subbuf_size].reshape(whole, subbuf_size)
    raw[:whole] = rows[:, :header_size]
    if there > whole:
        begin = int(offsets[whole])
        raw[whole] = data[begin : begin + header_size]

    time_stamp = raw[:, :8].copy().view(abi.dtype(8)).astype(np.uint64)[:, 0]
    commit = raw[:, 8:header_size].copy().view(abi.dtype(abi.long_size)).astype(np.uint64)[:, 0]
    size = (commit & np.uint64(0xFFFFFFFF & ~RB_MISSED_MASK)).astype(np.int64)
    missed = commit & np.uint64(RB_MISSED_EVENTS) != 0
    if abi.long_size == 8:
        # No flag and no size reaches above bit 31; a bit there that is no sign extension makes the size wild.
        high = commit >> np.uint64(32)
        wild = np.where(missed, high != 0xFFFFFFFF, high != 0)
        size[wild] = np.iinfo(np.int64).max
    missed_count = np.where(missed, -1, 0).astype(np.int64)
    stored = missed & (commit & np.uint64(RB_MISSED_STORED) != 0)
    for index in np.flatnonzero(stored & (size <= subbuf_size - header_size - abi.long_size)):
        begin = int(offsets[index]) + header_size + int(size[index])
        if begin + abi.long_size <= len(data):
            number = int(data[begin : begin + abi.long_size].view(abi.dtype(abi.long_size))[0])
            missed_count[index] = number if number < _MOST_MISSED else -1

    state = np.zeros(count, np.uint8)
    state[there:] = SubbufState.MISSING
    return Subbufs(
        offset=offsets,
        time_stamp=time_stamp,
        commit=commit,
        size=size,
        missed=missed,
        missed_count=missed_count,
        state=state,
        nr_events=np.zeros(count, np.int64),
        first_ts=np.zeros(count, np.uint64),
        last_ts=np.zeros(count, np.uint64),
        epoch=np.zeros(count, np.uint8),
        bad_offset=np.full(count, -1, np.int64),
    )
