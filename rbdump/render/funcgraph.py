# SPDX-License-Identifier: Apache-2.0
"""Function graph events as a nop instance prints them: entry, exit, and an entry with its exit on one line.

Mirrors print_graph_function_event() (kernel/trace/trace_functions_graph.c) without the private data of a running
function_graph tracer, as after a reboot. Until 6.18 the tracer's flags were global, so that the CPU and duration
columns show here too; since then they belong to the tracer, and a nop instance prints the calls alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.events.entries import Entries
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Memory, Rows
from rbdump.render.arguments import arguments_renderer
from rbdump.render.group import Group, Renderer, column, field_named

__all__ = ["Fold", "duration_text", "entry_renderer", "exit_renderer", "fold_funcgraph"]

_MAX_DEPTH = 256  # deeper than any kernel stack: damage, and not worth kilobytes of blanks
_MARKS = ((10**9, "$"), (10**8, "@"), (10**7, "*"), (10**6, "#"), (10**5, "!"), (10**4, "+"))
_NO_TIME = "              |  "


@dataclass(frozen=True, slots=True)
class Fold:
    """Which function graph entries are leaf calls, printed on one line with the exit that follows."""

    leaf: npt.NDArray[np.int64]
    """For each row the payload offset of the exit that it is printed with, -1 for all others."""
    keep: npt.NDArray[np.bool_]
    """False for exits that have no line of their own."""


def fold_funcgraph(
    entries: Entries, memory: Memory, entry_fmts: list[EventFormat], exit_fmt: EventFormat | None
) -> Fold:
    """Find leaf calls: the next record of the same CPU is the exit of the same function by the same task.

    Over the whole table, in its order, before anything is left out of it.
    """
    fmts = [fmt for fmt in (*entry_fmts, exit_fmt) if fmt is not None and any(f.name == "func" for f in fmt.fields)]
    if exit_fmt not in fmts or not (entries.id == exit_fmt.id).any():  # columns of one value take no memory
        return Fold(np.broadcast_to(np.int64(-1), len(entries)), np.broadcast_to(np.True_, len(entries)))
    leaf = np.full(len(entries), -1, np.int64)
    keep = np.ones(len(entries), np.bool_)
    func = {fmt.id: field_named(fmt, "func") for fmt in fmts}
    order = np.argsort(entries.records.cpu, kind="stable")
    here, after = order[:-1], order[1:]
    records = entries.records
    pair = (records.cpu[here] == records.cpu[after]) & (entries.id[after] == exit_fmt.id)
    pair &= (entries.pid[here] == entries.pid[after]) & (records.epoch[here] == records.epoch[after])
    pair &= (records.length[after] >= _least(exit_fmt)) & (records.lost[after] == 0)
    for fmt in fmts[:-1]:
        first = np.flatnonzero(pair & (entries.id[here] == fmt.id) & (records.length[here] >= _least(fmt)))
        called = _addresses(memory, records.offset[here[first]], func[fmt.id])
        left = _addresses(memory, records.offset[after[first]], func[exit_fmt.id])
        first = first[called == left]
        leaf[here[first]] = records.offset[after[first]]
        keep[after[first]] = False
    return Fold(leaf, keep)


def _least(fmt: EventFormat) -> int:
    return max(field.offset + field.size for field in fmt.fields)


def _addresses(memory: Memory, offsets: npt.NDArray[np.int64], field: Field) -> npt.NDArray[np.generic]:
    return memory.integers(offsets + field.offset, field.size, signed=False)


def duration_text(nanoseconds: int) -> str:
    """Overhead mark and duration, as wide as the column: ``+ 34.545 us   |  ``."""
    mark = next((mark for limit, mark in _MARKS if nanoseconds > limit), " ")
    micro, rest = divmod(nanoseconds, 1000)
    number = str(micro)
    if len(number) < 7:  # no more than seven digits and the point
        number += "." + f"{rest:03d}"[: min(3, 7 - len(number))]
    return f"{mark} {number} us {' ' * (8 - len(number))}|  "


class _Columns:
    """What stands in front of a call."""

    def __init__(self, facts: Facts, *, columns: bool, nr_cpus: int) -> None:
        self._columns = columns
        self._digits = len(str(max(nr_cpus - 1, 0)))
        self._irq_begin = facts.addr_of("__irqentry_text_start") or 0
        self._irq_end = facts.addr_of("__irqentry_text_end") or 0

    def cpu(self, cpu: int) -> str:
        return f" {cpu:{self._digits}d}) " if self._columns else ""

    def duration(self, nanoseconds: int | None) -> str:
        if not self._columns:
            return ""
        return _NO_TIME if nanoseconds is None else duration_text(nanoseconds)

    def irq(self, func: int, cpu: int, arrow: str) -> str:
        """A line of its own where a function of the interrupt entry text begins or ends."""
        if not self._irq_begin <= func < self._irq_end:
            return ""
        return f"{self.cpu(cpu)}  {arrow} |\n" if self._columns else f"{arrow}\n"


def _indent(depth: int) -> str:
    return "  " * min(max(depth, 0), _MAX_DEPTH)


def entry_renderer(
    fmt: EventFormat, exit_fmt: EventFormat | None, facts: Facts, *, columns: bool, nr_cpus: int
) -> Renderer:
    """Renders ``ftrace:funcgraph_entry`` and ``ftrace:fgraph_retaddr_entry``.

    ``columns``: print CPU and duration; ``nr_cpus``: possible CPUs, for the width of the CPU column.
    """
    func, depth = field_named(fmt, "func"), field_named(fmt, "depth")
    names = facts.symbols.ps
    front = _Columns(facts, columns=columns, nr_cpus=nr_cpus)
    begin = end = None
    if exit_fmt is not None:
        begin, end = field_named(exit_fmt, "calltime"), field_named(exit_fmt, "rettime")
    arguments = arguments_renderer(fmt, facts, func.offset)

    def render(group: Group) -> list[str]:
        count = len(group)
        leaf = np.full(count, -1, np.int64) if group.leaf is None else group.leaf[group.index]
        spent = np.zeros(count, np.uint64)
        if begin is not None and end is not None:
            folded = np.flatnonzero(leaf >= 0)
            exits = Rows(group.rows.memory, leaf[folded], group.rows.length[folded])
            ended = exits.integers(end.offset, 8, signed=False).astype(np.uint64)
            spent[folded] = ended - exits.integers(begin.offset, 8, signed=False).astype(np.uint64)
        texts = []
        cpus = group.entries.records.cpu[group.index].tolist()
        brackets = arguments(group.rows) if arguments is not None else [""] * count
        values = (column(group.rows, func), column(group.rows, depth), cpus, leaf.tolist(), spent.tolist(), brackets)
        for addr, level, cpu, exit_offset, nanoseconds, args in zip(*values, strict=True):
            text = front.irq(addr, cpu, "==========>") + front.cpu(cpu)
            call = f"{_indent(level)}{names[addr]}{args or '()'}"
            if exit_offset >= 0:
                text += f"{front.duration(nanoseconds)}{call};\n{front.irq(addr, cpu, '<==========')}"
            else:
                text += f"{front.duration(None)}{call} {{\n"
            texts.append(text)
        return texts

    return render


def exit_renderer(fmt: EventFormat, facts: Facts, *, columns: bool, nr_cpus: int) -> Renderer:
    """Renders ``ftrace:funcgraph_exit``; parameters as for `entry_renderer`."""
    func, depth = field_named(fmt, "func"), field_named(fmt, "depth")
    begin, end = field_named(fmt, "calltime"), field_named(fmt, "rettime")
    front = _Columns(facts, columns=columns, nr_cpus=nr_cpus)

    def render(group: Group) -> list[str]:
        texts = []
        cpus = group.entries.records.cpu[group.index].tolist()
        values = (column(group.rows, field) for field in (func, depth, begin, end))
        for cpu, addr, level, called, left in zip(cpus, *values, strict=True):
            spent = (left - called) & 0xFFFF_FFFF_FFFF_FFFF
            line = f"{front.cpu(cpu)}{front.duration(spent)}{_indent(level)}}}\n"
            texts.append(line + front.irq(addr, cpu, "<=========="))
        return texts

    return render
