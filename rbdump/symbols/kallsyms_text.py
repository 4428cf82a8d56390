# SPDX-License-Identifier: Apache-2.0
"""Reads symbol lists in text: /proc/kallsyms (kernel/kallsyms.c s_show()) and System.map (nm -n).

A line is ``ADDRESS TYPE NAME``, in /proc/kallsyms followed by a tab and ``[MODULE]`` when it is not the kernel's own.
Addresses of one file have one width: 8 or 16 digits.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.errors import SourceError
from rbdump.findings import Finding, Severity
from rbdump.inputs import describe, open_bytes
from rbdump.kernel.symboldata import Names
from rbdump.kernel.symtabs.aliases import kallsyms_order
from rbdump.symbols.table import TEXT, SymbolTable

__all__ = ["load_kallsyms", "parse_kallsyms"]

Octets = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]

_FIRST_LINE = re.compile(rb"([0-9a-fA-F]{8}|[0-9a-fA-F]{16}) [^ \n] [^ \n]")
_ABSOLUTE = np.frombuffer(b"aA", np.uint8)
_MAX_BAD_SHARE = 0.02
_PLACEHOLDER = b"The real System.map is in"
"""Of the only line of /boot/System.map-... on Debian, whose address is the last one that there is."""
_MAX_PLACEHOLDER = 256


def load_kallsyms(source: str | bytes) -> SymbolTable:
    """The symbols of a copy of /proc/kallsyms or of a System.map; ``source`` is a path or the text itself.

    SourceError when the text is no such list, or was read without the privilege to see addresses.
    """
    if isinstance(source, bytes):
        return parse_kallsyms(source)
    return parse_kallsyms(open_bytes(source), name=source)


def parse_kallsyms(text: bytes, *, name: str = "symbol list") -> SymbolTable:
    """The symbols of a symbol list in text; see `load_kallsyms`."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    ended = text.endswith(b"\n")
    if not ended:
        text += b"\n"
    first = _FIRST_LINE.search(text[: 1 << 16])
    if first is None:
        what = describe(np.frombuffer(text, np.uint8))
        raise SourceError(
            f"{name}: no line looks like a line of /proc/kallsyms or System.map (ADDRESS TYPE NAME); "
            f"the file looks like {what}"
        )
    if _PLACEHOLDER in text[:_MAX_PLACEHOLDER]:
        raise SourceError(
            f"{name}: is Debian's placeholder, the real one is in the linux-image-...-dbg package; "
            "the kernel image has the symbols as well (--vmlinux)"
        )
    width = len(first[1])
    octets = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(octets == 0x0A)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    starts, ends, skipped = _whole_lines(octets, starts, ends, width)
    digits, valid = _digits(octets, starts, width)
    if not valid.all():
        starts, ends, digits = starts[valid], ends[valid], digits[valid]
        skipped += int(np.count_nonzero(~valid))
    addrs = _integers(digits)
    if len(addrs) <= _MAX_BAD_SHARE * skipped or not len(addrs):
        raise SourceError(f"{name}: {skipped} of {skipped + len(addrs)} lines are not lines of /proc/kallsyms")
    if not addrs.any():
        raise SourceError(
            f"{name}: all addresses are 0: /proc/kallsyms hides them from unprivileged readers; "
            "copy it as root, with kernel.kptr_restrict=0"
        )
    tabs = np.flatnonzero(octets == 0x09)
    owners, modules, name_ends = _modules(text, starts, ends, tabs)
    types = octets[starts + (width + 1)]
    if width == 16 and np.isin(types, _ABSOLUTE).all():
        raise SourceError(
            f"{name}: holds none but the per-CPU symbols, with which /proc/kallsyms begins; give all of its lines"
        )
    live = _live(addrs, types, owners) if modules else None
    if live is not None:
        starts, name_ends = starts[live], name_ends[live]
        addrs, types, owners = addrs[live], types[live], owners[live]
    names = Names(text, starts + (width + 3), name_ends)
    order = None if modules else _order_of_aliases(addrs, names, types)
    if order is not None:
        addrs, names, types, owners = addrs[order], names.select(order), types[order], owners[order]
    findings = []
    if skipped:
        message = f"{name}: {skipped} lines are not symbol lines and were left out"
        findings.append(Finding(Severity.WARNING, "kallsyms-lines-skipped", message))
    if not ended:
        message = f"{name}: its last line has no end: the list was cut off perhaps, and what followed has no names"
        findings.append(Finding(Severity.WARNING, "kallsyms-cut-off", message))
    table = SymbolTable(
        addrs,
        names,
        types=types,
        owners=owners,
        modules=modules,
        origin=name,
        findings=findings,
    )
    if table.addr("_stext") is None:
        text_rows = np.flatnonzero((table.owners < 0) & np.isin(table.types, TEXT))
        unnamed = int(np.count_nonzero(table.nearest(table.addrs[text_rows])[0] < 0))
        if unnamed:
            message = (
                f"{name}: lacks _stext, where the kernel's text begins: {unnamed} of its {len(text_rows)} functions "
                "are not used; give all lines of the list"
            )
            table.findings += (Finding(Severity.WARNING, "kallsyms-without-text", message),)
    return table


def _order_of_aliases(addrs: npt.NDArray[np.uint64], names: Names, types: Octets) -> Index | None:
    """The rows in the kernel's order when the text has that of nm(1), a System.map: aliases by name; else None."""
    ties = np.flatnonzero(addrs[1:] == addrs[:-1])
    if any(names.raw(tie) > names.raw(tie + 1) for tie in ties.tolist()):
        return None
    order = np.arange(len(addrs))
    rows = distinct(np.concatenate([ties, ties + 1]))
    order[rows] = rows[kallsyms_order(addrs[rows], types[rows], [names.raw(row) for row in rows.tolist()])]
    return order


def _whole_lines(octets: Octets, starts: Index, ends: Index, width: int) -> tuple[Index, Index, int]:
    """The lines of the right shape, and how many others there are that are not blank."""
    long_enough = ends - starts > width + 3
    blank = ends - starts == 0
    skipped = int(np.count_nonzero(~long_enough & ~blank))
    if not long_enough.all():
        starts, ends = starts[long_enough], ends[long_enough]
    shaped = (octets[starts + width] == 0x20) & (octets[starts + (width + 2)] == 0x20)
    if not shaped.all():
        skipped += int(np.count_nonzero(~shaped))
        starts, ends = starts[shaped], ends[shaped]
    return starts, ends, skipped


def _digits(octets: Octets, starts: Index, width: int) -> tuple[Octets, npt.NDArray[np.bool_]]:
    """The address digits of each line as values 0 to 15, and which lines have nothing but digits there."""
    values = np.full(256, 255, np.uint8)
    for value, pair in enumerate("0123456789abcdef"):
        values[ord(pair)] = values[ord(pair.upper())] = value
    windows = np.lib.stride_tricks.sliding_window_view(octets, width)
    digits = values[windows[starts]]
    return digits, digits.max(axis=1, initial=0) < 16


def _integers(digits: Octets) -> npt.NDArray[np.uint64]:
    packed = (digits[:, 0::2] << 4) | digits[:, 1::2]
    return np.ascontiguousarray(packed).view(f">u{packed.shape[1]}").ravel().astype(np.uint64)


def _live(addrs: npt.NDArray[np.uint64], types: Octets, owners: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_] | None:
    """Which symbols the kernel would find, where it would not find all.

    Behind all modules, 6.12 lists functions of initialisers that ftrace remembers (ftrace_mod_get_kallsym() of
    kernel/trace/ftrace.c): they answer where no module does (kallsyms_lookup_buildid() of kernel/kallsyms.c), and
    their memory, long freed, may be another module's.
    """
    starts = np.append(0, np.flatnonzero(np.diff(owners)) + 1)
    _, first = np.unique(owners[starts], return_index=True)
    again = np.ones(len(starts), np.bool_)
    again[first] = False
    remembered = np.repeat(again, np.diff(np.append(starts, len(owners)))) & (owners >= 0)
    if not remembered.any():
        return None
    text = np.flatnonzero(np.isin(types, TEXT) & (owners >= 0) & ~remembered)
    if not len(text):
        return None
    order = text[np.lexsort((addrs[text], owners[text]))]
    bounds = np.append(0, np.flatnonzero(np.diff(owners[order])) + 1)
    page = np.uint64(4095)
    low = addrs[order[bounds]] & ~page
    high = addrs[order[np.append(bounds[1:], len(order)) - 1]] | page
    by_place = np.argsort(low)
    reach = np.maximum.accumulate(high[by_place])
    rows = np.flatnonzero(remembered)
    before = np.searchsorted(low[by_place], addrs[rows], side="right") - 1
    live = np.ones(len(addrs), np.bool_)
    live[rows[(before >= 0) & (addrs[rows] <= reach[before])]] = False
    return live


def _modules(text: bytes, starts: Index, ends: Index, tabs: Index) -> tuple[npt.NDArray[np.int32], list[str], Index]:
    """The module of each line (index, -1 for none), the modules' names, and where each symbol's name ends."""
    owners = np.full(len(starts), -1, np.int32)
    name_ends = ends
    modules: dict[bytes, int] = {}
    if len(tabs) and len(starts):
        name_ends = ends.copy()
        lines = np.searchsorted(starts, tabs, side="right") - 1
        last = b""
        owner = -1
        for tab, line in zip(tabs.tolist(), lines.tolist(), strict=True):
            end = int(ends[line])
            if line < 0 or tab >= end:
                continue
            name_ends[line] = min(tab, int(name_ends[line]))
            tag = text[tab + 1 : end].strip()
            if tag != last:
                last, owner = tag, modules.setdefault(tag.strip(b"[]"), len(modules))
            owners[line] = owner
    return owners, [name.decode("utf-8", "replace") for name in modules], name_ends
