# SPDX-License-Identifier: Apache-2.0
"""Merges the records of all CPUs in the kernel's order.

Mirrors __find_next_entry() of kernel/trace/trace.c: again and again the CPU whose next record is the oldest, the
lowest CPU among equals; the order of one CPU is never changed. A stable sort of the CPUs' records, one CPU after the
other, by the running maximum of each CPU's time stamps gives exactly that.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rbdump.columns import look_up
from rbdump.ring.records import RecordState, RecordTable
from rbdump.ring.subbufs import SubbufState
from rbdump.ring.sweep import Sweep

__all__ = ["NO_BOUND", "merge_records"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]
T = TypeVar("T", np.int64, np.uint8)

NO_BOUND = np.uint64(2**64 - 1)
"""A bound on time stamps that no stamp is above."""

_RECORD_STATES = np.zeros(len(SubbufState), np.uint8)
_RECORD_STATES[SubbufState.CONSUMED] = RecordState.CONSUMED
_RECORD_STATES[SubbufState.STRAY] = RecordState.STRAY


def merge_records(sweep: Sweep, orders: list[Ints], lost: list[Ints], latest: list[Stamps] | None) -> RecordTable:
    """The records of the sub-buffers in ``orders`` (one array for each CPU); fills first_ts and last_ts of these.

    A sub-buffer whose `Subbufs.nr_events` is 0 gives none.
    ``lost`` says for each ordered sub-buffer how many events were lost before it. ``latest`` bounds the time that
    the records of each ordered sub-buffer may claim in the merge: damaged stamps then do not hold a CPU back.
    Both are parallel to ``orders``.
    """
    walked, bases = sweep.walked, sweep.bases
    order = np.concatenate([part + base for part, base in zip(orders, bases[:-1], strict=True)])
    counts = np.concatenate([cpu.subbufs.nr_events[part] for cpu, part in zip(sweep.region.cpus, orders, strict=True)])
    ends = np.cumsum(counts)
    rows = int(ends[-1]) if len(ends) else 0
    if not rows:
        return RecordTable.empty()
    first_row = np.full(len(walked.nr_events), -1, np.int64)
    first_row[order] = np.where(counts > 0, ends - counts, -1)
    ts, pos, length, subbuf = walked.place(first_row, rows)

    _fill_times(sweep, order, ts, first_row, counts)
    lost_rows = _lost_rows(orders, lost, counts, ends)
    epoch_of = np.concatenate([cpu.subbufs.epoch for cpu in sweep.region.cpus])
    state_of = _RECORD_STATES[np.concatenate([cpu.subbufs.state for cpu in sweep.region.cpus])]
    key, upto = ts, 0
    if not _rise(ts, orders, ends, latest):
        key = ts.copy()
        for number, ordered in enumerate(orders):
            part = slice(upto, upto + len(ordered))
            _running_maximum(key, counts[part], ends[part], epoch_of[order[part]], latest[number] if latest else None)
            upto += len(ordered)
    if epoch_of[order].any():
        perm = np.lexsort((key, -epoch_of[subbuf].astype(np.int16)))
    else:
        perm = np.argsort(key, kind="stable")
    del key
    subbuf = subbuf[perm]
    cpu_of = np.repeat(np.array([cpu.cpu for cpu in sweep.region.cpus], np.uint16), np.diff(bases))
    index_of = (np.arange(int(bases[-1])) - np.repeat(bases[:-1], np.diff(bases))).astype(np.int32)
    lost_column = _zeros(rows, np.int64)
    if len(lost_rows[0]):
        unmerged = np.zeros(rows, np.int64)
        unmerged[lost_rows[0]] = lost_rows[1]
        lost_column = unmerged[perm]
    ts = ts[perm]
    offset = pos[perm].astype(np.int64)
    offset <<= 2
    offset += sweep.words.offset
    length = length[perm]
    length <<= 2
    return RecordTable(
        ts=ts,
        cpu=look_up(cpu_of, subbuf),
        offset=offset,
        length=length,
        subbuf=look_up(index_of, subbuf),
        epoch=_spread(epoch_of, subbuf),
        state=_spread(state_of, subbuf),
        lost=lost_column,
    )


def _spread(values: npt.NDArray[np.uint8], subbuf: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """What is known of each record's sub-buffer."""
    return look_up(values, subbuf) if values.any() else _zeros(len(subbuf), np.uint8)


def _zeros(rows: int, dtype: type[T]) -> npt.NDArray[T]:
    """A read-only column of zeros, as most columns of their kind are: it takes no memory."""
    return np.broadcast_to(dtype(), rows)


def _rise(ts: Stamps, orders: list[Ints], ends: Ints, latest: list[Stamps] | None) -> bool:
    """Whether the time stamps of each CPU are their own running maximum, and no sub-buffer has a bound."""
    if latest is not None and any((bounds < NO_BOUND).any() for bounds in latest):
        return False
    cuts = np.cumsum([len(part) for part in orders])
    falls = np.flatnonzero(ts[1:] < ts[:-1]) + 1
    return bool(np.isin(falls, ends[cuts[cuts > 0] - 1]).all())


def _fill_times(sweep: Sweep, order: Ints, ts: Stamps, first_row: Ints, counts: Ints) -> None:
    """First and last time of each shown sub-buffer."""
    first = np.zeros(len(first_row), np.uint64)
    last = np.zeros(len(first_row), np.uint64)
    used = order[counts > 0]
    first[used] = ts[first_row[used]]
    last[used] = ts[first_row[used] + counts[counts > 0] - 1]
    for number, cpu in enumerate(sweep.region.cpus):
        part = sweep.part(number)
        cpu.subbufs.first_ts, cpu.subbufs.last_ts = first[part], last[part]


def _lost_rows(orders: list[Ints], lost: list[Ints], counts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Rows before which events were lost, and how many; a mark without events goes to the CPU's next event."""
    rows: dict[int, int] = {}
    start = 0
    for part, marks in zip(orders, lost, strict=True):
        upto = start + len(part)
        if marks.any():
            last = int(ends[upto - 1])
            for index in np.flatnonzero(marks).tolist():
                row = int(ends[start + index] - counts[start + index])
                if row < last:
                    more, now = rows.get(row, 0), int(marks[index])
                    rows[row] = -1 if more < 0 or now < 0 else more + now
        start = upto
    return np.array(list(rows), np.int64), np.array(list(rows.values()), np.int64)


def _running_maximum(
    key: Stamps, counts: Ints, ends: Ints, epochs: npt.NDArray[np.uint8], latest: Stamps | None
) -> None:
    """Turn one CPU's time stamps into its running maximum, anew for each epoch, bounded where stamps are damaged."""
    if not len(ends):
        return
    begin = int(ends[0] - counts[0])
    if latest is not None:
        for index in np.flatnonzero((counts > 0) & (latest < NO_BOUND)).tolist():
            rows = key[int(ends[index] - counts[index]) : int(ends[index])]
            np.minimum(rows, latest[index], out=rows)
    for cut in [*(np.flatnonzero(np.diff(epochs.astype(np.int16))) + 1).tolist(), len(ends)]:
        part = key[begin : int(ends[cut - 1])]
        np.maximum.accumulate(part, out=part)
        begin = int(ends[cut - 1])
