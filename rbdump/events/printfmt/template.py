# SPDX-License-Identifier: Apache-2.0
"""Printf templates: literal text and conversions, as format_decode() of lib/vsprintf.c splits them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["Conversion", "parse_template"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion of a template."""

    flags: str
    width: int | str | None
    """A number, ``*``, or None."""
    precision: int | str | None
    """A number, ``*``, or None, which a dot alone means too."""
    length: str
    """``hh h l ll z t L`` or empty."""
    letter: str
    extension: str = ""
    """The alphanumeric characters behind ``%p``."""


_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>[0-9]{1,9}|\*)?(?:\.(?P<precision>[0-9]{1,9}|\*)?)?"
    r"(?P<length>hh|h|ll|l|L|z|t)?(?P<letter>[a-zA-Z%])"
)
_EXTENSION = re.compile(r"[A-Za-z0-9]*")
_EXTENSIONS = {
    "F": r"F", "f": r"f", "S": r"SR?b?|S", "s": r"s", "B": r"Bb?", "R": r"R", "r": r"r", "b": r"bl?",
    "M": r"M[FR]?", "m": r"m[FR]?", "I": r"I(?:4[hnbl]?|6c?|S[pfschnbl]*)", "i": r"i(?:4[hnbl]?|6c?|S[pfschnbl]*)",
    "E": r"E[achnops]*", "U": r"U[bBlL]?", "V": r"V", "K": r"K", "N": r"NF", "a": r"a[pd]?", "d": r"d[234]?",
    "D": r"D[234]?", "g": r"g", "t": r"t(?:[RTS][dt]?[rsp]*)", "C": r"C[nrfp]?", "G": r"G[pvgt]", "O": r"OF[fnpPcCF]*",
    "f_": r"fw[fP]?", "h": r"h[CDN]?", "x": r"x", "e": r"e", "u": r"us", "k": r"ks", "4": r"4c(?:c|hR?|l|b)",
}  # fmt: skip


def parse_template(template: str) -> list[str | Conversion]:
    """The parts of a template in order. Raises UnsupportedPrintFmt for what no kernel prints."""
    parts: list[str | Conversion] = []
    literal = ""
    position = 0
    while position < len(template):
        at = template.find("%", position)
        if at < 0:
            literal += template[position:]
            break
        literal += template[position:at]
        match = _CONVERSION.match(template, at)
        if match is None:
            raise UnsupportedPrintFmt(f"{template[at : at + 8]!r} is no conversion")
        position = match.end()
        letter = match["letter"]
        if letter == "%":
            literal += "%"
            continue
        extension = ""
        if letter == "p":
            following = template[position : position + 1]
            pattern = _EXTENSIONS.get(following)
            found = re.compile(pattern).match(template, position) if pattern else None
            extension = found.group() if found else ""
            # vsnprintf skips every alphanumeric character behind %p, whether it means something or not
            skipped = _EXTENSION.match(template, position)
            position = skipped.end() if skipped else position
        elif letter not in "diuxXocs":
            raise UnsupportedPrintFmt(f"vsnprintf() has no conversion {match.group()!r}")
        if literal:
            parts.append(literal)
            literal = ""
        precision = (
            None if match["precision"] is None else "*" if match["precision"] == "*" else int(match["precision"])
        )
        width = None if match["width"] is None else "*" if match["width"] == "*" else int(match["width"])
        parts.append(Conversion(match["flags"], width, precision, match["length"] or "", letter, extension))
    if literal:
        parts.append(literal)
    return parts
