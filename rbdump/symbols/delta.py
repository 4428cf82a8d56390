# SPDX-License-Identifier: Apache-2.0
"""How far the last boot's kernel lay from its link address (KASLR), by what a region says or by the addresses in it.

What the layouts store (kernel/trace/ring_buffer.c, kernel/trace/trace.c):

* A', B: ``text_addr``, the run-time address of the static function ``rb_meta_init_text_addr``, and ``data_addr``, that
  of the static variable ``rb_data_ptr``.
* B': the slide itself.
* C: ``text_addr``, the run-time address of ``_text``; 0 when nothing but command line events had been on.
* A0, A: nothing.

Kernels move by whole pages at least, so the low bits of an address survive; that is what the inference rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.symboldata import SymbolData
from rbdump.ring.region import Region, ScratchModule
from rbdump.symbols.code import CodeMap, Tally
from rbdump.symbols.table import SymbolTable

__all__ = [
    "X86_IMAGES",
    "BootAddresses",
    "TextDelta",
    "boot_table",
    "closest_tally",
    "given_delta",
    "impossible",
    "infer_delta",
    "kernel_like",
    "stated_delta",
    "unmoved_delta",
]

Addrs = npt.NDArray[np.uint64]

_PAGE = 4096
_TEXT_SYMBOLS = ("rb_meta_init_text_addr", "rb_range_meta_init")
"""What text_addr of era B is the address of, and what it may be in the proof of concept."""
_DATA_SYMBOL = "rb_data_ptr"
_MAX_WORDS = 16384
_MAX_PAIRS = 8 << 20
_MAX_CANDIDATES = 48
_MAX_LOOKED_AT = 4096
"""Of these some are impossible: two halves of different addresses are one as well."""
_MIN_VOTES = 6
_MIN_RATIO = 4.0
_MIN_SHARE = 0.7
X86_IMAGES = 0xFFFF_FFFF_8000_0000
"""Where x86-64 kernels are linked and moved, and no other machine's."""
_X86_MODULES_END = 0xFFFF_FFFF_FF00_0000
"""Behind it lie fixmap and small negative numbers (MODULES_END of arch/x86/include/asm/pgtable_64_types.h)."""
_GRANULES = {"x86-64": 2 << 20, "i386": 2 << 20, "aarch64": 64 << 10, "riscv": 2 << 20, "ppc64le": 16 << 10}
"""What KASLR moves a kernel by multiples of (CONFIG_PHYSICAL_ALIGN is at least 2 MiB on x86); else whole pages."""


@dataclass(frozen=True, slots=True)
class BootAddresses:
    """What is known of addresses in the last boot, apart from the records."""

    abi: Abi
    layout: str = ""
    """Name of the region's layout; empty when it is not known."""
    text_addr: int | None = None
    data_addr: int | None = None
    kaslr_offset: int | None = None
    modules: tuple[ScratchModule, ...] = ()
    link_addr: int | None = None
    """Link address of the kernel's first byte, which `kaslr_offset` counts from; None when nothing says it."""

    @classmethod
    def of_region(cls, region: Region) -> Self:
        """What the headers and the scratch of a region say."""
        return cls(
            region.abi,
            region.layout.name,
            region.text_addr or None,
            region.data_addr or None,
            region.kaslr_offset,
            region.modules,
        )


@dataclass(frozen=True, slots=True)
class TextDelta:
    """How far the kernel proper was moved."""

    value: int
    """Bytes to add to a link address; negative when the kernel moved down."""
    how: str
    """Where it comes from, for people."""
    problem: str = ""
    """Why it cannot be that of the kernel that wrote the region; empty when nothing speaks against it."""
    twice: bool = False
    """Two addresses of the region state it; with an image of another build they would differ."""


def given_delta(code: CodeMap, text_addr: int, abi: Abi) -> TextDelta:
    """The delta when somebody knows the run-time address of ``_text``. SourceError if the image has no ``_text``."""
    if code.text_base is None:
        raise SourceError(f"the symbols ({code.symbols.origin}) have no _text: a text address is of no use with them")
    return _checked(_signed(text_addr - code.text_base, abi), "given")


def stated_delta(code: CodeMap, boot: BootAddresses) -> TextDelta | None:
    """The delta that a region states; None when its layout holds no address or the image lacks the symbol for it."""
    abi, symbols = boot.abi, code.symbols
    if boot.kaslr_offset is not None:
        start = _first_byte(code) if boot.link_addr is not None else None
        if boot.link_addr is None or start is None:
            return _checked(_signed(boot.kaslr_offset, abi), "KASLR offset of the region")
        return _checked(_signed(boot.link_addr + boot.kaslr_offset - start, abi), "the Kernel Offset line")
    if boot.layout in ("", "C1", "C2", "C2-inject"):
        if not boot.text_addr or code.text_base is None:
            return None
        return _checked(_signed(boot.text_addr - code.text_base, abi), "text_addr of the scratch")
    found = []
    for name in _TEXT_SYMBOLS if boot.text_addr else ():
        link = symbols.addr(name)
        if link is not None and boot.text_addr:
            found.append(_checked(_signed(boot.text_addr - link, abi), f"text_addr of the region ({name})"))
    data = symbols.addr(_DATA_SYMBOL)
    if data is not None and boot.data_addr:
        by_data = _checked(_signed(boot.data_addr - data, abi), f"data_addr of the region ({_DATA_SYMBOL})")
        if not found:
            return by_data
        for delta in found:
            if delta.value == by_data.value:
                return TextDelta(delta.value, "text_addr and data_addr of the region", delta.problem, twice=True)
        problem = f"text_addr says that the kernel was moved by {found[0].value:#x}, data_addr by {by_data.value:#x}"
        return TextDelta(found[0].value, found[0].how, problem)
    return min(found, key=lambda delta: bool(delta.problem), default=None)


def unmoved_delta(code: CodeMap) -> TextDelta | None:
    """No delta at all for kernels that cannot move themselves; None for others."""
    if code.symbols.names.of_movable_kernel:
        return None
    return TextDelta(0, "the kernel has no KASLR")


def impossible(code: CodeMap, delta: int, abi: Abi) -> str:
    """Why no kernel can have been moved by so many bytes, empty if one can."""
    if not code:  # nothing tells where its text is
        return ""
    if (code.start ^ (code.start + delta)) >> (8 * abi.long_size - 1) & 1:
        return "it would have been moved from one half of the address space to the other"
    if abi.long_size == 8 and (code.start >= X86_IMAGES) != (code.start + delta >= X86_IMAGES):
        return "kernels of x86-64 and riscv64 stay in the last 2 GiB of the address space, and no others lie there"
    return ""


def kernel_like(code: CodeMap, addrs: Addrs, abi: Abi) -> npt.NDArray[np.bool_]:
    """Which addresses lie where such a kernel and its modules may be; on some machines other memory lies there too."""
    if code.start >= X86_IMAGES:
        return (addrs >= np.uint64(X86_IMAGES)) & (addrs < np.uint64(_X86_MODULES_END))
    kept = np.uint64(47 if abi.long_size == 8 else 28)
    same: npt.NDArray[np.bool_] = addrs >> kept == np.uint64(code.start) >> kept
    return same


def infer_delta(code: CodeMap, words: Addrs, counts: npt.NDArray[np.int64], abi: Abi) -> TextDelta | None:
    """The delta that makes most recorded addresses land on functions or behind calls; None when none stands out.

    ``words`` are the distinct words of the records that may be kernel addresses, sorted, ``counts`` how often each
    occurs. Every word is paired with every place of the image whose low bits, which KASLR keeps, it has; the
    differences are votes.
    """
    best: tuple[float, int, Tally] | None = None
    for value, votes, tally in _candidates(code, words, counts, abi):
        # Tables of stubs are so dense that whatever is laid over them hits them: only more than chance counts.
        stands_out = tally.explained >= max(_MIN_VOTES, _MIN_RATIO * tally.chance)
        if not stands_out or (code.has_code and tally.share < _MIN_SHARE):
            continue
        score = (votes - tally.chance) / (tally.chance + 1) ** 0.5
        if best is None or score > best[0]:
            best = score, value, tally
    if best is None:
        return None
    _, value, tally = best
    return TextDelta(_signed(value, abi), f"inferred: {tally.explained} of {tally.total} code addresses fit")


def closest_tally(code: CodeMap, words: Addrs, counts: npt.NDArray[np.int64], abi: Abi) -> Tally | None:
    """The figures of the place that explains most addresses beyond chance, for an image that fits nowhere."""
    tallies = [tally for _, _, tally in _candidates(code, words, counts, abi) if tally.total >= _MIN_VOTES]
    return max(tallies, key=lambda tally: tally.explained - tally.chance, default=None)


def _candidates(
    code: CodeMap, words: Addrs, counts: npt.NDArray[np.int64], abi: Abi
) -> Iterator[tuple[int, int, Tally]]:
    """The possible deltas that have most votes: value, votes, and where the words then land."""
    anchors = code.anchors()
    if not len(anchors) or not len(words):
        return
    chosen = words
    if len(words) > _MAX_WORDS:  # code addresses repeat, pointers to objects seldom do
        chosen = words[np.sort(np.argsort(-counts, kind="stable")[:_MAX_WORDS])]
    found = _votes(chosen, anchors, _granule(code), abi)
    possible = (one for one in found if not impossible(code, _signed(one[0], abi), abi))
    for value, votes in islice(possible, _MAX_CANDIDATES):
        yield value, votes, code.tally(code.link(chosen, value))


def boot_table(
    symbols: SymbolData, delta: int, modules: Iterable[SymbolTable] = (), *, name: str | None = None
) -> SymbolTable:
    """The symbols of an image (of the module ``name`` if given) and of modules where the last boot had them."""
    table = SymbolTable.from_data(symbols, delta, module=name)
    others = list(modules)
    return table.merge(others) if others else table


def _first_byte(code: CodeMap) -> int | None:
    """The address of the kernel's first byte: ``_text``, but ``_start`` on riscv, where the head lies before that."""
    start = code.symbols.addr("_start")
    return start if start is not None and (code.text_base is None or start < code.text_base) else code.text_base


def _signed(value: int, abi: Abi) -> int:
    half = (abi.long_mask + 1) // 2
    return ((value + half) & abi.long_mask) - half


def _checked(value: int, how: str) -> TextDelta:
    problem = ""
    if value % _PAGE:
        problem = f"the kernel would have been moved by {value:#x} bytes, and kernels move by whole pages"
    return TextDelta(value, how, problem)


def _granule(code: CodeMap) -> int:
    if not code.machine and code.start >= X86_IMAGES:
        return _GRANULES["x86-64"]
    return _GRANULES.get(code.machine, _PAGE)


def _votes(words: Addrs, anchors: Addrs, granule: int, abi: Abi) -> list[tuple[int, int]]:
    """The differences between a word and an anchor, multiples of ``granule``, that occur most; how often each does."""
    order = np.argsort(anchors & np.uint64(granule - 1), kind="stable")
    sorted_anchors = anchors[order]
    low_bits = sorted_anchors & np.uint64(granule - 1)
    wanted = words & np.uint64(granule - 1)
    first = np.searchsorted(low_bits, wanted, side="left")
    number = np.searchsorted(low_bits, wanted, side="right") - first
    if int(number.sum()) > _MAX_PAIRS:
        step = -(-int(number.sum()) // _MAX_PAIRS)
        words, first, number = words[::step], first[::step], number[::step]
    starts = np.cumsum(number) - number
    pick = np.arange(int(number.sum())) - np.repeat(starts, number) + np.repeat(first, number)
    deltas = (np.repeat(words, number) - sorted_anchors[pick]) & np.uint64(abi.long_mask)
    values, votes = np.unique(deltas, return_counts=True)
    top = np.argsort(-votes, kind="stable")[:_MAX_LOOKED_AT]
    return list(zip(values[top].tolist(), votes[top].tolist(), strict=True))
