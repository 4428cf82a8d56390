# SPDX-License-Identifier: Apache-2.0
"""The columns in front of an event: task, CPU, latency characters, time stamp.

Mirrors trace_print_context() and trace_print_lat_fmt() (kernel/trace/trace_output.c) with the default options.
A slice of rows becomes one matrix of characters, each column gathered from a small table of ready texts; rows that
overflow a column (a CPU above 999, a damaged pid, a stamp with more digits than its neighbours) are spelled one by one.

Task names may hold any byte: text is UTF-8 with surrogate escapes, and columns are as wide as the bytes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.events.entries import PID_MAX_LIMIT, Entries

__all__ = ["PrefixRenderer", "latency_chars", "latency_text", "stamp_text"]

_TASK = 25
_AT_A_TIME = 1 << 13
"""Prefixes that pass through UCS4 at a time: two megabytes."""

IRQS_OFF, LAZY_OR_NOSUPPORT, NEED_RESCHED, HARDIRQ, SOFTIRQ, PREEMPT_RESCHED, NMI, BH_OFF = (1 << n for n in range(8))


def latency_text(flags: int, *, lazy: bool) -> str:
    """The first three latency characters: interrupts, reschedule, context.

    ``lazy``: flag 0x02 is NEED_RESCHED_LAZY (kernels since 6.13), else IRQS_NOSUPPORT.
    """
    second = bool(flags & LAZY_OR_NOSUPPORT)
    if flags & IRQS_OFF:
        irqs = "D" if flags & BH_OFF else "d"
    elif flags & BH_OFF:
        irqs = "b"
    else:
        irqs = "X" if second and not lazy else "."
    wanted = (bool(flags & NEED_RESCHED), bool(flags & PREEMPT_RESCHED), second and lazy)
    resched = {
        (True, True, True): "B",
        (True, True, False): "N",
        (False, True, True): "L",
        (True, False, True): "b",
        (True, False, False): "n",
        (False, True, False): "p",
        (False, False, True): "l",
        (False, False, False): ".",
    }[wanted]
    if flags & NMI:
        context = "Z" if flags & HARDIRQ else "z"
    elif flags & HARDIRQ:
        context = "H" if flags & SOFTIRQ else "h"
    else:
        context = "s" if flags & SOFTIRQ else "."
    return irqs + resched + context


def latency_chars(*, lazy: bool) -> tuple[list[str], list[str]]:
    """The latency characters by trace_entry flags (three), and by preempt_count (two)."""
    digits = ".123456789abcdef"
    counts = [digits[count & 15] + digits[count >> 4] for count in range(256)]
    return [latency_text(flags, lazy=lazy) for flags in range(256)], counts


def stamp_text(ts: int, *, in_ns: bool) -> str:
    """The time stamp column with its leading blank: rounded microseconds, or the raw value of other clocks."""
    if not in_ns:
        return f" {ts:12d}"
    seconds, microseconds = divmod((ts + 500) // 1000 & 0xFFFF_FFFF_FFFF_FFFF, 1_000_000)
    return f" {seconds:5d}.{microseconds:06d}"


def _table(texts: Sequence[str]) -> npt.NDArray[Any]:
    """Texts of one length as numpy items that copy as a whole."""
    raw = "".join(texts).encode("ascii")
    return np.frombuffer(raw, f"V{len(raw) // len(texts)}")


def _zero_padded(digits: int) -> npt.NDArray[np.uint8]:
    """All numbers of so many decimal digits, one in each row."""
    table = np.empty((*[10] * digits, digits), np.uint8)
    for place in range(digits):
        table[..., place] = np.arange(ord("0"), ord("9") + 1).reshape(-1, *[1] * (digits - 1 - place))
    return table.reshape(-1, digits)


def _seconds_table() -> npt.NDArray[Any]:
    """`` %5lu.`` of the seconds that have no more than five digits."""
    digits = _zero_padded(5)
    for column in range(4):
        digits[: 10 ** (4 - column), column] = ord(" ")
    table = np.full((len(digits), 7), ord(" "), np.uint8)
    table[:, 1:6] = digits
    table[:, 6] = ord(".")
    return table.view("V7").reshape(-1)


class PrefixRenderer:
    """Renders the prefix of many rows; keeps the tables of texts that it has made."""

    def __init__(self, names: Sequence[str], *, lazy: bool, in_ns: bool) -> None:
        """``names``: task names, to which the ``comm`` column of `render` points; ``lazy`` as in `latency_text`."""
        self._names = names
        self._in_ns = in_ns
        self._flags, self._preempt = latency_chars(lazy=lazy)
        self._flags_table = _table(self._flags)
        self._preempt_table = _table(self._preempt)
        self._cpu_table = _table([f"[{cpu:03d}] " for cpu in range(1000)])
        self._seconds = _seconds_table()
        self._thousand = _zero_padded(3).view("V3").reshape(-1)
        self._ten_thousand = _zero_padded(4).view("V4").reshape(-1)
        self._task_texts: list[str] = []
        self._task_table: npt.NDArray[Any] = np.empty(0, f"V{_TASK}")
        self._task_fits = np.empty(0, np.bool_)
        self._task_comm = np.empty(0, np.int64)
        self._task_index: dict[tuple[int, int], int] = {}
        self._task_of_pid = np.zeros(0, np.int32)

    def render(self, entries: Entries, comm: npt.NDArray[np.integer[Any]]) -> list[str]:
        """The prefix of each row, with the blank behind its colon; ``comm`` is an index into the names."""
        if not len(entries):
            return []
        records = entries.records
        task = self._tasks(entries.pid, comm)
        regular = (records.cpu < 1000) & self._task_fits[task]
        stamps, same = self._stamps(records.ts)
        regular &= same
        columns = {"task": _TASK, "cpu": 6, "flags": 3, "preempt": 2, "ts": stamps.itemsize, "end": 2}
        out = np.empty(len(entries), [(name, f"V{width}") for name, width in columns.items()])
        out["task"] = self._task_table[task]
        out["cpu"] = self._cpu_table[np.minimum(records.cpu, 999)]
        out["flags"] = self._flags_table[entries.flags]
        out["preempt"] = self._preempt_table[entries.preempt_count]
        out["ts"] = stamps
        out["end"] = np.frombuffer(b": ", "V2")[0]
        # through UCS4 numpy makes the texts at half the cost of cutting them out of one long str
        texts: list[str] = []
        for begin in range(0, len(out), _AT_A_TIME):
            wide = out[begin : begin + _AT_A_TIME].view(np.uint8).astype(np.uint32)
            texts += wide.view(f"U{out.itemsize}").tolist()
        if not regular.all():
            for row in np.flatnonzero(~regular).tolist():
                texts[row] = self._one(entries, row, int(task[row]))
        return texts

    def _one(self, entries: Entries, row: int, task: int) -> str:
        flags, preempt = self._flags[entries.flags[row]], self._preempt[entries.preempt_count[row]]
        stamp = stamp_text(int(entries.records.ts[row]), in_ns=self._in_ns)
        return f"{self._task_texts[task]}[{entries.records.cpu[row]:03d}] {flags}{preempt}{stamp}: "

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _tasks(self, pid: npt.NDArray[np.int32], comm: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
        """The index of each row's (name, pid) in the tables. Most pids have one name: a table by pid decides those."""
        inside = (pid >= 0) & (pid < PID_MAX_LIMIT)
        top = int(pid[inside].max(initial=0)) + 1
        if top > len(self._task_of_pid):
            self._task_of_pid = np.concatenate([self._task_of_pid, np.full(top - len(self._task_of_pid), -1, np.int32)])
        task = self._task_of_pid[np.where(inside, pid, 0)]
        if len(self._task_comm):
            hit = inside & (task >= 0) & (self._task_comm[task] == comm)
        else:
            hit = np.zeros(len(pid), np.bool_)
        missed = np.flatnonzero(~hit)
        if len(missed):
            keys = (comm[missed].astype(np.int64) << 32) | pid[missed].astype(np.uint32).astype(np.int64)
            unique, inverse = np.unique(keys, return_inverse=True)
            slots = [self._slot(key >> 32, int(np.int32(np.uint32(key & 0xFFFF_FFFF)))) for key in unique.tolist()]
            self._take_new()
            task[missed] = np.array(slots, np.int32)[inverse]
        return task

    def _slot(self, comm: int, pid: int) -> int:
        slot = self._task_index.get((comm, pid))
        if slot is None:
            slot = self._task_index[comm, pid] = len(self._task_texts)
            name = self._names[comm]
            blanks = 16 - (len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape")))
            self._task_texts.append(f"{' ' * blanks}{name}-{pid:<7d} ")
            if 0 <= pid < len(self._task_of_pid):
                self._task_of_pid[pid] = slot
        return slot

    def _take_new(self) -> None:
        """Bring the columns of the tables up to the tasks that have a slot."""
        known = len(self._task_comm)
        texts = self._task_texts[known:]
        if texts:
            fits = [len(text) == _TASK and text.isascii() for text in texts]
            shown = [text if fit else " " * _TASK for text, fit in zip(texts, fits, strict=True)]
            comms = [comm for comm, _ in islice(self._task_index, known, None)]
            self._task_fits = np.append(self._task_fits, fits)
            self._task_table = np.append(self._task_table, _table(shown))
            self._task_comm = np.append(self._task_comm, comms)

    # -- time stamps -----------------------------------------------------------------------------------------------

    def _stamps(self, ts: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """The stamp column of each row, and which rows have the width that most have."""
        if self._in_ns:
            micro = (ts + np.uint64(500)) // np.uint64(1000)
            seconds = micro // np.uint64(1_000_000)
            micro = (micro - seconds * np.uint64(1_000_000)).astype(np.int64)
            high = micro // 1000
            parts = [("high", self._thousand[high]), ("low", self._thousand[micro - high * 1000])]
            if int(seconds.max()) < 100_000:
                same = np.ones(len(ts), np.bool_)
                parts.insert(0, ("seconds", self._seconds[seconds.astype(np.int64)]))
            else:
                column, same = self._digits(seconds, 5, b".")
                parts.insert(0, ("seconds", column))
        else:
            column, same = self._digits(ts, 12, b"")
            parts = [("ts", column)]
        out = np.empty(len(ts), [(name, column.dtype) for name, column in parts])
        for name, column in parts:
            out[name] = column
        return out.view(f"V{out.itemsize}"), same

    def _digits(
        self, values: npt.NDArray[np.uint64], least: int, tail: bytes
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """A blank and right-aligned numbers of ``least`` or more columns; True where the digits of the last row fit."""
        width = max(least, len(str(int(values[-1]))))
        rest = values.copy()
        chunks = []
        for _ in range((width + 3) // 4):
            rest, chunk = np.divmod(rest, np.uint64(10_000))
            chunks.append(self._ten_thousand[chunk.astype(np.int64)])
        digits = np.stack([chunk.view("V4") for chunk in reversed(chunks)], axis=1)
        raw = np.ascontiguousarray(digits).view(np.uint8).reshape(len(values), -1)[:, -width:].copy()
        powers = np.array([10**power for power in range(min(width, 20) - 1, 0, -1)], np.uint64)
        raw[:, width - len(powers) - 1 : width - 1][values[:, None] < powers[None, :]] = ord(" ")
        blank = np.full((len(values), 1), ord(" "), np.uint8)
        ends = np.broadcast_to(np.frombuffer(tail, np.uint8), (len(values), len(tail)))
        whole = np.ascontiguousarray(np.concatenate([blank, raw, ends], axis=1))
        limit = 10**width
        same = values < np.uint64(limit) if limit <= 0xFFFF_FFFF_FFFF_FFFF else np.ones(len(values), np.bool_)
        # numbers of fewer digits are right only within the least width
        same &= (values >= np.uint64(10 ** (width - 1))) | np.bool_(width == least)
        return whole.view(f"V{whole.shape[1]}").reshape(-1), same
