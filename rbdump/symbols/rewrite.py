# SPDX-License-Identifier: Apache-2.0
"""Puts names in the place of kernel addresses in text: traces, stacks, oopses, whatever a console spat out.

The kernel prints addresses as ``%px``, ``%lx`` and ``%016lx`` print them: lower case hex, with or without ``0x``,
padded with zeros or not. Only numbers inside what the symbols cover are touched; heap pointers and all else stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.memo import Memo
from rbdump.symbols.symbolizer import Symbolizer
from rbdump.symbols.table import SymbolTable
from rbdump.symbols.words import lowest_addr

__all__ = ["AddressRewriter", "LineAppender", "addresses_in"]

_WORD = frozenset(bytes([c]) for c in b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_HEAD = frozenset((b"0", b"x"))
"""What the part of an address in front of its significant digits ends with."""
_MAX_GAP = 1 << 20
"""Bytes between two symbols that still count as one range."""
_MAX_RANGES = 64
_MIN_BARE_DIGITS = 9
"""A number of fewer digits is an address only if ``0x`` or zeros up to the width of a pointer say so."""
_ADDRESS = re.compile(rb"(?<![0-9A-Za-z_])(?:0x)?([0-9a-f]{6,16})(?![0-9A-Za-z_])")

_NAMED = re.compile(
    rb"(?<![\w.$])([A-Za-z_][\w.$]*)\+(0x[0-9a-f]+)/(0x[0-9a-f]+)"
    rb"(?![\w/]| \[| \([^ ()]+:\d+\))"  # a module's symbol, or one that has its line
)


class AddressRewriter:
    """Replaces addresses by names, ``name+0x12/0x340 [module]``."""

    def __init__(
        self, table: SymbolTable, abi: Abi, *, keep: bool = False, line_of: Callable[[int], str | None] | None = None
    ) -> None:
        """``keep`` leaves the address in front of its name; ``line_of`` gives ``file:line`` of an address or None."""
        self._symbolizer = Symbolizer(table, abi)
        self._width = 2 * abi.long_size
        self._keep = keep
        self._line_of = line_of
        self._names = Memo(self._spell)
        self._pattern = _pattern(_ranges(table, abi))

    def rewrite(self, text: bytes) -> bytes:
        """The text with names; the very same object when there is nothing to name in it."""
        pieces = self._pattern.split(text)
        if len(pieces) == 1:
            return text
        names, keep = self._names, self._keep
        out: list[bytes] = []
        before = pieces[0]
        changed = False
        for digits, after in zip(pieces[1::2], pieces[2::2], strict=True):
            name = names[digits]
            stem = None if name is None else self._stem(before, len(digits))
            if stem is None or name is None:
                out += (before, digits)
            else:
                out += (before, digits, b" ", name) if keep else (stem, name)
                changed = True
            before = after
        out.append(before)
        return b"".join(out) if changed else text

    def _stem(self, before: bytes, digits: int) -> bytes | None:
        """What stands in front of the number whose last ``digits`` digits follow; None if that is no address."""
        last = before[-1:]
        if last not in _HEAD:
            if last in _WORD:
                return None
            return before if digits == self._width or digits >= _MIN_BARE_DIGITS else None
        stem = before.rstrip(b"0")
        total = digits + len(before) - len(stem)
        marked = stem.endswith(b"0x")
        if marked:
            stem = stem[:-2]
        if stem[-1:] in _WORD:
            return None
        alone = total == self._width or (total == digits and digits >= _MIN_BARE_DIGITS)
        return stem if marked or alone else None

    def _spell(self, digits: bytes) -> bytes | None:
        """The name of the address that ends with these digits; None if it has none."""
        addr = int(digits, 16)
        if self._symbolizer.lookup(addr) is None:
            return None
        text = self._symbolizer.pS[addr]
        line = self._line_of(addr) if self._line_of is not None else None
        return f"{text} ({line})".encode() if line else text.encode("utf-8", "surrogateescape")


class LineAppender:
    """Puts ``(file:line)`` behind what has its name already, ``name+0x12/0x340`` as %pS prints it."""

    def __init__(self, line_of: Callable[[str, int, int], str | None]) -> None:
        """``line_of`` gives ``file:line`` of a name, the bytes into it and its size, or None."""
        self._line_of = line_of
        self._spelled = Memo(self._spell)

    def append(self, text: bytes) -> bytes:
        """The text with lines."""
        return _NAMED.sub(lambda found: self._spelled[found.group(0, 1, 2, 3)], text) if b"/0x" in text else text

    def _spell(self, found: tuple[bytes, bytes, bytes, bytes]) -> bytes:
        text, name, offset, size = found
        line = self._line_of(name.decode("ascii"), int(offset, 16), int(size, 16))
        return text + f" ({line})".encode() if line else text


def addresses_in(text: bytes, abi: Abi) -> npt.NDArray[np.uint64]:
    """Every number of a text that may be a kernel address, in text order."""
    low = lowest_addr(abi)
    found = (int(digits, 16) for digits in _ADDRESS.findall(text))
    return np.array([addr for addr in found if low <= addr <= abi.long_mask], np.uint64)


def _ranges(table: SymbolTable, abi: Abi) -> list[tuple[int, int]]:
    """The address ranges that the symbols cover; on 32 bit, where any number may be one, of the code only."""
    begin, end, row, _ = table.intervals
    if abi.long_size == 4:
        code = table.is_text(row)
        begin, end = begin[code], end[code]
    if not len(begin):
        return []
    apart = np.flatnonzero(begin[1:] > end[:-1] + np.uint64(_MAX_GAP))
    if len(apart) >= _MAX_RANGES:
        return [(int(begin[0]), int(end.max()))]
    lows = [int(begin[0]), *begin[apart + 1].tolist()]
    highs = [*end[apart].tolist(), int(end[-1])]
    return list(zip(lows, highs, strict=True))


def _pattern(ranges: list[tuple[int, int]]) -> re.Pattern[bytes]:
    """Matches the significant digits of any number in ``ranges``, and of some beside them."""
    shapes: dict[tuple[str, int], None] = {}
    for low, high in ranges:
        last = high - 1
        for digits in range(len(f"{low:x}"), len(f"{last:x}") + 1):
            first = f"{max(low, 16 ** (digits - 1)):x}"
            prefix = _common_prefix([first, f"{min(last, 16**digits - 1):x}"])
            shapes[prefix, digits - len(prefix)] = None
    if not shapes:
        return re.compile(rb"(?!)()")
    # One literal in front of all alternatives lets the search run at memory speed.
    common = _common_prefix([prefix for prefix, _ in shapes])
    tails = "|".join(f"{prefix[len(common) :]}[0-9a-f]{{{count}}}" for prefix, count in shapes)
    return re.compile(f"({common}(?:{tails}))(?![0-9A-Za-z_])".encode())


def _common_prefix(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]
