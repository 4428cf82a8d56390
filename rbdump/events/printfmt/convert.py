# SPDX-License-Identifier: Apache-2.0
"""One conversion of a template applied to its argument, as vsnprintf() of lib/vsprintf.c does it.

Integers are converted to the type that the length modifier names before they are printed: ``%d`` of a 64-bit
field prints its low 32 bits. Python's ``%`` operator agrees with vsnprintf() on the rest, but for ``#`` with octal.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbdump.events.printfmt import integers, memory, pointers
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.builtins import column
from rbdump.events.printfmt.context import Context
from rbdump.events.printfmt.ctype import CType, wrap
from rbdump.events.printfmt.functions import map_ints
from rbdump.events.printfmt.runtime import WIDTH_LIMIT
from rbdump.events.printfmt.template import Conversion
from rbdump.events.printfmt.text import octal
from rbdump.events.printfmt.values import Int, Text

__all__ = ["Fragment", "convert", "sized"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of the line: a template of Python's ``%`` operator and the list variables it takes from."""

    template: str
    lists: tuple[str, ...] = ()


def literal(text: str) -> Fragment:
    """Text that is the same in every row."""
    return Fragment(text.replace("%", "%%"))


def convert(ev: Context, conversion: Conversion, args: list[n.Node]) -> Fragment:
    """The fragment of one conversion; ``args`` are its width, its precision (where ``*``) and its value."""
    stars = [ev.integer(arg) for arg in args[:-1]]
    width: Int | int | None = _star(ev, stars.pop(0)) if conversion.width == "*" else _number(conversion.width)
    precision: Int | int | None = (
        _star(ev, stars.pop(0)) if conversion.precision == "*" else _number(conversion.precision)
    )
    if isinstance(precision, int):
        precision = max(precision, 0)
    left = "-" in conversion.flags
    if conversion.letter == "p":
        text, width = pointers.pointer(ev, conversion, width, args[-1])
        if conversion.extension[:1] in pointers.STRINGS:
            text = _clip(ev, text, precision)
        return finish(ev, text, width, left)
    if conversion.letter == "s":
        text = memory.as_text(ev, ev.value(args[-1]))
        return finish(ev, _clip(ev, text, precision), width, left)
    if conversion.letter == "c":
        value = integers.convert(ev.code, ev.integer(args[-1]), CType("int", 1, False))
        return finish(ev, map_ints(ev, value, _character, "chars"), width, left)
    return _integer(ev, conversion, width, precision, args[-1])


def _star(ev: Context, value: Int) -> Int | int:
    value = integers.convert(ev.code, value, ev.types.int)
    return value if value.const is None else max(min(value.const, WIDTH_LIMIT), -WIDTH_LIMIT)


def _number(value: int | str | None) -> int | None:
    return min(value, WIDTH_LIMIT) if isinstance(value, int) else None


def _character(value: int) -> str:
    return bytes((value,)).decode("utf-8", "surrogateescape")


def sized(conversion: Conversion, long_size: int) -> CType:
    """The C type that an integer conversion takes."""
    size = {"hh": 1, "h": 2, "": 4, "ll": 8, "L": 8}.get(conversion.length, long_size)
    return CType("int", size, conversion.letter in "di")


def _integer(
    ev: Context, conversion: Conversion, width: Int | int | None, precision: Int | int | None, node: n.Node
) -> Fragment:
    to = sized(conversion, ev.types.long_size)
    value = integers.convert(ev.code, ev.integer(node), to)
    keep = "-0+ " if to.signed else "-0#" if conversion.letter in "xX" else "-0"
    flags = "".join(sorted(set(conversion.flags) & set(keep)))
    if "#" in conversion.flags and conversion.letter == "o":
        return _octal(ev, value, width, precision, flags)
    spec, lists = "%", []
    for sign, size in (("", width), (".", precision)):
        if isinstance(size, Int):
            spec += f"{flags if not sign else ''}{sign}*"
            limited = f"np.clip({integers.array(size)}, {-WIDTH_LIMIT if not sign else 0}, {WIDTH_LIMIT})"
            lists.append(ev.code.items(ev.code.let(limited)))
        elif size is not None:
            if sign:
                spec += f".{size}"
            else:
                spec += ("-" if size < 0 and "-" not in flags else "") + flags + str(abs(size))
        elif not sign:
            spec += flags
    spec += {"i": "d", "u": "d"}.get(conversion.letter, conversion.letter)
    if value.const is not None and not lists:
        return literal(spec % value.const)
    if value.const is not None:
        value = Int(value.type, None, ev.code.let(f"np.full(len(rows), {wrap(value.const, to)}, {to.dtype})"))
    return Fragment(spec, (*lists, ev.code.items(ev.code.let(integers.array(value)))))


def _octal(ev: Context, value: Int, width: Int | int | None, precision: Int | int | None, flags: str) -> Fragment:
    """``%#o``, which Python begins with ``0o`` and C does not count among the digits of the precision."""
    sizes = (Int(ev.types.int, size or 0) if not isinstance(size, Int) else size for size in (width, precision))
    columns = ", ".join(column(ev, part) for part in (value, *sizes))
    name = ev.code.bind(lambda v, w, p: octal(v, w, p, "-" in flags, "0" in flags), "octal")
    return Fragment("%s", (ev.code.let(f"[*map({name}, {columns})]", "s"),))


def _clip(ev: Context, text: Text, precision: Int | int | None) -> Text:
    if precision is None:
        return text
    items = memory.items_of(ev, text)
    if isinstance(precision, int):
        if text.const is not None and text.const.isascii():
            return Text(text.const[:precision])
        return Text(None, ev.code.let(f"clip({items}, repeat({precision}))", "s"))
    return Text(None, ev.code.let(f"clip({items}, {ev.code.items(ev.code.let(integers.array(precision)))})", "s"))


def finish(ev: Context, text: Text, width: Int | int | None, left: bool) -> Fragment:
    """Text padded with blanks to a width."""
    if width is None or width == 0:
        return literal(text.const) if text.const is not None else Fragment("%s", (text.code,))
    if isinstance(width, int) and text.const is not None and text.const.isascii():
        return literal(text.const.ljust(abs(width)) if left or width < 0 else text.const.rjust(width))
    items = memory.items_of(ev, text)
    widths = f"repeat({width})" if isinstance(width, int) else ev.code.items(ev.code.let(integers.array(width)))
    return Fragment("%s", (ev.code.let(f"pad({items}, {widths}, {left})", "s"),))
