# SPDX-License-Identifier: Apache-2.0
"""`rbdump resolve`: names for the addresses in a stream of text, line by line as they come.

Where the kernel was comes from the ``# rbdump:`` lines that `rbdump parse` writes, from the ``Kernel Offset:`` line of
an oops, from the user, or from the addresses in the text themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.analysis.child import write_all
from rbdump.analysis.places import VERBATIM, KernelOffset, Place, PlaceFinder, WholeLines
from rbdump.analysis.placing import Placed, Placer
from rbdump.findings import Finding, Severity
from rbdump.render.trace import Origin
from rbdump.ring import ScratchModule
from rbdump.symbols.delta import BootAddresses
from rbdump.symbols.rewrite import AddressRewriter, LineAppender, addresses_in

__all__ = ["TextResolver", "filter_text"]

_ENOUGH = 1 << 14
"""Distinct addresses after which an image is not verified again."""


_LATE = Finding(
    Severity.WARNING,
    "late-kernel-offset",
    "addresses were passed on before the Kernel Offset line that says where their kernel was came: they have no names,"
    " or those of another place; give the text as a file, or --text-addr",
)
_MIXED = Finding(
    Severity.WARNING,
    "late-kernel-offset",
    "a Kernel Offset line behind a trace says another place than the trace, and nothing tells where its oops begins:"
    " names between the two may be wrong; give the oops as a file of its own",
)


class TextResolver:
    """Puts names in the place of addresses in a text that comes in pieces."""

    def __init__(
        self,
        placer: Placer,
        places: Sequence[tuple[int, Place]] | None = None,
        *,
        keep: bool = False,
        lines: bool = False,
    ) -> None:
        """``places``: what `find_places` found in the text; without it, what has not come yet is not known.

        ``keep`` leaves each address in front of its name, ``lines`` adds ``(file:line)``.
        """
        self.findings: list[Finding] = []
        self._placer = placer
        self._keep = keep
        self._lines = lines
        self._appender = LineAppender(placer.line_of_symbol)
        self._whole = WholeLines()
        self._finder = PlaceFinder() if places is None else None
        self._places = deque(places or ())
        self._at = 0
        self._begin(None)

    def feed(self, data: bytes) -> bytes:
        """The lines that ``data`` completes, with names. Raises WrongImageError as soon as the addresses show it."""
        return self._resolve(self._whole.feed(data))

    def finish(self) -> bytes:
        """What is left behind the last newline, with names; the findings are complete then."""
        text = self._resolve(self._whole.finish())
        self._close()
        return text

    def _close(self) -> None:
        """Take the findings of one part; that symbols are not verified is worth a word only if they gave a name."""
        if self._placed is None:
            return
        for finding in self._placed.findings:
            if self._named or finding.code not in ("image-not-verified", "symbols-not-verified"):
                self._say(finding)
        if self._unnamed and not self._named and self._placed.table is not None:
            message = (
                f"none of {self._unnamed} kernel addresses in the text is in the symbols{self._how()};"
                " --text-addr must be the address of _text in the boot that they are of"
            )
            self._say(Finding(Severity.WARNING, "address-unknown", message))

    def _how(self) -> str:
        """By what the symbols of this part are where they are."""
        if self._placer.text_addr is not None:
            return f" with _text at {self._placer.text_addr:#x} (--text-addr)"
        if isinstance(self._place, KernelOffset):
            offset = f"{self._place.offset:#x}" if self._place.offset else "disabled"
            return f" where the Kernel Offset line puts them ({offset})"
        return " where the # rbdump: lines put them" if self._place is not None else ""

    def _say(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def _begin(self, place: Place) -> None:
        self._place = place
        self._boot = _boot_of(place, self._placer.abi)
        self._passed = False
        """Whether addresses of this part, which may be of the place that comes next, were passed on."""
        self._unnamed = 0
        """Addresses that can only be a kernel's, as long as there is no name for any."""
        self._seen = np.empty(0, np.uint64)
        self._checked = 0
        self._named = False
        self._placed: Placed | None = None
        self._rewriter: AddressRewriter | None = None

    def _resolve(self, text: bytes) -> bytes:
        if self._finder is not None:
            self._places += self._finder.feed(text)
        out: list[bytes] = []
        done = 0
        while self._places and self._places[0][0] < self._at + len(text):
            begin, place = self._places.popleft()
            cut = max(begin - self._at, done)
            out.append(self._rewrite(text[done:cut]))
            done = cut
            if isinstance(place, KernelOffset) and place == self._place:
                self._passed = False
                continue
            if isinstance(place, KernelOffset) and self._passed:
                if begin < self._at:
                    self._say(_LATE)
                elif isinstance(self._place, Origin) and VERBATIM.match(text, cut):
                    self._say(_MIXED)
            self._close()
            self._begin(place)
        out.append(self._rewrite(text[done:]))
        self._at += len(text)
        return b"".join(out)

    def _rewrite(self, text: bytes) -> bytes:
        """The text with names, but for the lines that say where the kernel was."""
        if b"# rbdump: " not in text and b"Kernel Offset: " not in text:
            return self._rewrite_lines(text)
        out: list[bytes] = []
        at = 0
        for line in VERBATIM.finditer(text):
            out += (self._rewrite_lines(text[at : line.start()]), line[0])
            at = line.end()
        return b"".join((*out, self._rewrite_lines(text[at:])))

    def _rewrite_lines(self, text: bytes) -> bytes:
        settled = self._placed is not None and self._placed.settled
        if not (settled and self._passed and self._named):
            addrs = addresses_in(text, self._boot.abi)
            likely = int(np.count_nonzero(self._placer.likely(addrs)))
            self._passed |= likely > 0
            self._unnamed += likely
            if not settled:
                self._place_symbols(addrs)
        rewritten = self._rewriter.rewrite(text) if self._rewriter is not None else text
        self._named |= rewritten is not text
        return self._appender.append(rewritten) if self._lines else rewritten

    def _place_symbols(self, addrs: npt.NDArray[np.uint64]) -> None:
        """Place the symbols, or verify them again, once there are twice as many addresses as the last time."""
        if not len(addrs) or len(self._seen) > _ENOUGH:
            return
        self._seen = np.union1d(self._seen, addrs)
        if len(self._seen) < 2 * self._checked:
            return
        self._checked = len(self._seen)
        self._placed = self._placer.place(self._boot, self._seen)
        if self._placed.table is not None:
            line_of = self._placed.line_of if self._lines else None
            self._rewriter = AddressRewriter(self._placed.table, self._boot.abi, keep=self._keep, line_of=line_of)


def _boot_of(place: Place, abi: Abi) -> BootAddresses:
    if place is None:
        return BootAddresses(abi)
    if isinstance(place, KernelOffset):
        return BootAddresses(abi, kaslr_offset=place.offset, link_addr=place.base)
    modules = tuple(ScratchModule(name, addr) for name, addr in place.modules)
    return BootAddresses(place.abi, place.layout, place.text_addr, place.data_addr, place.kaslr_offset, modules)


def filter_text(resolver: TextResolver, pieces: Iterable[bytes], sink: int) -> None:
    """Write the lines of a text to a file descriptor as they come, with names."""
    for data in pieces:
        text = resolver.feed(data)
        if text:
            write_all(sink, text)
    text = resolver.finish()
    if text:
        write_all(sink, text)
