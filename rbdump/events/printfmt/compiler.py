# SPDX-License-Identifier: Apache-2.0
"""Print fmt to a function that renders the bodies of many records at once.

The function is generated Python source: fields are gathered as numpy columns, expressions computed on columns, and
one list comprehension puts the lines together. Once enough rows were seen, `plan` decides which parts to remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from rbdump.abi import Abi
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.events.printfmt import runtime
from rbdump.events.printfmt.context import Tables
from rbdump.events.printfmt.convert import Fragment, convert
from rbdump.events.printfmt.ctype import TypeTable
from rbdump.events.printfmt.evaluate import Evaluator
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.parser import KEPT_LENGTH, parse_print_fmt
from rbdump.events.printfmt.placement import placed
from rbdump.events.printfmt.plan import Part, Render, Segment, SpanMemo, choose_segments
from rbdump.events.printfmt.template import Conversion, parse_template
from rbdump.events.printfmt.text import blob_texts
from rbdump.events.printfmt.values import Code
from rbdump.events.rows import Rows
from rbdump.events.strings import text_of
from rbdump.events.variables import PAGE_SIZE

__all__ = ["PrintFmt", "compile_print_fmt", "parse_ahead"]

_LEARN = 512
_LIMIT = 1 << 18
_LINE_LIMIT = 1 << 16
_PRINTED_BY_CODE = frozenset({"ftrace", "syscalls", "synthetic"})
"""Systems whose print fmt nobody compiles: the kernel prints their events by functions of its own."""


def compile_print_fmt(fmt: EventFormat, facts: Facts, rows: Rows | None = None) -> PrintFmt:
    """The renderer of a format's events. UnsupportedPrintFmt says why there is none.

    ``rows``: those that it will render first; what repeats in them is remembered from the beginning.
    """
    if len(fmt.print_fmt) > _LIMIT:
        raise UnsupportedPrintFmt(f"the print fmt has {len(fmt.print_fmt)} characters")
    try:
        return PrintFmt(fmt, facts, rows)
    except RecursionError:
        raise UnsupportedPrintFmt("the print fmt is nested too deeply") from None


def parse_ahead(fmt: EventFormat, abi: Abi) -> None:
    """Spare `compile_print_fmt` the half of its work that needs no facts, where it is worth it.

    UnsupportedPrintFmt or RecursionError where there is no renderer.
    """
    if fmt.system not in _PRINTED_BY_CODE and len(fmt.print_fmt) <= KEPT_LENGTH:
        parse_print_fmt(fmt.print_fmt, TypeTable(abi))


class PrintFmt:
    """Renders ``name: body`` lines, newline included, of the records of one event."""

    def __init__(self, fmt: EventFormat, facts: Facts, rows: Rows | None = None) -> None:
        fmt = replace(fmt, fields=tuple(placed(fmt.fields)))
        self._fmt = fmt
        self._fixed = max((field.offset + field.size for field in (*fmt.common_fields, *fmt.fields)), default=0)
        self._facts = facts
        self._types = TypeTable(facts.abi, facts.variables.get(PAGE_SIZE))
        self._tables: Tables = {}
        template, args = parse_print_fmt(fmt.print_fmt, self._types)
        left = list(args)
        parts: list[Part] = []
        conversions = parse_template(template)
        if _least_length(conversions) > _LINE_LIMIT:
            raise UnsupportedPrintFmt(f"it prints lines of more than {_LINE_LIMIT} characters, and no kernel can")
        for part in conversions:
            if isinstance(part, str):
                parts.append(part)
                continue
            wanted = 1 + (part.width == "*") + (part.precision == "*")
            if len(left) < wanted:
                raise UnsupportedPrintFmt("the print fmt has more conversions than arguments")
            parts.append((part, tuple(left[:wanted])))
            del left[:wanted]
        self._parts = _joined([f"{fmt.name}: ", *parts, "\n"])
        self.__source__ = ""
        """The generated source, for people."""
        self.notes: tuple[str, ...] = ()
        """What is rendered less well than the kernel would, each in one sentence; for a finding."""
        segments = self._learn(rows) if rows is not None else None
        self._learned = segments is not None
        self._render = self._generate(segments or [Segment(tuple(self._parts))])

    def __call__(self, rows: Rows) -> list[str]:
        """The line of each row; ``(record too short)`` for one that cannot hold the fixed fields."""
        if not len(rows):
            return []
        if rows.length.min() < self._fixed:
            return self._render_long_ones(rows)
        if not self._learned:
            segments = self._learn(rows)
            self._learned = segments is not None
            if segments is not None and any(segment.span is not None for segment in segments):
                self._render = self._generate(segments)
        with np.errstate(all="ignore"):
            return self._render(rows)

    def _learn(self, rows: Rows) -> list[Segment] | None:
        """How the line falls into segments; None where these rows are too few, or too short, to tell."""
        if len(rows) < _LEARN or rows.length.min() < self._fixed:
            return None
        fields = {f.name: f for f in (*self._fmt.common_fields, *self._fmt.fields)}
        return choose_segments(self._parts, fields, rows)

    def _render_long_ones(self, rows: Rows) -> list[str]:
        lines = [f"{self._fmt.name}: (record too short)\n"] * len(rows)
        long_enough = np.flatnonzero(rows.length >= self._fixed)
        for row, line in zip(long_enough.tolist(), self(rows.select(long_enough)), strict=True):
            lines[row] = line
        return lines

    def _generate(self, segments: Sequence[Segment]) -> Render:
        names: dict[str, object] = {
            "np": np,
            "repeat": repeat,
            "STRINGS": blob_texts(text_of),
            **{name: getattr(runtime, name) for name in runtime.__all__ if name[0].islower()},
            **{f"{kind}{size}": np.dtype(f"{kind}{size}").type for kind in "iu" for size in (1, 2, 4, 8)},
        }
        code = Code(names)
        evaluator = Evaluator(self._fmt, self._facts, self._types, code, self._tables)
        fragments: list[Fragment] = []
        remembered: list[str] = []
        for segment in segments:
            if segment.span is not None:
                memo = SpanMemo(self._generate([Segment(segment.parts)]), segment.span)
                remembered.append(self.__source__)
                fragments.append(Fragment("%s", (code.let(f"{code.bind(memo, 'memo')}(rows)", "s"),)))
                continue
            for part in segment.parts:
                if isinstance(part, str):
                    fragments.append(Fragment(part.replace("%", "%%")))
                else:
                    fragments.append(convert(evaluator, part[0], list(part[1])))
        if evaluator.notes:
            self.notes = tuple(dict.fromkeys((*self.notes, *evaluator.notes)))
        code.lines.append(f"return {_line(fragments)}")
        source = "def render(rows):\n    " + "\n    ".join(code.lines) + "\n"
        exec(compile(source, f"<print fmt of {self._fmt.name}>", "exec"), names)
        self.__source__ = "\n".join([*remembered, source])
        render: Render = names["render"]  # type: ignore[assignment]
        return render


def _least_length(parts: Sequence[str | Conversion]) -> int:
    """Characters that a template prints at least, or may where the record holds the width."""
    length = 0
    for part in parts:
        if isinstance(part, str):
            length += len(part)
            continue
        for size in (part.width, part.precision if part.letter != "s" else None):
            length += (
                1 if size is None else runtime.WIDTH_LIMIT if isinstance(size, str) else min(size, runtime.WIDTH_LIMIT)
            )
    return length


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Neighbouring literals as one."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _line(fragments: Sequence[Fragment]) -> str:
    """The expression of the list of lines."""
    template = "".join(fragment.template for fragment in fragments)
    lists = [name for fragment in fragments for name in fragment.lists]
    if not lists:
        return f"[{template % ()!r}] * len(rows)"
    if template == "%s" and len(lists) == 1:
        return lists[0]
    names = [f"a{position}" for position in range(len(lists))]
    target = f"{', '.join(names)}" + ("," if len(lists) == 1 else "")
    source = lists[0] if len(lists) == 1 else f"zip({', '.join(lists)})"
    loop = f"for {names[0] if len(lists) == 1 else target} in {source}"
    if all(fragment.template in ("%s", "%d", "%x", "%#x") for fragment in fragments if fragment.lists):
        # an f-string without format specifications is the fastest way to join text and plain integers
        pieces = ""
        rest = iter(names)
        for fragment in fragments:
            if not fragment.lists:
                pieces += _quoted((fragment.template % ()).replace("{", "{{").replace("}", "}}"))
            elif "x" not in fragment.template:
                pieces += f"{{{next(rest)}}}"
            elif "#" in fragment.template or pieces.endswith("0x"):
                pieces = f"{pieces if '#' in fragment.template else pieces[:-2]}{{hex({next(rest)})}}"
            else:
                pieces += f"{{hex({next(rest)})[2:]}}"
        return f'[f"{pieces}" {loop}]'
    return f"[{template!r} % ({target}) {loop}]"


def _quoted(text: str) -> str:
    """Text as it stands between double quotes in Python source."""
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
