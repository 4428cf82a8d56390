# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from typing import Literal

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.events.entries import Entries, gather_entries
from rbdump.events.rows import Memory
from rbdump.ring.records import RecordTable


def table(offsets: list[int], lengths: list[int]) -> RecordTable:
    n = len(offsets)
    return RecordTable(
        np.arange(n, dtype=np.uint64),
        np.zeros(n, np.uint16),
        np.array(offsets, np.int64),
        np.array(lengths, np.int32),
        np.arange(n, dtype=np.int32),
        np.zeros(n, np.uint8),
        np.zeros(n, np.uint8),
        np.zeros(n, np.int64),
    )


@pytest.mark.parametrize("order", ["little", "big"])
def test_columns(order: Literal["little", "big"]) -> None:
    sign = "<" if order == "little" else ">"
    records = [(314, 0x41, 0x12, 4711), (1, 0, 0xFF, -1), (65535, 255, 0, 0)]
    data = b"\0\0\0\0" + b"".join(struct.pack(f"{sign}HBBi", *record) for record in records)
    memory = Memory(np.frombuffer(data, np.uint8), Abi(order, 8))
    entries, findings = gather_entries(table([4, 12, 20], [8, 8, 8]), memory)
    assert findings == []
    columns = zip(entries.id, entries.flags, entries.preempt_count, entries.pid, strict=True)
    assert [tuple(int(v) for v in row) for row in columns] == records
    assert entries.pid.dtype == np.dtype("=i4")
    assert entries.id.dtype == np.dtype("=u2")
    chosen = entries.select(np.array([2, 0]))
    assert chosen.id.tolist() == [65535, 314]
    assert chosen.records.offset.tolist() == [20, 4]
    assert entries.rows(memory, entries.id == 1).payload(0) == data[12:20]
    assert len(entries.rows(memory)) == 3


def test_records_too_short_are_no_events() -> None:
    data = np.frombuffer(struct.pack("<HBBi", 7, 1, 2, 3) + b"\xff" * 8, np.uint8)
    memory = Memory(data, Abi("little", 8))
    entries, findings = gather_entries(table([0, 8, 12, 16], [8, 4, 7, 0]), memory)
    assert entries.id.tolist() == [7, 0, 0, 0]
    assert entries.pid.tolist() == [3, 0, 0, 0]
    assert [(f.code, f.subbuf, f.offset) for f in findings] == [("record-too-short", 1, 8)]
    assert findings[0].message.startswith("3 records")


@pytest.mark.parametrize("size", [0, 7, 8])
def test_no_rows(size: int) -> None:
    memory = Memory(np.zeros(size, np.uint8), Abi("big", 4))
    entries, findings = gather_entries(RecordTable.empty(), memory)
    assert isinstance(entries, Entries)
    assert len(entries) == 0
    assert findings == []


def test_counts_of_many_rows_are_added_up() -> None:
    n = 70_000
    ids = np.where(np.arange(n) % 7 == 0, 65535, 300).astype(np.uint16)
    zeros = np.zeros(n, np.uint8)
    counts = Entries(table([0] * n, [8] * n), ids, zeros, zeros, zeros.astype(np.int32)).counts()
    assert (len(counts), int(counts[65535]), int(counts[300])) == (65536, 10_000, 60_000)
    assert int(counts.sum()) == n


def test_all_rows_are_the_table_itself_with_its_counts() -> None:
    zeros = np.zeros(3, np.uint8)
    entries = Entries(table([0] * 3, [8] * 3), zeros.astype(np.uint16), zeros, zeros, zeros.astype(np.int32))
    assert entries.select(slice(None)) is entries is entries.select(slice(0, 9))
    assert [len(entries.select(rows)) for rows in (slice(1, None), slice(None, None, 2), slice(2))] == [2, 2, 2]
    assert entries.select(slice(None, None, -1)) is not entries
