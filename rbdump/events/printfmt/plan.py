# SPDX-License-Identifier: Apache-2.0
"""Which parts of a line are worth remembering: bytes of the record that repeat give text that repeats.

A segment is a run of conversions whose fields lie close together in the record. When the bytes of those fields take
few values in a sample of the rows, the text of the segment is kept in a table with these bytes as the key, so that a
row costs one look-up instead of every conversion. The table never changes what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from rbdump.events.format import Field
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.template import Conversion
from rbdump.events.rows import Rows

__all__ = ["Part", "Segment", "SpanMemo", "choose_segments", "span_of"]

_SPAN_LIMIT = 96
_TABLE_LIMIT = 1 << 14
_SAMPLE = 2048
_INTEGERS = (1, 2, 4, 8)
_DYNAMIC = ("__get_", "__print_dynamic", "__print_stacktrace", "__probe_str")
_CONSTANT = frozenset({n.Number, n.String, CType, str, int, NoneType})
"""What a syntax tree is made of and reads nothing of a record: most of a table of flags."""

Span = tuple[int, int]
Part = str | tuple[Conversion, tuple[n.Node, ...]]
Render = Callable[[Rows], list[str]]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive parts; with a span, their text is remembered by the bytes of that span."""

    parts: tuple[Part, ...]
    span: Span | None = None


def _fields_of(node: object, found: set[str]) -> bool:
    """Collect the fields that an expression reads; False when it reads more of the record than fixed fields."""
    if type(node) in _CONSTANT:
        return True
    if isinstance(node, n.Member) and isinstance(node.of, n.Ident) and node.of.name == n.RECORD:
        found.add(node.name)
        return True
    if isinstance(node, n.Ident):
        return node.name != n.RECORD
    if isinstance(node, n.Call) and node.name.startswith(_DYNAMIC):
        return False
    if isinstance(node, n.Call) and node.name.startswith("__event_in_"):
        found.add("common_flags")
    if isinstance(node, tuple):
        return all(_fields_of(item, found) for item in node)
    members: Iterable[str] = getattr(type(node), "__dataclass_fields__", ())
    return all(_fields_of(getattr(node, name), found) for name in members)


def span_of(part: Part, fields: dict[str, Field]) -> Span | None:
    """The bytes of the record that a part depends on: (0, 0) for none, None when they are not known beforehand."""
    if isinstance(part, str):
        return (0, 0)
    found: set[str] = set()
    if not _fields_of(part[1], found):
        return None
    span = (0, 0)
    for name in found:
        field = fields.get(name)
        if field is None or field.is_dynamic or not field.size:
            return None
        span = _union(span, (field.offset, field.offset + field.size))
    return span


def _union(a: Span, b: Span) -> Span:
    if a == (0, 0) or b == (0, 0):
        return b if a == (0, 0) else a
    return min(a[0], b[0]), max(a[1], b[1])


def _keys(rows: Rows, span: Span) -> list[Any]:
    begin, end = span
    keys: list[Any]
    if end - begin in _INTEGERS:
        keys = rows.integers(begin, end - begin, signed=False).tolist()
    else:
        keys = rows.char_arrays(begin, end - begin).tolist()
    return keys


def choose_segments(parts: Sequence[Part], fields: dict[str, Field], rows: Rows) -> list[Segment]:
    """The segments of a line, judged by the first rows."""
    sample = rows.select(np.arange(min(len(rows), _SAMPLE)))
    limit = len(sample) // 6
    spans = [span_of(part, fields) for part in parts]
    counts: dict[Span, bool] = {}

    def repeats(span: Span) -> bool:
        known = counts.get(span)
        if known is None:
            known = counts[span] = span[1] - span[0] <= _SPAN_LIMIT and len(set(_keys(sample, span))) <= limit
        return known

    segments: list[Segment] = []
    plain: list[Part] = []
    at = 0
    while at < len(parts):
        span, end = (0, 0), at
        best, best_end = (0, 0), at
        while end < len(parts):
            following = spans[end]
            if following is None:
                break
            span = _union(span, following)
            if span != (0, 0) and not repeats(span):
                break
            end += 1
            best, best_end = span, end
        if best == (0, 0):
            plain.append(parts[at])
            at += 1
            continue
        start: tuple[Part, ...] = (plain.pop(),) if plain and isinstance(plain[-1], str) else ()
        if plain:
            segments.append(Segment(tuple(plain)))
            plain = []
        segments.append(Segment((*start, *parts[at:best_end]), best))
        at = best_end
    if plain:
        segments.append(Segment(tuple(plain)))
    return segments


class SpanMemo:
    """The text of one segment, remembered by the bytes it depends on."""

    __slots__ = ("_render", "_span", "_strikes", "_table")

    def __init__(self, render: Render, span: Span) -> None:
        self._render = render
        self._span = span
        self._table: dict[Any, str] = {}
        self._strikes = 0

    def __call__(self, rows: Rows) -> list[str]:
        """The text of each row."""
        if self._strikes > 3:
            return self._render(rows)
        keys = _keys(rows, self._span)
        try:
            return [*map(self._table.__getitem__, keys)]
        except KeyError:
            self._fill(rows, keys)
            return [*map(self._table.__getitem__, keys)]

    def _fill(self, rows: Rows, keys: list[Any]) -> None:
        table = self._table
        missing = {key: row for row, key in enumerate(keys) if key not in table}
        if len(missing) > len(keys) // 2 and len(keys) > 256:
            self._strikes += 1
        if len(table) + len(missing) > _TABLE_LIMIT:
            table.clear()
            missing = {key: row for row, key in enumerate(keys)}
        chosen = np.fromiter(missing.values(), np.int64, len(missing))
        table.update(zip(missing, self._render(rows.select(chosen)), strict=True))
