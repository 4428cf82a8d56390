# SPDX-License-Identifier: Apache-2.0
"""What an expression of a print fmt is while its code is generated.

A value is either known when the format is compiled (``const``) or the name of a variable of the generated
function that holds one item per row: a numpy array of exactly the C type for integers, a list for text.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.nodes import InitList

__all__ = ["Code", "Int", "Mem", "Table", "Text", "Value"]


@dataclass(frozen=True, slots=True)
class Int:
    """An integer or a kernel pointer."""

    type: CType
    const: int | None = None
    code: str = ""
    boolean: bool = False
    """The array holds numpy booleans (a comparison), C type int."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    const: str | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Mem:
    """A pointer into the record."""

    elem: CType
    """What it points to."""
    offset: int | str
    """Bytes from the start of the record, or the int64 array of them."""
    avail: int | str
    """Bytes that belong to the object from there on; in an array, -1 is a bad __data_loc."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A constant array that a statement expression declares."""

    items: InitList


Value = Int | Text | Mem | Table


class Code:
    """The body of one function under construction; equal expressions are computed once."""

    def __init__(self, names: dict[str, object]) -> None:
        self.names = names
        self.lines: list[str] = []
        self._known: dict[str, str] = {}

    def let(self, expression: str, prefix: str = "v") -> str:
        """A variable that holds ``expression``."""
        name = self._known.get(expression)
        if name is None:
            name = self._known[expression] = f"{prefix}{len(self._known)}"
            self.lines.append(f"{name} = {expression}")
        return name

    def forget(self, count: int) -> None:
        """Drop all lines but the first ``count``."""
        for line in self.lines[count:]:
            self._known.pop(line.split(" = ", 1)[1], None)
        del self.lines[count:]

    def bind(self, thing: object, prefix: str) -> str:
        """A global name for ``thing``."""
        for name, known in self.names.items():
            if known is thing and name.startswith(prefix):
                return name
        name = f"{prefix}_{len(self.names)}"
        self.names[name] = thing
        return name

    def items(self, array: str) -> str:
        """The list of Python items of a numpy array variable."""
        return self.let(f"{array}.tolist()", "l")
