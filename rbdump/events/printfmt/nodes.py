# SPDX-License-Identifier: Apache-2.0
"""The syntax tree of a print fmt: C expressions, declarations and the statements of ``({ ... })``."""

from __future__ import annotations

from dataclasses import dataclass

from rbdump.errors import SourceError
from rbdump.events.printfmt.ctype import CType

__all__ = [
    "RECORD",
    "Binary",
    "Break",
    "Call",
    "Cast",
    "Comma",
    "Cond",
    "Declare",
    "Evaluate",
    "Ident",
    "If",
    "Index",
    "InitList",
    "Member",
    "Node",
    "Number",
    "Sizeof",
    "Statement",
    "StatementExpr",
    "String",
    "Switch",
    "TypeName",
    "Unary",
    "UnsupportedPrintFmt",
]


RECORD = "REC"
"""What the record is called in print fmts."""


class UnsupportedPrintFmt(SourceError):
    """A print fmt that cannot be rendered; the text says why. The caller shows the event's fields instead."""


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type written out; ``of`` is the operand of a typeof, whose type only the evaluation knows."""

    type: CType | None
    of: Node | None = None
    pointers: int = 0
    name: str = ""
    """A typedef that only the event's fields can tell the size of."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer or character literal."""

    value: int
    type: CType


@dataclass(frozen=True, slots=True)
class String:
    """A string literal, escapes and concatenation resolved."""

    text: str


@dataclass(frozen=True, slots=True)
class Ident:
    """A name: REC, an enumerator, a variable of the kernel."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """``of->name`` or ``of.name``."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """``of[index]``."""

    of: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Unary:
    """``- + ~ ! * &`` before an operand."""

    op: str
    of: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands, assignments (``=``) included."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Cond:
    """``test ? then : other``; ``then`` is None for the GNU ``test ?: other``."""

    test: Node
    then: Node | None
    other: Node


@dataclass(frozen=True, slots=True)
class Comma:
    """``left, right``."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Cast:
    """``(type)of``."""

    type: TypeName
    of: Node


@dataclass(frozen=True, slots=True)
class Sizeof:
    """``sizeof`` of a type or an expression."""

    of: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function or macro by name."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class InitList:
    """``{ a, b }`` of a flag table or an array."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class StatementExpr:
    """GNU ``({ ... })``: its value is that of the last statement."""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Declare:
    """``type name = init;``."""

    type: TypeName
    name: str
    init: Node | None


@dataclass(frozen=True, slots=True)
class Evaluate:
    """An expression as a statement."""

    of: Node


@dataclass(frozen=True, slots=True)
class Break:
    """``break;``."""


@dataclass(frozen=True, slots=True)
class If:
    """``if (test) then else other``."""

    test: Node
    then: tuple[Statement, ...]
    other: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """``switch (of) { ... }``: statements with the labels in front of them, None for ``default``."""

    of: Node
    arms: tuple[tuple[tuple[Node | None, ...], tuple[Statement, ...]], ...]


Node = (
    Number
    | String
    | Ident
    | Member
    | Index
    | Unary
    | Binary
    | Cond
    | Comma
    | Cast
    | Sizeof
    | Call
    | InitList
    | StatementExpr
    | TypeName
)
Statement = Declare | Evaluate | Break | If | Switch
