# SPDX-License-Identifier: Apache-2.0
"""`rbdump resolve ADDR...`: names for addresses, and places for names, as scripts/faddr2line has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.analysis.placing import Placer
from rbdump.errors import UsageError
from rbdump.findings import Finding, Severity
from rbdump.numbers import parse_number
from rbdump.symbols.symbolizer import Symbolizer
from rbdump.symbols.table import SymbolTable

__all__ = ["Resolved", "parse_addr", "resolve_addrs"]

_HEX = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9a-fA-F]{8,16})")
_NUMBER = r"(0x[0-9a-fA-F]{1,16}|\d{1,19})"
_SYMBOL = re.compile(rf"([A-Za-z_.$][\w.$]*)(?:\+{_NUMBER})?(?:/{_NUMBER})?(?: \[([\w-]+)\])?")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answers to ADDR arguments."""

    texts: list[str]
    findings: list[Finding]
    errors: list[UsageError]
    """Why arguments have no answer."""


def parse_addr(text: str) -> int | str | None:
    """An argument as an address (``0x...``, or 8 to 16 hex digits), or as a symbol (``name+0x12``); None if neither."""
    if _HEX.fullmatch(text):
        return int(text, 16)
    return text if _SYMBOL.fullmatch(text) else None


def resolve_addrs(placer: Placer, words: list[str], *, stated: bool) -> Resolved:
    """``name+0x12/0x340 file:line`` of each address or ``name+0x12``, and what is wrong with them.

    ``stated``: the user said where the kernel was; without that, addresses are taken as those of the link, which a
    finding says unless the kernel cannot move. What has no name is spelled as the kernel spells it, ``0x...``. A name
    that several symbols have gets a line for each, with the address in front.
    """
    placed = placer.at_link_addresses()
    if placed.table is None:
        return Resolved([*words], list(placed.findings), [])
    symbolizer = Symbolizer(placed.table, placer.abi)
    texts: list[str] = []
    notes: list[Finding] = []
    errors: list[UsageError] = []
    unknown = 0
    named = False
    for word in words:
        addr = parse_addr(word)
        if isinstance(addr, int):
            found = symbolizer.lookup(addr) is not None
            unknown += not found
            named |= found
            answers = [(addr, symbolizer.pS[addr])]
        else:
            try:
                answers = _symbols(symbolizer, placed.table, word, notes)
            except UsageError as error:
                errors.append(error)
                continue
        for addr, text in answers:
            line = placed.line_of(addr)
            text = f"{addr:#x} {text}" if len(answers) > 1 else text
            texts.append(f"{text} {line}" if line else text)
    findings = [finding for finding in placed.findings if finding.severity is Severity.ERROR]
    if named and not stated and placed.table.names.of_movable_kernel:
        message = (
            "the addresses are taken as link-time addresses, as if KASLR had not moved the kernel;"
            " --text-addr says where it was"
        )
        findings.append(Finding(Severity.WARNING, "link-time-addresses", message))
    if unknown:
        message = (
            f"{unknown} of {len(words)} addresses are not in the kernel where it is taken to have been;"
            " --text-addr gives the address of _text in the boot that they are of"
        )
        findings.append(Finding(Severity.WARNING, "address-unknown", message))
    return Resolved(texts, [*findings, *notes], errors)


def _symbols(symbolizer: Symbolizer, table: SymbolTable, word: str, notes: list[Finding]) -> list[tuple[int, str]]:
    """The address and the text of ``name+0x12/0x340 [module]`` for each symbol that it may be; UsageError if none."""
    match = _SYMBOL.fullmatch(word)
    starts = table.addrs_named(match[1], match[4]) if match is not None else np.empty(0, np.uint64)
    if match is None or not len(starts):
        raise UsageError(f"{word!r} is no address, no symbol of the image and no file")
    name, offset = match[1], parse_number(match[2] or "0") or 0
    sizes = table.nearest(starts)[2]
    fits = np.ones(len(starts), np.bool_)
    if match[3] is not None:
        fits = sizes == parse_number(match[3])
        if not fits.any():
            raise UsageError(f"{word!r} is of another kernel or symbol: the size of {name} is {_listed(sizes)} here")
    fits &= offset <= sizes
    if not fits.any():
        raise UsageError(f"{word!r} lies behind the end of {name}, whose size is {_listed(sizes)}")
    if match[2] is not None and not match[2].startswith("0x"):
        message = f"{word!r} is taken as {offset} bytes; {name}+0x{match[2]} is hexadecimal, as the kernel prints it"
        notes.append(Finding(Severity.WARNING, "decimal-offset", message))
    chosen = list(zip(starts[fits].tolist(), sizes[fits].tolist(), strict=True))
    if len(chosen) > 1:
        message = f"{len(chosen)} symbols are called {name}; each has a line, with its address in front"
        notes.append(Finding(Severity.WARNING, "ambiguous-symbol", message))
    # what follows a call that never returns may lie behind the last byte of its function
    return [
        (start + offset, (symbolizer.pB if 0 < offset == size else symbolizer.pS)[start + offset])
        for start, size in chosen
    ]


def _listed(sizes: npt.NDArray[np.uint64]) -> str:
    return " or ".join(f"{size:#x}" for size in np.unique(sizes).tolist())
