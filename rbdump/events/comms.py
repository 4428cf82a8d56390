# SPDX-License-Identifier: Apache-2.0
"""The task name of every row, as trace_find_cmdline() of kernel/trace/trace_sched_switch.c would give it.

The kernel keeps one name for a pid, the one it saw last, and prints it for all rows: so does rbdump where a copy of
tracefs has saved_cmdlines, and prints ``<...>`` for the pids that are missing there, to agree with the kernel to the
byte. Without that file names come from the events themselves, which hold pairs of a comm and a pid: the name a task had
at that time, which changes with exec and rename.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.columns import look_up
from rbdump.events.catalog import Catalog
from rbdump.events.entries import PID_MAX_LIMIT, Entries
from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Memory, Rows
from rbdump.events.strings import dynamic_bytes, text_of, until_nul

__all__ = ["TaskNames", "infer_comms", "saved_comms", "task_names", "unknown_task"]

_UNKNOWN, _IDLE, _NEGATIVE = "<...>", "<idle>", "<XXX>"
_COMM_LEN = 15  # TASK_COMM_LEN without the NUL
_SPECIAL = (_UNKNOWN, _IDLE, _NEGATIVE)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TaskNames:
    """The name of each row's task: ``names[index[row]]``."""

    names: tuple[str, ...]
    index: npt.NDArray[np.int32]

    def select(self, rows: npt.NDArray[Any] | slice) -> TaskNames:
        """The rows that a mask, an index array or a slice chooses."""
        return TaskNames(self.names, self.index[rows])

    def column(self) -> list[str]:
        """One name a row."""
        return [self.names[i] for i in self.index.tolist()]


class _Names:
    """Names by number, each kept once."""

    def __init__(self) -> None:
        self.all = list(_SPECIAL)
        self._numbers = {name: number for number, name in enumerate(_SPECIAL)}
        self._raw: dict[bytes, int] = {}

    def number(self, name: str) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.all)
            self.all.append(name)
        return found

    def of_raw(self, raw: bytes) -> int:
        found = self._raw.get(raw)
        if found is None:
            found = self._raw[raw] = self.number(text_of(raw))
        return found


def unknown_task(pid: int) -> str:
    """What the kernel prints for a task whose name it has not kept."""
    return _UNKNOWN if pid else _IDLE


def _valid(pid: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return (pid > 0) & (pid <= PID_MAX_LIMIT)


def _special(pid: npt.NDArray[np.int32], index: npt.NDArray[np.int32]) -> None:
    index[pid == 0] = _SPECIAL.index(_IDLE)
    index[pid < 0] = _SPECIAL.index(_NEGATIVE)


def saved_comms(pid: npt.NDArray[np.int32], saved: Mapping[int, str]) -> TaskNames:
    """Names by pid from saved_cmdlines; ``<...>`` for a pid that it lacks."""
    names = _Names()
    largest = min(max([*saved, 0]), PID_MAX_LIMIT)
    table = np.zeros(largest + 2, np.int32)  # what lies below or above all pids takes the first or the last, both 0
    for its_pid, name in saved.items():
        if 0 < its_pid <= largest:
            table[its_pid] = names.number(name)
    index = look_up(table, pid)
    _special(pid, index)
    return TaskNames(tuple(names.all), index)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Where an event holds a task's name and its pid."""

    comm: Field
    pid: Field | None
    """None: the pid of the row itself."""
    after: bool = False
    """The name is the task's own only after this event."""
    basename: bool = False
    """A path, whose last part becomes the name."""

    @property
    def end(self) -> int:
        """Bytes that a record must have for both fields."""
        used = (self.comm, self.pid) if self.pid else (self.comm,)
        return max(f.offset + (4 if f.is_dynamic else f.size) for f in used)


def _pairs(fmt: EventFormat) -> list[_Pair]:
    fields = {field.name: field for field in fmt.fields}
    pids = {name: field for name, field in fields.items() if name.endswith("pid") and field.size == 4}
    pairs: list[_Pair] = []
    for name, field in fields.items():
        if not field.is_string:
            continue
        if name in ("oldcomm", "newcomm"):
            pairs.append(_Pair(field, pids.get("pid"), after=name == "newcomm"))
        elif name.endswith("comm") and name.removesuffix("comm") + "pid" in pids:
            pairs.append(_Pair(field, pids[name.removesuffix("comm") + "pid"]))
        elif name == "comm" and not pids:
            pairs.append(_Pair(field, None))
        elif name == "filename" and fmt.name == "sched_process_exec" and "pid" in pids:
            pairs.append(_Pair(field, pids["pid"], basename=True))
    return pairs


def _is_prev(pair: _Pair) -> bool:
    return pair.comm.name == "prev_comm" and pair.comm.size == 16 and not pair.comm.is_data_loc


_CHANGES = frozenset({"oldcomm", "newcomm", "filename", "child_comm"})


class _Observations:
    """(pid, position, name): at that position the task of that pid had that name. Positions are twice row numbers."""

    def __init__(self, names: _Names, pid_count: int) -> None:
        self.names = names
        self.pid_count = pid_count
        self.known = np.zeros(pid_count, bool)
        self._parts: list[tuple[Ints, Ints, Ints]] = []

    def _add(self, pid: Ints, position: Ints, name: Ints) -> None:
        self._parts.append((pid, position, name))
        self.known[pid] = True

    def add_rows(self, rows: Rows, pair: _Pair, pid: Ints, position: Ints) -> None:
        """Every row, one by one."""
        self._add(*self._observe(rows, pair, pid, position))

    def add_changes(self, rows: Rows, pair: _Pair, pid: Ints, position: Ints) -> None:
        """Every row, one by one; what a task is called afterwards may still be seen elsewhere."""
        self._parts.append(self._observe(rows, pair, pid, position))

    def _observe(self, rows: Rows, pair: _Pair, pid: Ints, position: Ints) -> tuple[Ints, Ints, Ints]:
        raws: list[bytes | None]
        if pair.comm.is_dynamic:
            raws = dynamic_bytes(rows, pair.comm)
        else:
            raws = list(rows.char_arrays(pair.comm.offset, pair.comm.size).tolist())
        if pair.basename:
            raws = [raw and until_nul(raw).rpartition(b"/")[2][:_COMM_LEN] for raw in raws]
        numbers = np.array([-1 if raw is None else self.names.of_raw(raw) for raw in raws], np.int64)
        good = (numbers >= 0) & _valid(pid) & (pid < self.pid_count)
        return pid[good], position[good] + pair.after, numbers[good]

    def add_wide(self, rows: Rows, pair: _Pair, pid: Ints, position: Ints) -> None:
        """Many rows, few names: of a task that has one name in all rows only the first and the last are kept."""
        good = _valid(pid) & (pid < self.pid_count)
        if not good.all():
            rows, pid, position = rows.select(good), pid[good], position[good]
        if not len(pid):
            return
        raw = rows.char_arrays(pair.comm.offset, 16)
        low, high = raw.view(np.uint64).reshape(-1, 2).T
        number = np.arange(len(pid), dtype=np.int32)
        first = np.zeros(self.pid_count, np.int32)
        last = np.zeros(self.pid_count, np.int32)
        first[pid[::-1]] = number[::-1]
        last[pid] = number
        its_last = last[pid]
        other = (low != low[its_last]) | (high != high[its_last])
        several = np.zeros(self.pid_count, bool)
        several[pid[other]] = True
        keep = several[pid] if other.any() else np.zeros(len(pid), bool)
        keep[its_last == number] = True
        keep |= first[pid] == number
        numbers = np.array([self.names.of_raw(item) for item in raw[keep].tolist()], np.int64)
        self._add(pid[keep], position[keep], numbers)

    def resolve(self, pid: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The name of each row's task: the latest seen until that row, else the first seen afterwards."""
        if not self._parts:
            return np.zeros(len(pid), np.int32)
        its_pid, its_position, name = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        order = np.lexsort((its_position, its_pid))
        its_pid, its_position, name = its_pid[order], its_position[order], name[order]
        table = np.zeros(self.pid_count, np.int32)
        table[its_pid] = name
        index = look_up(table, pid)
        several = np.zeros(self.pid_count, bool)
        several[its_pid[1:][(its_pid[1:] == its_pid[:-1]) & (name[1:] != name[:-1])]] = True
        wanted = np.flatnonzero(look_up(several, pid))
        if len(wanted):
            keys = its_pid << 40 | its_position
            whose = pid[wanted].astype(np.int64)
            found = np.searchsorted(keys, whose << 40 | wanted * 2, "right") - 1
            before = (found >= 0) & (its_pid[np.maximum(found, 0)] == whose)
            index[wanted] = name[np.where(before, found, np.minimum(found + 1, len(name) - 1))]
        return index


Visit = Callable[[Rows, _Pair, Ints, Ints], None]


def _infer_boot(entries: Entries, catalog: Catalog, memory: Memory, names: _Names) -> npt.NDArray[np.int32]:
    """Name numbers of the rows of one boot."""
    good = _valid(entries.pid)
    row_pid = entries.pid if good.all() else np.where(good, entries.pid, 0)
    pid_count = int(row_pid.max(initial=0)) + 1
    seen = _Observations(names, pid_count)
    formats = catalog.parsed(np.flatnonzero(entries.counts()).tolist())
    pairs = [(event_id, pair) for event_id, fmt in formats.items() for pair in _pairs(fmt)]

    def visit(event_id: int, pair: _Pair, add: Visit, only: npt.NDArray[np.bool_] | None) -> None:
        at = np.flatnonzero(entries.id == event_id)
        at = at[entries.records.length[at] >= pair.end]
        rows = entries.rows(memory, at)
        pid: npt.NDArray[Any] = row_pid[at]
        if pair.pid is not None:
            pid = rows.integers(pair.pid.offset, 4, signed=True)
        if only is not None:
            hit = np.flatnonzero(only[np.where((pid > 0) & (pid < pid_count), pid, 0)])
            rows, pid, at = rows.select(hit), pid[hit], at[hit]
        if len(at):
            add(rows, pair, pid.astype(np.int64), at * 2)

    rest: list[tuple[int, _Pair]] = []
    for event_id, pair in pairs:
        if _is_prev(pair):
            visit(event_id, pair, seen.add_wide, None)
        elif pair.comm.name in _CHANGES:
            visit(event_id, pair, seen.add_changes, None)
        else:
            rest.append((event_id, pair))
    # The other pairs repeat what is known; they are read for tasks that no event named so far, the rows' own first.
    present = np.zeros(pid_count, bool)
    present[row_pid] = True
    present[0] = False
    for event_id, pair in sorted(rest, key=lambda item: item[1].pid is None):
        unknown = present & ~seen.known
        if not unknown.any():
            break
        wide = pair.comm.size == 16 and not pair.comm.is_data_loc
        visit(event_id, pair, seen.add_wide if wide else seen.add_rows, unknown)
    return seen.resolve(row_pid)


def infer_comms(entries: Entries, catalog: Catalog, memory: Memory) -> TaskNames:
    """Names that the events themselves tell; ``<...>`` where none does. Each boot's rows are looked at on their own."""
    names = _Names()
    if not entries.records.epoch.any():
        index = _infer_boot(entries, catalog, memory, names)
    else:
        index = np.zeros(len(entries), np.int32)
        for epoch in np.flatnonzero(np.bincount(entries.records.epoch)).tolist():
            chosen = np.flatnonzero(entries.records.epoch == epoch)
            index[chosen] = _infer_boot(entries.select(chosen), catalog, memory, names)
    _special(entries.pid, index)
    return TaskNames(tuple(names.all), index)


def task_names(entries: Entries, catalog: Catalog, memory: Memory, saved: Mapping[int, str] | None) -> TaskNames:
    """Names from ``saved`` (saved_cmdlines of a copy of tracefs) where there are any, else inferred from the events.

    saved_cmdlines are of the last boot: rows of boots before it are inferred.
    """
    if not saved:
        return infer_comms(entries, catalog, memory)
    known = saved_comms(entries.pid, saved)
    older = entries.records.epoch > 0
    if not older.any():
        return known
    inferred = infer_comms(entries, catalog, memory)
    index = np.where(older, inferred.index + len(known.names), known.index).astype(np.int32)
    return TaskNames(known.names + inferred.names, index)
