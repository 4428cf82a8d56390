# SPDX-License-Identifier: Apache-2.0
"""What the parts of the compiler need of an evaluation in progress."""

from __future__ import annotations

from typing import Protocol

from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat, Field
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType, TypeTable
from rbdump.events.printfmt.values import Code, Int, Value
from rbdump.memo import Memo

__all__ = ["Context", "Tables"]

Tables = dict[int, tuple[n.Node, list[tuple[int, str]]]]
"""Flag and name tables by the identity of their first entry, which is kept so that it stays unique."""


class Context(Protocol):
    """An evaluation of one format into one function; `rbdump.events.printfmt.evaluate.Evaluator` is the only one."""

    fmt: EventFormat
    facts: Facts
    types: TypeTable
    code: Code
    page_map: tuple[int, int] | None
    """The address of the struct page of frame 0 and the bytes of each, None when they are not known."""
    notes: list[str]
    """What is rendered less well than the kernel would, in words."""
    strings_at: Memo[str]
    """Strings of the kernel's memory by their address."""
    tables: Tables
    """Shared by all functions of a format."""

    def value(self, node: n.Node) -> Value:
        """The value of an expression."""

    def integer(self, node: n.Node) -> Int:
        """The value of an expression that must be an integer or a kernel pointer."""

    def constant(self, node: n.Node) -> int:
        """The value of an expression that must be a constant."""

    def resolve(self, name: n.TypeName) -> CType:
        """The type that a type name means."""

    def type_of(self, value: Value) -> CType:
        """The C type of a value."""

    def field(self, name: str) -> Field:
        """The field that ``REC->name`` means."""

    def dynamic_field(self, name: str) -> Field:
        """The field that ``__get_str(name)`` and its like mean."""
