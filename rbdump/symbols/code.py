# SPDX-License-Identifier: Apache-2.0
"""What lies at a code address of a kernel image: a function's start, the place behind a call, or neither.

Addresses that a kernel records of its own text are of three kinds. Function pointers and kprobes point at the first
byte of a function; the function tracer records its patch site, a few bytes behind that (behind ENDBR or BTI, behind
the prologue on 32-bit ARM); stacks, call sites and ``_RET_IP_`` point behind a call instruction. Few point elsewhere
(``_THIS_IP_``, faulting instructions). An address of another kernel hits one of these only by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.columns import distinct
from rbdump.kernel.symboldata import SymbolData
from rbdump.symbols.instructions import ALIGNMENT, MACHINES, MARGIN, behind_calls, is_behind_call, is_patch_site

__all__ = ["CodeMap", "Image", "Landing", "Tally"]

Addrs = npt.NDArray[np.uint64]

_TEXT_TYPES = np.frombuffer(b"tTwWiI", np.uint8)
_SHIFTS = np.array([64 * k for k in range(-24, 25) if abs(k) > 4], np.int64).astype(np.uint64)
"""Shifts that tell how many addresses land on something by chance."""
_MAX_PATCH_SITE = 32
"""A patch site lies behind at most this many bytes of prologue."""
_MAX_TEXT = 256 << 20
_LABELS = (b"__pfx_", b"__cfi_")
"""Marks of the padding before a function, and of its type hash: nothing ever points there."""


class Landing(IntEnum):
    """What an address points at."""

    OUTSIDE = 0
    """Not in the kernel's text."""
    INSIDE = 1
    """In the text, at nothing in particular."""
    CALL_SITE = 2
    """Behind a call instruction."""
    PATCH_SITE = 3
    """The call or nop near the start of a function that the function tracer patches."""
    FUNCTION = 4
    """The first byte of a function."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Distinct addresses held against an image."""

    total: int
    """Addresses inside the kernel's text."""
    functions: int
    """Of these, at the first byte of a function."""
    patch_sites: int
    call_sites: int
    chance: float
    """How many of `total` would be explained if the image had nothing to do with them."""

    @property
    def explained(self) -> int:
        """Addresses at a function's start, at its patch site or behind a call."""
        return self.functions + self.patch_sites + self.call_sites

    @property
    def share(self) -> float:
        """Explained addresses of all; 0 when there are none."""
        return self.explained / self.total if self.total else 0.0


class Image(Protocol):
    """What is needed of a kernel image."""

    @property
    def machine(self) -> str:
        """``x86-64``, ``aarch64``, ``s390x``, ..."""

    @property
    def abi(self) -> Abi:
        """Byte order and word size."""

    @property
    def symbols(self) -> SymbolData:
        """Symbols at link addresses."""

    @property
    def text_base(self) -> int:
        """Link address of ``_text``."""

    def read(self, addr: int, size: int) -> bytes:
        """Bytes at a link address; fewer when the image has fewer."""


class CodeMap:
    """The text of a kernel at its link addresses, with or without its instructions."""

    def __init__(
        self,
        symbols: SymbolData,
        machine: str = "",
        text: bytes = b"",
        *,
        abi: Abi | None = None,
        text_base: int | None = None,
    ) -> None:
        """``text`` holds the bytes from ``_stext`` on; without them only function starts are known.

        ``text_base`` is the link address of ``_text``, for symbols that do not list it.
        """
        self.symbols = symbols
        listed = symbols.addr("_text")
        self.text_base = text_base if listed is None else listed
        """Link address of ``_text``; None when nothing tells it."""
        self.machine = machine
        self.abi = abi
        """Of the image; None when only symbols are known."""
        self.start, self.end = _bounds(symbols)
        """Link addresses: first byte of the text and the one behind its last."""
        self.functions = _functions(symbols, self.start, self.end)
        """Link addresses of all functions of the text, sorted, each once."""
        self.has_code = len(text) > 0 and machine in MACHINES
        """Whether instructions can be looked at: the bytes are there and the machine is one of those known here."""
        self._text = np.zeros(self.end - self.start + 2 * MARGIN if self.has_code else 2 * MARGIN, np.uint8)
        if self.has_code:
            octets = np.frombuffer(text, np.uint8)[: self.end - self.start]
            self._text[MARGIN : MARGIN + len(octets)] = octets
        self._anchors: Addrs | None = None

    @classmethod
    def of_image(cls, image: Image) -> CodeMap:
        """The code of an image; its text is read once."""
        start, end = _bounds(image.symbols)
        text = image.read(start, min(end - start, _MAX_TEXT))
        return cls(image.symbols, image.machine, text, abi=image.abi, text_base=image.text_base)

    def __bool__(self) -> bool:
        return len(self.functions) > 0

    def landings(self, addrs: Addrs) -> npt.NDArray[np.uint8]:
        """A `Landing` for each link address."""
        kinds = np.zeros(len(addrs), np.uint8)
        inside = np.flatnonzero((addrs >= np.uint64(self.start)) & (addrs < np.uint64(self.end)))
        if not len(inside) or not len(self.functions):
            return kinds
        wanted = addrs[inside]
        first = wanted & ~np.uint64(1) if self.machine == "arm" else wanted  # bit 0 says T32, symbols do not have it
        before = np.searchsorted(self.functions, first, side="right") - 1
        found = np.full(len(wanted), Landing.INSIDE, np.uint8)
        into = first - self.functions[np.maximum(before, 0)]
        if self.has_code:
            at = (wanted - np.uint64(self.start)).astype(np.int64) + MARGIN
            found[is_behind_call(self._text, at, self.machine)] = Landing.CALL_SITE
            near = (into > 0) & (into <= _MAX_PATCH_SITE) & (before >= 0)
            found[near & is_patch_site(self._text, at, self.machine)] = Landing.PATCH_SITE
        found[(into == 0) & (before >= 0)] = Landing.FUNCTION
        kinds[inside] = found
        return kinds

    def link(self, words: Addrs, delta: int) -> Addrs:
        """The link addresses of those ``words`` that lie in the text once it is moved by ``delta`` bytes.

        Those that no instruction of the machine can have are left out.
        """
        link = words - np.uint64(delta & 0xFFFF_FFFF_FFFF_FFFF)
        # Bit 0 of arm's addresses says T32. Kernels move by whole pages: no other image has an odd address either.
        low_bits = np.uint64(0 if self.machine == "arm" else ALIGNMENT.get(self.machine, 1) - 1)
        inside = (link >= np.uint64(self.start)) & (link < np.uint64(self.end))
        chosen: Addrs = link[inside & (link & low_bits == 0)]
        return chosen

    def tally(self, link: Addrs) -> Tally:
        """Where distinct link addresses of the text land, and how many would by chance."""
        if not len(link):
            return Tally(0, 0, 0, 0, 0.0)
        number = np.bincount(self.landings(link), minlength=len(Landing)).tolist()
        shifted = (link[None, :] + _SHIFTS[:, None]).ravel()
        chance = float(np.count_nonzero(self.landings(shifted) > Landing.INSIDE)) / len(_SHIFTS)
        return Tally(len(link), number[Landing.FUNCTION], number[Landing.PATCH_SITE], number[Landing.CALL_SITE], chance)

    def anchors(self) -> Addrs:
        """All link addresses that recorded addresses are likely to have: functions, and places behind calls."""
        if self._anchors is None:
            self._anchors = self.functions
            if self.has_code:
                sites = behind_calls(self._text, self.machine) - MARGIN
                self._anchors = np.union1d(self.functions, sites.astype(np.uint64) + np.uint64(self.start))
        return self._anchors


def _bounds(symbols: SymbolData) -> tuple[int, int]:
    low = symbols.addr("_stext")
    if low is None:
        low = symbols.addr("_text")
    high = symbols.addr("_etext")
    if low is None or high is None or not low < high <= low + _MAX_TEXT:
        return 0, 0
    return low, high


def _functions(symbols: SymbolData, start: int, end: int) -> Addrs:
    first, last = np.searchsorted(symbols.addrs, np.array([start, end], np.uint64)).tolist()
    rows = np.arange(first, last)
    if symbols.types[rows].any():
        rows = rows[np.isin(symbols.types[rows], _TEXT_TYPES)]
    names = symbols.names
    octets = np.frombuffer(names.blob or b"\0\0", np.uint8)
    size = len(_LABELS[0])
    begin = np.minimum(names.starts[rows], max(len(octets) - size, 0))
    heads = octets[begin[:, None] + np.arange(min(size, len(octets)))]
    labels = np.isin(np.ascontiguousarray(heads).view(f"S{heads.shape[1]}").ravel(), _LABELS)
    found: Addrs = distinct(symbols.addrs[rows[~labels]])
    return found
