# SPDX-License-Identifier: Apache-2.0
"""Is this the kernel that wrote the region? Its recorded code addresses must land where code addresses point at.

In the right image about nine of ten distinct addresses are a function's start, a patch site of the function tracer or
the place behind a call (the rest are ``_THIS_IP_`` and faulting instructions); in any other image one of twenty is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import UsageError, WrongImageError
from rbdump.findings import Finding, Severity
from rbdump.kernel.symboldata import SymbolData
from rbdump.symbols.code import CodeMap, Landing, Tally
from rbdump.symbols.delta import (
    X86_IMAGES,
    BootAddresses,
    TextDelta,
    boot_table,
    closest_tally,
    given_delta,
    impossible,
    infer_delta,
    stated_delta,
    unmoved_delta,
)
from rbdump.symbols.table import SymbolTable

__all__ = ["AddressCheck", "Fit", "SymbolList", "Verdict", "check_addresses", "fit_image", "fit_list", "refuse"]

Addrs = npt.NDArray[np.uint64]

_MIN_ADDRESSES = 6
_MIN_SHARE = 0.6
"""Less than this share of explained addresses: another kernel."""
_MIN_SHARE_RECURRING = 0.8
_MIN_RECURRING = 12
_MIN_FOUND = 8
_MIN_FOUND_RATIO = 8
"""How many functions, and how many times what chance gives, a list must explain at a place that was searched for.

Lists of other kernels explain up to 12, and up to 5 times that; the right ones 10 to 28, and 15 times that where a
region has more than function calls.
"""
_MIN_STRAYS = 6
_MIN_SHIFT = 8
"""Functions are aligned, to 16 bytes mostly: other shifts are not another build's."""
_MAX_SHIFTS = 48
_MAX_SHIFT = 1 << 16
_FUNCTION_ALIGN = 16
_CONTRADICTED = "text-addr-contradicted"
_WHOLE_KERNEL = 5000
"""A symbol list of fewer functions has been shortened: what it lacks says nothing."""


class Verdict(StrEnum):
    """What the addresses say of an image."""

    RIGHT = "right"
    WRONG = "wrong"
    OPEN = "open"
    """Too few addresses to tell."""


@dataclass(frozen=True, slots=True)
class AddressCheck:
    """The distinct code addresses of a region, held against an image."""

    tally: Tally
    verdict: Verdict
    reason: str = ""
    """What besides the figures decided; empty when nothing did."""

    def __str__(self) -> str:
        """The figures as one sentence without its full stop."""
        tally = self.tally
        if not tally.total:
            return "there is no code address to verify it by"
        text = (
            f"{tally.explained} of {tally.total} distinct code addresses ({tally.share:.0%}) are a function or follow"
            f" a call, {tally.chance:.0f} would by chance"
        )
        return f"{text}; {self.reason}" if self.reason else text


@dataclass(frozen=True, slots=True)
class Fit:
    """An image placed where the last boot had it."""

    delta: TextDelta | None
    """None when nothing says where the kernel was: its symbols cannot be used."""
    check: AddressCheck
    findings: tuple[Finding, ...]


def check_addresses(
    code: CodeMap, delta: int, words: Addrs, counts: npt.NDArray[np.int64] | None = None
) -> AddressCheck:
    """Hold distinct, sorted ``words`` against ``code`` moved by ``delta`` bytes; words outside its text count not.

    ``counts``, how often each word occurs, helps where a trace is full of interrupted addresses: those do not recur.
    """
    check = _check(code, code.link(words, delta), _MIN_SHARE)
    if check.verdict is not Verdict.WRONG or check.reason or counts is None or not code.has_code:
        return check
    link = code.link(words[counts > 1], delta)
    if len(link) >= _MIN_RECURRING:
        again = _check(code, link, _MIN_SHARE_RECURRING)
        if again.verdict is Verdict.RIGHT:
            return AddressCheck(again.tally, again.verdict, f"counted are the {len(link)} that recur")
    return check


def _check(code: CodeMap, link: Addrs, min_share: float) -> AddressCheck:
    tally = code.tally(link)
    verdict, reason = _by_everything(code, link, tally, min_share) if code.has_code else _by_functions(link, tally)
    return AddressCheck(tally, verdict, reason)


def fit_image(
    code: CodeMap,
    boot: BootAddresses,
    words: Addrs,
    counts: npt.NDArray[np.int64],
    *,
    name: str,
    text_addr: int | None = None,
    force: bool = False,
) -> Fit:
    """Place an image where the last boot had it, and verify that it is the kernel that wrote the region.

    ``words`` and ``counts`` come from `kernel_words`; ``name`` is what messages call the image; ``text_addr`` is the
    run-time address of ``_text`` if the user knows it. Raises WrongImageError, with the figures, when the image is
    another kernel's, UsageError when it is the right one but ``text_addr`` is wrong, both unless ``force``; SourceError
    when there is a ``text_addr`` but no ``_text``.
    """
    given = given_delta(code, text_addr, boot.abi) if text_addr is not None else None
    if given is not None and given.problem and not force:
        raise UsageError(
            f"--text-addr {text_addr:#x}: {given.problem}; give the address of _text (in layout B text_addr is another)"
        )
    delta = given or stated_delta(code, boot)
    unmoved = unmoved_delta(code) if delta is None and _is_whole(code) else None
    if unmoved is not None or (delta is None and not code.has_code):
        here = check_addresses(code, 0, words, counts).verdict
        if unmoved is not None and here is not Verdict.WRONG:
            delta = unmoved
        elif here is Verdict.RIGHT and not code.has_code:  # a list of the boot that died is the usual one
            delta = TextDelta(0, "of the boot that died")
    check = check_addresses(code, delta.value if delta else 0, words if delta else words[:0], counts)
    findings: list[Finding] = []
    if check.verdict is not Verdict.RIGHT:
        inferred = infer_delta(code, words, counts, boot.abi)
        second = check_addresses(code, inferred.value, words, counts) if inferred else check
        if inferred and second.verdict is Verdict.RIGHT and delta != inferred and _convinces(code, second.tally):
            if delta not in (None, unmoved):
                what = delta.how if given is None else f"--text-addr {text_addr:#x}"
                message = f"{what} does not fit the records; as if {_where(code, inferred)}, {second}"
                if given is not None and not force:
                    raise UsageError(message)
                findings.append(Finding(Severity.WARNING, "text-addr-of-another-boot", message))
            if given is None:
                delta, check = inferred, second
    stated = stated_delta(code, boot) if given is not None and check.verdict is not Verdict.RIGHT else None
    if given is not None and stated is not None and stated.value != given.value:
        place = (code.text_base or 0) + stated.value
        message = f"--text-addr {text_addr:#x} is used, against {stated.how}, which puts _text at {place % 2**64:#x}"
        findings.append(Finding(Severity.WARNING, _CONTRADICTED, message))
    problem = _misfit(code, boot) or (impossible(code, delta.value, boot.abi) or delta.problem if delta else "")
    if delta is None and not problem and code.has_code and _image_words(words) >= 2 * _MIN_ADDRESSES:
        problem = "no place of it in memory explains the code addresses of the region"
    if problem or check.verdict is Verdict.WRONG:
        closest = closest_tally(code, words, counts, boot.abi) if delta is None else None
        if closest is not None:
            check = AddressCheck(closest, Verdict.WRONG, "at the place that fits best")
        figures = "; ".join(text for text in (problem, str(check) if check.tally.total else "") if text)
        findings.append(refuse(name, figures, force=force))
    elif delta is None:
        message = f"nothing says where {name} was in memory: its symbols are not used (--text-addr gives the place)"
        findings.append(Finding(Severity.WARNING, "no-text-addr", message))
    elif check.verdict is Verdict.OPEN:
        severity = Severity.INFO if delta.twice else Severity.WARNING
        findings.append(Finding(severity, "image-not-verified", f"{name} is not verified: {check}"))
    else:
        findings.append(Finding(Severity.INFO, "image-verified", f"{name}: {check}; {_where(code, delta)}"))
    return Fit(delta, check, tuple(findings))


@dataclass(frozen=True, slots=True)
class SymbolList:
    """A symbol list and what it is verified by."""

    table: SymbolTable
    code: CodeMap
    """Its functions, those of modules left out."""

    @classmethod
    def of(cls, table: SymbolTable) -> SymbolList:
        """The list of these symbols."""
        core = table.owners < 0
        types = table.types[core]
        absolute = np.isin(types, np.frombuffer(b"aA", np.uint8))
        data = SymbolData(table.addrs[core], table.names.select(core), types, table.origin, absolute)
        return cls(table, CodeMap(data))


def fit_list(
    listed: SymbolList,
    boot: BootAddresses,
    words: Addrs,
    counts: npt.NDArray[np.int64],
    *,
    name: str,
    text_addr: int | None = None,
    force: bool = False,
) -> tuple[SymbolTable, tuple[Finding, ...]]:
    """A symbol list where the last boot had it: /proc/kallsyms of that boot stays, a System.map is moved.

    The list of another boot of the same kernel is moved too, without its modules. Raises as `fit_image` does.
    """
    table, code = listed.table, listed.code
    problem = _other_word_size(table, boot.abi) if len(table) else ""
    if problem and not force:
        refuse(name, problem, force=force)
    fit = fit_image(code, boot, words, counts, name=name, text_addr=text_addr, force=force)
    if fit.delta is None or fit.delta.value == 0:
        kept = [one for one in fit.findings if one.severity is Severity.ERROR or one.code == _CONTRADICTED]
        if fit.delta is None and not kept and check_addresses(code, 0, words).verdict is not Verdict.RIGHT:
            message = f"{name} is taken to be of the boot that the addresses are of; none of them confirms it"
            kept.append(Finding(Severity.WARNING, "symbols-not-verified", message))
        return table, tuple(kept)
    findings = [*fit.findings]
    if table.modules:
        message = f"{name} is of another boot: the symbols of its modules ({', '.join(table.modules)}) are not used"
        findings.append(Finding(Severity.WARNING, "symbols-of-another-boot", message))
    return boot_table(code.symbols, fit.delta.value), tuple(findings)


def refuse(name: str, why: str, *, force: bool) -> Finding:
    """That ``name`` is another kernel's: a finding if ``force``, else WrongImageError."""
    message = f"{name} is not the kernel that wrote the region: {why}"
    if not force:
        raise WrongImageError(f"{message} (--force uses it all the same)")
    return Finding(Severity.ERROR, "wrong-image", message)


def _convinces(code: CodeMap, tally: Tally) -> bool:
    """Whether a place that was searched for is a kernel's: so many are tried that any list fits one a bit."""
    return code.has_code or tally.functions >= max(_MIN_FOUND, _MIN_FOUND_RATIO * tally.chance)


def _other_word_size(table: SymbolTable, abi: Abi) -> str:
    """Why a list cannot be of a kernel of that word size, empty if it can. Only s390 may have all at low addresses."""
    bits = 64 if int(table.addrs[-1]) >> 32 else 32
    if bits == 8 * abi.long_size or (abi.long_size == 8 and abi.byteorder == "big"):
        return ""
    return f"its addresses are those of a {bits}-bit kernel, and the region is {abi}"


def _by_everything(code: CodeMap, link: Addrs, tally: Tally, min_share: float) -> tuple[Verdict, str]:
    if tally.total < _MIN_ADDRESSES:
        return Verdict.OPEN, ""
    if tally.share < min_share or tally.explained < 2 * tally.chance:
        return Verdict.WRONG, ""
    shift, number = _common_shift(code, link, tally)
    if number:
        # A few functions of the same source grew or shrank: everything behind them lies elsewhere.
        return Verdict.WRONG, f"{number} or more of them would fit if they lay {shift:+#x} bytes away: another build"
    return Verdict.RIGHT, ""


def _by_functions(link: Addrs, tally: Tally) -> tuple[Verdict, str]:
    """Without instructions only function pointers tell; what follows a call cannot be told from any other place."""
    aligned = int(np.count_nonzero(link % np.uint64(_FUNCTION_ALIGN) == 0))
    pointers = aligned - (len(link) - aligned) / (_FUNCTION_ALIGN - 1)
    if tally.functions >= max(4, 4 * tally.chance, _MIN_SHARE * pointers):
        return Verdict.RIGHT, ""
    # Where instructions are aligned, so are the places behind calls, and nothing can be said.
    unaligned = int(np.count_nonzero(link % np.uint64(4)))
    x86 = unaligned >= (len(link) - aligned) / 2 and int(link[0]) >= X86_IMAGES if len(link) else False
    if x86 and pointers >= max(_MIN_ADDRESSES, len(link) / 4) and tally.functions < pointers / 2:
        return Verdict.WRONG, f"about {pointers:.0f} of them ought to be functions"
    return Verdict.OPEN, "without the image only function starts can be checked"


def _common_shift(code: CodeMap, link: Addrs, tally: Tally) -> tuple[int, int]:
    """By how many bytes a part of the text lies elsewhere, and how many addresses show it; (0, 0) if none does.

    Where a function of the same source grew or shrank, all that lies behind it moved, up to the next such function:
    there, hardly an address fits where it is and most fit at one shift. Interrupted addresses lie between others.
    """
    explained = code.landings(link) > Landing.INSIDE
    strays = link[~explained]
    if len(strays) < _MIN_STRAYS:
        return 0, 0
    rate = max(tally.chance / tally.total, 0.01)
    # so many in a row that among all shifts and places one in a thousand traces would show them by chance
    enough = 1 + math.ceil(math.log(1000 * 2 * _MAX_SHIFT / _MIN_SHIFT * len(link)) / -math.log(rate))
    best = (0, 0)
    for shift in _frequent_shifts(code, strays):
        fits = code.landings(link + np.uint64(shift % 2**64)) > Landing.INSIDE
        weight = np.where(explained, np.where(fits, 0, -2), np.where(fits, 1, -1))
        sums = np.concatenate([[0], np.cumsum(weight)])
        gain = int((sums - np.minimum.accumulate(sums)).max())
        if gain >= max(_MIN_STRAYS, enough, best[1] + 1):
            best = shift, gain
    return best


def _frequent_shifts(code: CodeMap, strays: Addrs) -> list[int]:
    """The shifts that would explain most of the ``strays``."""
    strays = strays[:: -(-len(strays) // 512)]
    anchors = code.anchors()
    bounds = np.array([-_MAX_SHIFT, _MAX_SHIFT], np.int64).astype(np.uint64)
    first, last = (np.searchsorted(anchors, strays + bound) for bound in bounds)
    number = np.maximum(last - first, 0)
    starts = np.cumsum(number) - number
    pick = np.arange(int(number.sum())) - np.repeat(starts, number) + np.repeat(first, number)
    shifts = (anchors[pick] - np.repeat(strays, number)).astype(np.int64)
    values, votes = np.unique(shifts[(shifts % _MIN_SHIFT == 0) & (shifts != 0)], return_counts=True)
    chosen: list[int] = values[np.argsort(-votes, kind="stable")[:_MAX_SHIFTS]].tolist()
    return chosen


def _is_whole(code: CodeMap) -> bool:
    """Whether what is not there is not in the kernel either."""
    return code.has_code or len(code.functions) >= _WHOLE_KERNEL


def _misfit(code: CodeMap, boot: BootAddresses) -> str:
    """Why the image cannot have written a region of this layout; empty when nothing says so."""
    symbols, layout = code.symbols, boot.layout
    if code.abi not in (None, boot.abi):
        return f"it is a {code.abi} {code.machine} kernel, and the region is {boot.abi}"
    writes_b = symbols.addr("rb_meta_init_text_addr") is not None
    if writes_b and layout in ("B'", "C1", "C2", "C2-inject"):
        return f"it writes layout B (it has rb_meta_init_text_addr), and the region has layout {layout}"
    if not writes_b and layout == "B" and symbols.addr("rb_data_ptr") is None and _is_whole(code):
        return "it lacks rb_meta_init_text_addr and rb_data_ptr, which every kernel that writes layout B has"
    return ""


def _image_words(words: Addrs) -> int:
    """How many words can only be addresses of an x86-64 kernel image, wherever KASLR put it; 0 on other machines."""
    return int(
        np.subtract(*np.searchsorted(words, np.array([0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_8100_0000], np.uint64)))
    )


def _where(code: CodeMap, delta: TextDelta) -> str:
    return f"_stext was at {(code.start + delta.value) % 2**64:#x}"
