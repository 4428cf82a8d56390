# SPDX-License-Identifier: Apache-2.0
"""Text of a printf format and arguments in the kernel's packed form.

Mirrors vbin_printf() and bstr_printf() (lib/vsprintf.c): integers lie at multiples of their size, eight bytes at
multiples of four, strings in line with their NUL. Pointers that %p would dereference were turned into text when the
record was written, except %pS %ps %px %pK %pe.
"""

from __future__ import annotations

import re

from rbdump.events.facts import Facts

__all__ = ["bprintf"]

_SPEC = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?(?P<length>hh|h|ll|l|L|z|Z|t|j)?(?P<conv>.)",
    re.S,
)
_KEPT_POINTERS = "SsxKe"
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
    sizes = {"hh": 1, "h": 2, "l": long_size, "ll": 8, "L": 8, "j": 8, "z": long_size, "Z": long_size, "t": long_size}
    return sizes[length] if length else 4


def _pad(text: str, flags: str, width: int) -> str:
    return text.ljust(width) if "-" in flags else text.rjust(width)


def _number(value: int, flags: str, width: int, precision: int | None, conv: str) -> str:
    digits = {"o": f"{abs(value):o}", "x": f"{abs(value):x}", "X": f"{abs(value):X}"}.get(conv, str(abs(value)))
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    if conv in "uxXo":
        sign = ""
    prefix = {"x": "0x", "X": "0X", "o": "0"}.get(conv, "") if "#" in flags else ""
    if precision is not None:
        digits = digits.rjust(precision, "0")
    elif "0" in flags and "-" not in flags:
        digits = digits.rjust(width - len(sign) - len(prefix), "0")
    return _pad(sign + prefix + digits, flags, width)


def _pointer(args: _Args, ext: str, facts: Facts, flags: str, width: int) -> str:
    if ext[:1] and ext[0].isalnum() and ext[0] not in _KEPT_POINTERS:
        return _pad(args.string(), flags, width)
    value = args.integer(facts.abi.long_size, signed=False)
    if ext[:1] == "S":
        text = facts.symbols.pS[value]
    elif ext[:1] == "s":
        text = facts.symbols.ps[value]
    elif ext[:1] == "e":
        signed = value - (facts.abi.long_mask + 1) if value > facts.abi.long_mask >> 1 else value
        text = str(signed) if -4095 <= signed < 0 else f"{value:0{2 * facts.abi.long_size}x}"
    else:  # plain %p is a hash that only the dead kernel could make: the value itself
        text = f"{value:0{2 * facts.abi.long_size}x}"
    return _pad(text, flags, width)


def bprintf(template: str, raw: bytes, facts: Facts) -> str:
    """The text that the kernel prints of format ``template`` with the packed arguments ``raw``."""
    args = _Args(raw, facts)
    out: list[str] = []
    at = 0
    while (match := _SPEC.search(template, at)) is not None:
        out.append(template[at : match.start()])
        at = match.end()
        flags, conv = match["flags"], match["conv"]
        width, precision = 0, None
        if match["width"] == "*":
            width = args.integer(4, signed=True)
            flags, width = (flags + "-", -width) if width < 0 else (flags, width)
        elif match["width"]:
            width = int(match["width"])
        if match["precision"] == "*":
            given = args.integer(4, signed=True)
            precision = given if given >= 0 else 0
        elif match["precision"] is not None:
            precision = int(match["precision"] or 0)
        width, precision = min(width, _MAX_WIDTH), None if precision is None else min(precision, _MAX_WIDTH)
        if conv == "%":
            out.append("%")
        elif conv == "c":
            out.append(_pad(bytes([args.integer(1, signed=False)]).decode("utf-8", "surrogateescape"), flags, width))
        elif conv == "s":
            text = args.string()
            out.append(_pad(text if precision is None else text[:precision], flags, width))
        elif conv == "p":
            ext = re.match(r"[0-9A-Za-z]*", template[at:])
            assert ext is not None
            at += ext.end()
            out.append(_pointer(args, ext[0], facts, flags, width))
        elif conv in "diuxXo":
            size = _size(match["length"], facts.abi.long_size)
            out.append(_number(args.integer(size, signed=conv in "di"), flags, width, precision, conv))
        else:  # an invalid conversion ends the kernel's interest in arguments: it prints the rest as it is
            out.append(match[0] + template[at:])
            at = len(template)
    out.append(template[at:])
    return "".join(out)
