# SPDX-License-Identifier: Apache-2.0
"""Whole lines of the trace: prefix and body of each row, lost-event lines, and the ``#`` lines on top.

Mirrors print_trace_line() and print_func_help_header_irq() (kernel/trace/trace.c). Beside the kernel's own ``#`` lines
stand those that begin with ``# rbdump:``; they hold as ``key=value`` words what it takes to name addresses later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.events.entries import Entries
from rbdump.render.bodies import Bodies
from rbdump.render.prefix import PrefixRenderer
from rbdump.render.prints import LONG_RAW_DATA

__all__ = ["Origin", "TraceRenderer", "encode", "header", "parse_origin"]

_MARK = "# rbdump: "
_COLUMNS = """\
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the addresses in a text come from: what ``rbdump resolve`` needs to name them."""

    layout: str
    """Name of the region's layout, which says what `text_addr` is the address of."""
    abi: Abi
    clock: str
    text_addr: int | None = None
    data_addr: int | None = None
    kaslr_offset: int | None = None
    modules: tuple[tuple[str, int], ...] = ()
    """Name and address of each module of the scratch."""


def header(entries: int, written: int, cpus: int, origin: Origin) -> str:
    """The lines on top of a trace: the kernel's for the nop tracer, then rbdump's.

    ``entries``: records that are printed; ``written``: records that were ever written, as far as known; ``cpus``:
    CPUs that were online.
    """
    facts = [
        f"layout={origin.layout}",
        f"abi={'le' if origin.abi.byteorder == 'little' else 'be'}{8 * origin.abi.long_size}",
        f"clock={origin.clock}",
    ]
    for name in ("text_addr", "data_addr", "kaslr_offset"):
        value = getattr(origin, name)
        if value is not None:
            facts.append(f"{name}={value:#x}")
    lines = [f"{_MARK}{' '.join(facts)}\n"]
    lines += [f"{_MARK}module={_word(name)} addr={addr:#x}\n" for name, addr in origin.modules]
    counts = f"# entries-in-buffer/entries-written: {entries}/{written}   #P:{cpus}\n"
    return f"# tracer: nop\n#\n{counts}#\n{''.join(lines)}#\n{_COLUMNS}"


def _word(name: str) -> str:
    """A name that cannot break the line that it stands in, whatever a damaged scratch holds."""
    return "".join(c if c.isprintable() and c not in " =" else "?" for c in name)


def parse_origin(lines: Iterable[str]) -> Origin | None:
    """What the ``# rbdump:`` lines among ``lines`` say; None when there are none, or none that make sense."""
    facts: dict[str, str] = {}
    modules: list[tuple[str, int]] = []
    for line in lines:
        if not line.startswith(_MARK):
            continue
        words = dict(word.partition("=")[::2] for word in line[len(_MARK) :].split())
        if "module" in words:
            addr = _hexadecimal(words.get("addr"))
            if addr is not None:
                modules.append((words["module"], addr))
        else:
            facts.update(words)
    abi = facts.get("abi", "")
    if abi not in ("le64", "le32", "be64", "be32") or "layout" not in facts:
        return None
    return Origin(
        layout=facts["layout"],
        abi=Abi("little" if abi.startswith("le") else "big", 8 if abi.endswith("64") else 4),
        clock=facts.get("clock", ""),
        text_addr=_hexadecimal(facts.get("text_addr")),
        data_addr=_hexadecimal(facts.get("data_addr")),
        kaslr_offset=_hexadecimal(facts.get("kaslr_offset")),
        modules=tuple(modules),
    )


def _hexadecimal(word: str | None) -> int | None:
    try:
        return int(word or "", 16)
    except ValueError:
        return None


def encode(text: str) -> bytes:
    """The bytes of a text: those of the kernel, as strings of records keep bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def lost_line(cpu: int, lost: int) -> str:
    """What stands in front of a record that others were lost before; ``lost`` is negative when nobody counted."""
    return f"CPU:{cpu} [LOST EVENTS]\n" if lost < 0 else f"CPU:{cpu} [LOST {lost} EVENTS]\n"


class TraceRenderer:
    """Renders slices of a table of entries as text."""

    def __init__(self, prefix: PrefixRenderer, bodies: Bodies) -> None:
        self._prefix = prefix
        self._bodies = bodies

    def render(
        self, entries: Entries, names: npt.NDArray[np.integer[Any]], leaf: npt.NDArray[np.int64] | None = None
    ) -> bytes:
        """All lines of a slice. ``names`` is the column of task names that the prefix takes, ``leaf`` the column of
        folded exits that the bodies take; exits without a line of their own are not among the entries.
        """
        pieces = [""] * (2 * len(entries))
        pieces[::2] = self._prefix.render(entries, names)
        pieces[1::2] = self._bodies.render(entries, leaf)
        lost = entries.records.lost
        for row in np.flatnonzero(lost).tolist():
            pieces[2 * row] = lost_line(int(entries.records.cpu[row]), int(lost[row])) + pieces[2 * row]
        for row in np.flatnonzero(entries.records.length > LONG_RAW_DATA).tolist():
            pieces[2 * row + 1] = self._bodies.fitting(int(entries.id[row]), *pieces[2 * row : 2 * row + 2])
        return encode("".join(pieces))
