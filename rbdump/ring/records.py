# SPDX-License-Identifier: Apache-2.0
"""Data records of a region as parallel columns: what the walk yields and all floors above read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TRACE_ENTRY_SIZE", "RecordState", "RecordTable"]

TRACE_ENTRY_SIZE = 8
"""sizeof(struct trace_entry), which every payload begins with."""


class RecordState(IntEnum):
    """Why a record is in the table."""

    LIVE = 0
    """Committed, in the order reader page, head .. commit."""
    CONSUMED = 1
    """In a sub-buffer that a reader had taken (the rewind)."""
    UNCOMMITTED = 2
    """Reserved behind the commit when the machine died."""
    STRAY = 3
    """In a valid sub-buffer outside the kernel's order, which damage hides from the kernel."""


@dataclass(slots=True)
class RecordTable:
    """One row for each data record (event). All columns have the same length; order is the merged order.

    Columns are for reading: the rows of one may share their memory.
    """

    ts: npt.NDArray[np.uint64]
    """Time stamp in units of the trace clock."""
    cpu: npt.NDArray[np.uint16]
    offset: npt.NDArray[np.int64]
    """Byte offset of the payload (struct trace_entry) in the input file."""
    length: npt.NDArray[np.int32]
    """Payload bytes as ring_buffer_event_length() counts them: padding to 4 (or 8) included."""
    subbuf: npt.NDArray[np.int32]
    """Index of the sub-buffer in its CPU's memory (0 .. nr_subbufs-1)."""
    epoch: npt.NDArray[np.uint8]
    """Boot that wrote the record: 0 is the last boot, 1 the one before it, and so on."""
    state: npt.NDArray[np.uint8]
    """A `RecordState`."""
    lost: npt.NDArray[np.int64]
    """Events lost just before this record: 0 none, -1 some, n how many (a `CPU:N [LOST n EVENTS]` line)."""

    def __len__(self) -> int:
        return len(self.ts)

    def select(self, rows: npt.NDArray[Any] | slice) -> RecordTable:
        """The rows that a mask, an index array or a slice chooses, in that order."""
        return RecordTable(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def concatenate(cls, tables: list[RecordTable]) -> RecordTable:
        """The rows of all tables, one table after the other."""
        if not tables:
            return cls.empty()
        return cls(*(np.concatenate([getattr(t, column.name) for t in tables]) for column in fields(cls)))

    @classmethod
    def empty(cls) -> RecordTable:
        """A table without rows."""
        return cls(
            ts=np.empty(0, np.uint64),
            cpu=np.empty(0, np.uint16),
            offset=np.empty(0, np.int64),
            length=np.empty(0, np.int32),
            subbuf=np.empty(0, np.int32),
            epoch=np.empty(0, np.uint8),
            state=np.empty(0, np.uint8),
            lost=np.empty(0, np.int64),
        )
