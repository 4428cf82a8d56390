# SPDX-License-Identifier: Apache-2.0
"""The kernel's event filter language: ``next_pid == 42 && prev_comm ~ "sh*"``.

The grammar is that of parse_pred() and predicate_parse() in kernel/trace/trace_events_filter.c; `predicates` evaluates
it over columns. More lenient than the kernel in one place: a string needs no quotes when it is one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from rbdump.errors import UsageError
from rbdump.events.cpulist import parse_cpulist
from rbdump.events.format import EventFormat
from rbdump.events.predicates import Cpus, FilterContext, Predicate, Word, evaluate, problem
from rbdump.events.rows import Rows

__all__ = ["Filter", "FilterContext", "parse_filter"]

_LENGTH_LIMIT = 1 << 16
_DEPTH_LIMIT = 64

_BLANK = re.compile(r"\s*")
_FIELD = re.compile(r"\w+", re.ASCII)
_SUFFIX = re.compile(r"\.(ustring|function)(?!\w)")
# Two characters before one, so that "<=" is not taken for "<".
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|&|~")
_BARE = re.compile(r"(?:(?![&|]{2})[^\s()'\"])+")


@dataclass(frozen=True, slots=True)
class _Not:
    inner: _Node


@dataclass(frozen=True, slots=True)
class _Both:
    """``a && b && c``; a chain is one node, so that its length is no depth."""

    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    """``a || b || c``."""

    parts: tuple[_Node, ...]


_Node = Predicate | _Not | _Both | _Either


def _predicates(node: _Node) -> Iterator[Predicate]:
    stack = [node]
    while stack:
        match stack.pop():
            case _Not(inner):
                stack.append(inner)
            case _Both(parts) | _Either(parts):
                stack += reversed(parts)
            case Predicate() as predicate:
                yield predicate


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def fail(self, what: str, at: int | None = None) -> UsageError:
        position = (self.at if at is None else at) + 1
        shown = self.text if len(self.text) <= 200 else self.text[:200] + "..."
        return UsageError(f"filter {shown!r}: {what}, at character {position}")

    def blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, token: str) -> bool:
        self.blank()
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def whole(self) -> _Node:
        node = self.either()
        self.blank()
        if self.text.startswith(")", self.at):
            raise self.fail("this `)` has no `(`")
        if self.at < len(self.text):
            raise self.fail("`&&`, `||` or the end is expected")
        return node

    def either(self) -> _Node:
        parts = [self.both()]
        while self.take("||"):
            parts.append(self.both())
        return _Either(tuple(parts)) if len(parts) > 1 else parts[0]

    def both(self) -> _Node:
        parts = [self.one()]
        while self.take("&&"):
            parts.append(self.one())
        return _Both(tuple(parts)) if len(parts) > 1 else parts[0]

    def one(self) -> _Node:
        self.depth += 1
        if self.depth > _DEPTH_LIMIT:
            raise self.fail(f"more than {_DEPTH_LIMIT} levels of `!` and parentheses")
        node: _Node
        if self.take("!"):
            node = _Not(self.one())
        elif self.take("("):
            opened = self.at - 1
            node = self.either()
            if not self.take(")"):
                raise self.fail("this `(` has no `)`", opened)
        else:
            node = self.predicate()
        self.depth -= 1
        return node

    def predicate(self) -> Predicate:
        self.blank()
        name = _FIELD.match(self.text, self.at)
        if name is None:
            raise self.fail("the name of a field is expected")
        self.at = name.end()
        suffix = _SUFFIX.match(self.text, self.at)
        if suffix:
            self.at = suffix.end()
        self.blank()
        operator = _OPERATOR.match(self.text, self.at)
        if operator is None or (operator[0] == "&" and self.text.startswith("&&", self.at)):
            raise self.fail(f"one of == != < <= > >= & ~ is expected behind {name[0]}")
        self.at = operator.end()
        self.blank()
        value = self.value()
        kind = suffix[1] if suffix else ""
        if kind == "function" and operator[0] not in ("==", "!="):
            raise self.fail("a function is compared by == and != only", operator.start())
        if isinstance(value, Cpus) and operator[0] not in ("==", "!=", "&"):
            raise self.fail("a set of CPUs is compared by ==, != and & only", operator.start())
        if isinstance(value, Word) and value.quoted and operator[0] not in ("==", "!=", "~"):
            raise self.fail("a string is compared by ==, != and ~ only", operator.start())
        if operator[0] == "~" and isinstance(value, Word) and not value.quoted and value.number is not None:
            raise self.fail("~ takes a string with *, ? or []", operator.start())
        return Predicate(name[0], kind, operator[0], value)

    def value(self) -> Word | Cpus:
        begin = self.at
        quote = self.text[begin : begin + 1]
        if quote in ('"', "'") and quote:
            end = self.text.find(quote, begin + 1)
            if end < 0:
                raise self.fail("this quote has no end", begin)
            self.at = end + 1
            return Word(self.text[begin + 1 : end], True)
        if self.text.startswith("CPUS", begin):
            self.at = begin + 4
            if not self.text.startswith("{", self.at):
                raise self.fail("`{` is expected behind CPUS")
            end = self.text.find("}", self.at)
            if end < 0:
                raise self.fail("this `{` has no `}`")
            try:
                # bitmap_parselist() takes blanks for commas, and as many as there are
                cpus = parse_cpulist(",".join(re.findall(r"[^\s,]+", self.text[self.at + 1 : end])))
            except UsageError as error:
                raise self.fail(str(error), self.at + 1) from None
            self.at = end + 1
            return Cpus(cpus)
        word = _BARE.match(self.text, begin)
        if word is None:
            raise self.fail("a number or a string is expected")
        self.at = word.end()
        return Word(word[0], False)


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter; it holds for any event that has the fields it names."""

    text: str
    _root: _Node

    def fields(self) -> list[str]:
        """The fields it names, in order, each once."""
        return list(dict.fromkeys(predicate.field for predicate in _predicates(self._root)))

    def problems(self, fmt: EventFormat) -> list[str]:
        """Why no record of this event can match, one reason for each predicate that does not suit it; for people."""
        found = (problem(predicate, fmt) for predicate in _predicates(self._root))
        return list(dict.fromkeys(reason for reason in found if reason))

    def never(self, fmts: Sequence[EventFormat]) -> list[str]:
        """Why no record of any of these events can match: for each predicate that suits none, a reason, for people."""
        found = []
        for predicate in dict.fromkeys(_predicates(self._root)):
            reasons = [problem(predicate, fmt) for fmt in fmts]
            if all(reasons):  # what an event says that has the field tells more than that others have none
                found.append(min(filter(None, reasons), key=lambda reason: reason.startswith("it has no field")))
        return list(dict.fromkeys(found))

    def mask(self, fmt: EventFormat, rows: Rows, context: FilterContext) -> npt.NDArray[np.bool_]:
        """Which records of one event match; none does when `problems` has any.

        UsageError when a function is named that the symbols do not know.
        """
        if self.problems(fmt):
            return np.zeros(len(rows), bool)

        def walk(node: _Node) -> npt.NDArray[np.bool_]:
            match node:
                case _Not(inner):
                    return ~walk(inner)
                case _Both(parts):
                    return reduce(np.logical_and, map(walk, parts))
                case _Either(parts):
                    return reduce(np.logical_or, map(walk, parts))
                case Predicate() as predicate:
                    return evaluate(predicate, fmt, rows, context)

        return walk(self._root)


def parse_filter(text: str) -> Filter:
    """The filter that ``text`` spells. UsageError, with the position, when it is none."""
    if len(text) > _LENGTH_LIMIT:
        raise UsageError(f"the filter has {len(text)} characters, and more than {_LENGTH_LIMIT} are not read")
    parser = _Parser(text)
    parser.blank()
    if parser.at == len(text):
        raise UsageError('the filter is empty; an example of one: next_pid == 42 && prev_comm ~ "sh*"')
    return Filter(text, parser.whole())
