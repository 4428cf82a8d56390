# SPDX-License-Identifier: Apache-2.0
"""Where the kernel was in each part of a text, by what the text itself says.

* ``# rbdump: layout=...`` lines stand in front of a trace that `rbdump parse` wrote.
* ``Kernel Offset:`` is what the panic notifiers print (dump_kernel_offset() of x86, arm64, riscv and powerpc) once the
  oops is out: it ends the part of the text that it is of.
* ``Linux version`` (linux_banner) is the first that a kernel prints: another boot begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rbdump.render.trace import Origin, parse_origin

__all__ = ["VERBATIM", "KernelOffset", "Place", "PlaceFinder", "WholeLines", "find_places"]

_MAX_LINE = 1 << 20
"""A line that is longer is passed on in pieces."""
_KEYS = (b"Kernel Offset: ", b"# rbdump: ", b"Linux version ")
_SAYS = re.compile(
    rb"^(?P<mark># rbdump: [^\n]*\n?)"
    # how far the kernel was moved, and its link address
    rb"|^[^\n]*Kernel Offset: (?:disabled|(?P<offset>0x[0-9a-f]+)(?: from (?P<base>0x[0-9a-f]+))?)[^\n]*\n?"
    rb"|^(?P<banner>[^\n]*Linux version \d)",
    re.MULTILINE,
)
VERBATIM = re.compile(rb"^(?:# rbdump: |[^\n]*Kernel Offset: )[^\n]*\n?", re.MULTILINE)
"""Lines whose addresses say where the kernel was."""
_CONSOLE = re.compile(
    rb"^(?:(?:<\d+>)?\[ *\d+\.\d+\]|(?:\w{3} [ \d]\d|\d{4}-\d\d-\d\dT)[^\n]{,80} kernel: "
    rb"|BUG: |Oops|Kernel panic|Internal error|Unable to handle)",
    re.MULTILINE,
)
"""Begins lines of a console, and none of a trace."""


@dataclass(frozen=True, slots=True)
class KernelOffset:
    """What a ``Kernel Offset:`` line says."""

    offset: int
    """Bytes by which the kernel was moved; 0 where KASLR was off."""
    base: int | None
    """Its link address."""


Place = Origin | KernelOffset | None
"""What says where the kernel was; None for nothing."""


class WholeLines:
    """Puts pieces of a text together to whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that ``data`` completes; a line that never ends comes in pieces."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        if len(data) - end > _MAX_LINE:
            end = len(data)
        self._rest = data[end:]
        return data[:end]

    def finish(self) -> bytes:
        """What is left behind the last newline."""
        rest, self._rest = self._rest, b""
        return rest


class PlaceFinder:
    """Tells the parts of a text that comes in pieces of whole lines."""

    def __init__(self) -> None:
        self._at = 0
        self._begin = 0
        """Where the part begins that the next ``Kernel Offset:`` line is of."""
        self._place: Place = None
        self._header: list[str] = []
        self._console: int | None = None
        """In the part of a trace: where the lines of a console begin that the next such line is of."""

    def feed(self, text: bytes) -> list[tuple[int, Place]]:
        """The parts that these lines show: the offset in the whole text of the first byte, and the place.

        A ``Kernel Offset:`` line shows it of a part that may have begun long before; then what comes behind the line is
        a part of its own, of the same place until something else is said.
        """
        found: list[tuple[int, Place]] = []
        seen = 0
        for line in _SAYS.finditer(text) if any(key in text for key in _KEYS) else ():
            self._look_for_console(text, seen, line.start())
            seen = line.end()
            if line["mark"]:
                found += self._read_mark(line["mark"].decode("utf-8", "replace"), self._at + line.start())
            elif line["banner"]:
                self._begin, self._place = self._at + line.start(), None
                found.append((self._begin, None))
            else:
                place = KernelOffset(int(line["offset"] or b"0", 16), int(line["base"], 16) if line["base"] else None)
                found += self._end(place, self._at + line.start(), self._at + line.end())
        self._look_for_console(text, seen, len(text))
        self._at += len(text)
        return found

    def _look_for_console(self, text: bytes, begin: int, end: int) -> None:
        if self._console is None and isinstance(self._place, Origin):
            line = _CONSOLE.search(text, begin, end)
            self._console = self._at + line.start() if line is not None else None

    def _read_mark(self, line: str, at: int) -> Iterator[tuple[int, Place]]:
        self._header = [line] if " layout=" in line else [*self._header, line]  # the first one of a trace has it
        origin = parse_origin(self._header)
        if origin is not None:
            self._begin, self._place, self._console = at, origin, None
            yield at, origin

    def _end(self, place: KernelOffset, at: int, end: int) -> Iterator[tuple[int, Place]]:
        if isinstance(self._place, Origin):
            if _same(self._place, place):
                self._console = end
                return
            self._begin = at if self._console is None else self._console
        if place != self._place:
            yield self._begin, place
        yield end, place
        self._begin, self._place = end, place


def _same(origin: Origin, place: KernelOffset) -> bool:
    """Whether a trace and an oops are known to be of the same place; the trace tells modules as well."""
    if origin.kaslr_offset is not None:
        return origin.kaslr_offset == place.offset
    return origin.layout.startswith("C") and place.base is not None and origin.text_addr == place.base + place.offset


def find_places(pieces: Iterable[bytes]) -> list[tuple[int, Place]]:
    """All parts of a text, as `PlaceFinder.feed` gives them."""
    lines, finder = WholeLines(), PlaceFinder()
    found = [part for data in pieces for part in finder.feed(lines.feed(data))]
    return found + finder.feed(lines.finish())
