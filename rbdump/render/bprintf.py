# SPDX-License-Identifier: Apache-2.0
"""Text of a printf format and arguments in the kernel's packed form.

Mirrors vbin_printf() and bstr_printf() (lib/vsprintf.c): integers lie at multiples of their size, eight bytes at
multiples of four, strings in line with their NUL. Pointers that %p would dereference were turned into text when the
record was written, padding included, except %pS %ps %px %pK %pe. Widths and precisions count bytes.
"""

from __future__ import annotations

import re

from rbdump.events.facts import Facts
from rbdump.events.printfmt.errnos import error_name

__all__ = ["bprintf"]

_SPEC = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+)?)?(?P<length>hh|h|ll|l|L|z|t)?"
    r"(?P<conv>[csp%oxXdiu])?"
)
_SUFFIX = re.compile(r"[0-9A-Za-z]*")
_KEPT_POINTERS = ("S", "s", "x", "K", "e")
_MAX_WIDTH = 4096


class _Args:
    """Reads packed arguments one after the other; nothing but zeroes behind their end."""

    def __init__(self, raw: bytes, facts: Facts) -> None:
        self._raw = raw
        self._at = 0
        self._order = facts.abi.byteorder

    def integer(self, size: int, *, signed: bool) -> int:
        align = min(size, 4)
        self._at = -(-self._at // align) * align
        piece = self._raw[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(piece, self._order, signed=signed)

    def string(self) -> str:
        end = self._raw.find(b"\0", self._at)
        end = len(self._raw) if end < 0 else end
        piece = self._raw[self._at : end]
        self._at = end + 1
        return piece.decode("utf-8", "surrogateescape")


def _size(length: str | None, long_size: int) -> int:
    sizes = {"hh": 1, "h": 2, "l": long_size, "ll": 8, "L": 8, "z": long_size, "t": long_size}
    return sizes[length] if length else 4


def _pad(text: str, flags: str, width: int) -> str:
    """Blanks up to a width in bytes."""
    missing = width - (len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape")))
    return text + " " * missing if "-" in flags else " " * missing + text


def _clip(text: str, precision: int | None) -> str:
    if precision is None or text.isascii():
        return text[:precision]
    return text.encode("utf-8", "surrogateescape")[:precision].decode("utf-8", "surrogateescape")


def _number(value: int, flags: str, width: int, precision: int | None, conv: str) -> str:
    sign = prefix = ""
    if conv in "di":
        sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    elif "#" in flags:
        prefix = {"x": "0x", "X": "0X", "o": "0" if value else ""}.get(conv, "")
    digits = format(abs(value), conv if conv in "oxX" else "d").rjust(precision or 0, "0")
    if "0" in flags and "-" not in flags:  # beside a precision too, unlike in C
        digits = digits.rjust(width - len(sign) - len(prefix), "0")
    return _pad(sign + prefix + digits, flags, width)


def _pointer(args: _Args, suffix: str, facts: Facts, flags: str, width: int | None, precision: int | None) -> str:
    kind = suffix[:1]
    if kind and kind not in _KEPT_POINTERS:
        return args.string()
    value = args.integer(facts.abi.long_size, signed=False)
    if kind in ("S", "s"):
        names = facts.symbols.pS if kind == "S" else facts.symbols.ps
        return _pad(_clip(names[value], precision), flags, width or 0)
    if kind == "e" and 0 < facts.abi.long_mask + 1 - value <= 4095:
        return _pad(error_name(value, facts.abi.long_size), flags, width or 0)
    # %p, %pK and %pe make a hash of a pointer, which only the dead kernel could explain: the value itself is shown
    if width is None:
        width, flags = 2 * facts.abi.long_size, flags + "0"
    return _number(value, flags, width, precision, "x")


def bprintf(template: str, raw: bytes, facts: Facts) -> str:
    """The text that the kernel prints of format ``template`` with the packed arguments ``raw``."""
    args = _Args(raw, facts)
    out: list[str] = []
    at = 0
    while (match := _SPEC.search(template, at)) is not None:
        out.append(template[at : match.start()])
        at = match.end()
        flags, conv = match["flags"], match["conv"]
        width, precision = _limit(match["width"], args), _limit(match["precision"], args)
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        if precision is not None:
            precision = max(precision, 0)
        if conv is None:  # bstr_printf() gives up at what is no conversion
            return "".join(out)
        if conv == "%":
            out.append("%")
        elif conv == "c":
            char = bytes([args.integer(1, signed=False)]).decode("utf-8", "surrogateescape")
            out.append(_pad(char, flags, width or 0))
        elif conv == "s":
            out.append(_pad(_clip(args.string(), precision), flags, width or 0))
        elif conv == "p":
            suffix = _SUFFIX.match(template, at)
            assert suffix is not None
            at = suffix.end()
            out.append(_pointer(args, suffix[0], facts, flags, width, precision))
        else:
            size = _size(match["length"], facts.abi.long_size)
            out.append(_number(args.integer(size, signed=conv in "di"), flags, width or 0, precision, conv))
    out.append(template[at:])
    return "".join(out)


def _limit(given: str | None, args: _Args) -> int | None:
    """A width or a precision: none, a number, or the next argument."""
    if not given:
        return None
    value = args.integer(4, signed=True) if given == "*" else int(given)
    return max(-_MAX_WIDTH, min(value, _MAX_WIDTH))
