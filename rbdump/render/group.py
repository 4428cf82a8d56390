# SPDX-License-Identifier: Apache-2.0
"""The rows of one event in a slice: what a renderer of event bodies is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rbdump.events.entries import Entries
from rbdump.events.facts import LINE_LIMIT
from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Rows
from rbdump.ring.records import TRACE_ENTRY_SIZE

__all__ = [
    "Group",
    "MissingField",
    "Renderer",
    "bounded",
    "column",
    "cut",
    "field_named",
    "or_else",
    "payloads",
    "render_by_event",
    "tails",
]

_LINE_LIMIT = min(LINE_LIMIT.values())
_FIRST_ROWS = 4096
_ROOM = 32 << 20


class MissingField(Exception):
    """A format lacks a field that a renderer of ftrace's own events needs; never leaves the package."""


@dataclass(slots=True)
class Group:
    """Some rows of a slice, all of one event id, each as long as the event's fixed fields."""

    rows: Rows
    """Their payloads."""
    entries: Entries
    """The whole slice."""
    index: npt.NDArray[np.intp]
    """Which rows of the slice these are."""
    leaf: npt.NDArray[np.int64] | None = None
    """For each row of the slice the payload offset of the exit that a function graph entry is folded with, or -1."""

    def __len__(self) -> int:
        return len(self.index)

    def select(self, mask: npt.NDArray[np.bool_]) -> Group:
        """The rows that a mask over these rows chooses."""
        return Group(self.rows.select(mask), self.entries, self.index[mask], self.leaf)


Renderer = Callable[[Group], list[str]]
"""Bodies of the rows of a group, each with its newline; a body may be several lines."""


def field_named(fmt: EventFormat, name: str) -> Field:
    """The field of that name. MissingField when there is none."""
    for field in fmt.fields:
        if field.name == name:
            return field
    raise MissingField(f"the format has no field {name}")


def column(rows: Rows, field: Field) -> list[int]:
    """The integers of a scalar field."""
    values: list[int] = rows.integers(field.offset, field.size, signed=field.signed).tolist()
    return values


def tails(rows: Rows, field_offset: int) -> list[bytes]:
    """The bytes of each payload from ``field_offset`` to its end."""
    data = rows.memory.data.data
    begin = (rows.offset + field_offset).tolist()
    end = (rows.offset + rows.length).tolist()
    return [bytes(data[first:last]) for first, last in zip(begin, end, strict=True)]


def payloads(rows: Rows) -> list[bytes]:
    """The bytes behind the trace_entry of each record; all of one that is too short for it."""
    size = TRACE_ENTRY_SIZE
    return [raw[size:] if len(raw) >= size else raw for raw in tails(rows, 0)]


def render_by_event(ids: npt.NDArray[np.uint16], render: Callable[[int, npt.NDArray[np.intp]], list[str]]) -> list[str]:
    """One text for each row: ``render`` is given each event id and its rows, and makes theirs."""
    if not len(ids):
        return []
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    bounds = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
    texts: list[str] = []
    for begin, end in pairwise(bounds):
        texts += render(int(ids[begin]), order[begin:end])
    out = np.empty(len(ids), object)
    out[order] = texts
    result: list[str] = out.tolist()
    return result


def or_else(values: Callable[[Rows], list[str]], least: int, otherwise: str) -> Callable[[Rows], list[str]]:
    """The same for records of any length: ``otherwise`` stands for those of less than ``least`` bytes."""

    def safe(rows: Rows) -> list[str]:
        fits: npt.NDArray[np.bool_] = rows.length >= least
        if fits.all():
            return values(rows)
        texts = [otherwise] * len(rows)
        chosen = np.flatnonzero(fits)
        for row, text in zip(chosen.tolist(), values(rows.select(chosen)), strict=True):
            texts[row] = text
        return texts

    return safe


def cut(text: str) -> str:
    """A body that is too long for a kernel to print, its begin and the kernel's words for that; others as they are."""
    return text if len(text) <= _LINE_LIMIT else f"{text[:_LINE_LIMIT]}[LINE TOO BIG]\n"


def bounded(render: Callable[[Rows], list[str]], rows: Rows) -> list[str]:
    """The bodies that ``render`` gives; where they are long, of some rows at a time and none longer than a kernel's.

    A format may ask for blanks or numbers without end, and a slice has many rows.
    """
    texts: list[str] = []
    step = _FIRST_ROWS
    while len(texts) < len(rows):
        done = len(texts)
        part = render(rows if step >= len(rows) and not done else rows.select(slice(done, done + step)))
        longest = max(map(len, part))
        texts += part if longest <= _LINE_LIMIT else map(cut, part)
        step = max(1, _ROOM // max(longest, 1))
    return texts
