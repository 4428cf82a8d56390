# SPDX-License-Identifier: Apache-2.0
"""Records with the columns of struct trace_entry: event id, flags, preempt count and pid.

The eight bytes are the same in every kernel that has persistent buffers: u16 type, u8 flags, u8 preempt_count, s32 pid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.events.rows import Memory, Rows
from rbdump.findings import Finding, Severity
from rbdump.ring.records import TRACE_ENTRY_SIZE, RecordTable
from rbdump.ring.sweep import Sweep

__all__ = ["PID_MAX_LIMIT", "Entries", "gather_entries", "swept_ids"]

PID_MAX_LIMIT = 1 << 22
"""No pid is larger (on 64 bit); what is above is damage."""
_ID_STEP = 32
"""One of so many records is asked for its id before the order is known."""
_MOST_IDS = 256
"""No more than syntax trees of print fmts are kept, which is what such ids are for."""


@dataclass(slots=True)
class Entries:
    """One row for each record, in the order of `records`; all columns have the same length."""

    records: RecordTable
    id: npt.NDArray[np.uint16]
    """trace_entry.type; 0, which no event has, for records too short to hold a trace_entry."""
    flags: npt.NDArray[np.uint8]
    preempt_count: npt.NDArray[np.uint8]
    """Preempt depth in the low nibble, migrate-disable depth in the high one."""
    pid: npt.NDArray[np.int32]
    _counts: npt.NDArray[np.int64] | None = field(default=None, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.id)

    def select(self, rows: npt.NDArray[Any] | slice) -> Entries:
        """The rows that a mask, an index array or a slice chooses, in that order; this table where these are all."""
        if isinstance(rows, slice) and rows.indices(len(self)) == (0, len(self), 1):
            return self
        return Entries(
            self.records.select(rows), self.id[rows], self.flags[rows], self.preempt_count[rows], self.pid[rows]
        )

    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows each event id has, by id; counted once."""
        if self._counts is None:
            self._counts = counts = np.zeros(1 << 16, np.int64)
            for begin in range(0, len(self), len(counts)):  # all at once would need eight bytes more for each row
                counts += np.bincount(self.id[begin : begin + len(counts)], minlength=len(counts))
        return self._counts

    def rows(self, memory: Memory, rows: npt.NDArray[Any] | slice = slice(None)) -> Rows:
        """Where the payloads of the chosen rows lie; all of them must be rows of one event to gather its fields."""
        return Rows(memory, self.records.offset[rows], self.records.length[rows])


def gather_entries(records: RecordTable, memory: Memory) -> tuple[Entries, list[Finding]]:
    """The trace_entry of each record, and one finding when records are too short to have one."""
    order = memory.abi.endian
    layout = np.dtype([("id", f"{order}u2"), ("flags", "u1"), ("preempt_count", "u1"), ("pid", f"{order}i4")])
    good = records.length >= TRACE_ENTRY_SIZE
    findings: list[Finding] = []
    if good.all():
        raw = memory.char_arrays(records.offset, TRACE_ENTRY_SIZE).view(layout)
    else:
        raw = np.zeros(len(records), layout)
        raw[good] = memory.char_arrays(records.offset[good], TRACE_ENTRY_SIZE).view(layout)
        bad = np.flatnonzero(~good)
        first = int(bad[0])
        findings.append(
            Finding(
                Severity.ERROR,
                "record-too-short",
                f"{len(bad)} records are too short for the 8 bytes that every event begins with; they have no event id",
                int(records.cpu[first]),
                int(records.subbuf[first]),
                int(records.offset[first]),
            )
        )
    entries = Entries(
        records,
        raw["id"].astype(np.uint16),
        np.ascontiguousarray(raw["flags"]),
        np.ascontiguousarray(raw["preempt_count"]),
        raw["pid"].astype(np.int32),
    )
    return entries, findings


def swept_ids(swept: Sweep) -> list[int]:
    """Ids of the most frequent events of a region: from one of some records, which have no order yet."""
    counts = np.bincount(swept.first_halves(_ID_STEP), minlength=1)
    ids = np.flatnonzero(counts > 1)  # what lies where records end may look like one
    most: list[int] = ids[np.argsort(-counts[ids], kind="stable")[:_MOST_IDS]].tolist()
    return most
