# SPDX-License-Identifier: Apache-2.0
"""Link address to file:line, by the DWARF of a vmlinux or of a separate debug file.

.debug_aranges says which compilation unit an address belongs to; without it (clang emits none by default) the ranges
of all units are collected once. Only the line program of that one unit is then run.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from elftools.elf.elffile import ELFFile

from rbdump.inputs import map_source
from rbdump.kernel.files.elf import BROKEN, open_stream

__all__ = ["SourceLines"]

_ELF = b"\x7fELF"
_MAX_ROWS = 1 << 22


class SourceLines:
    """The line tables of one file; damage in them costs lines, never more."""

    def __init__(self, path: str) -> None:
        """InputError or SourceError if the file cannot be read; a file without DWARF knows no lines."""
        data = map_source(path)
        self._dwarf: Any = None
        self._ranges: list[tuple[int, int, Any]] | None = None
        self._rows: dict[int, tuple[list[int], list[str | None]]] = {}
        if data[:4].tobytes() == _ELF:
            self._dwarf = _or_none(lambda: _open(data))

    def __bool__(self) -> bool:
        """Whether the file has DWARF."""
        return self._dwarf is not None

    def lookup(self, addr: int) -> str | None:
        """``kernel/sched/core.c:5012`` of a link address, relative to where the kernel was built; None if unknown."""
        if self._dwarf is None:
            return None
        unit = _or_none(lambda: self._unit_at(addr))
        if unit is None:
            return None
        offset = int(unit.cu_offset)
        if offset not in self._rows:
            self._rows[offset] = _or_none(lambda: _line_rows(self._dwarf, unit)) or ([], [])
        starts, lines = self._rows[offset]
        at = bisect_right(starts, addr) - 1
        return lines[at] if at >= 0 else None

    def _unit_at(self, addr: int) -> Any:
        if self._ranges is None:
            aranges = _or_none(self._dwarf.get_aranges)
            offset = aranges.cu_offset_at_addr(addr) if aranges is not None else None
            if offset is not None:
                return self._dwarf.get_CU_at(offset)
            if aranges is not None and aranges.entries:
                return None
            self._ranges = sorted(_unit_ranges(self._dwarf), key=lambda item: item[:2])
        at = bisect_right(self._ranges, addr, key=lambda item: item[0]) - 1
        return self._ranges[at][2] if at >= 0 and addr < self._ranges[at][1] else None


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except BROKEN:
        return None


def _open(data: Any) -> Any:
    elf = ELFFile(open_stream(data))
    if not elf.has_dwarf_info() or not any(elf.get_section_by_name(name) for name in (".debug_line", ".zdebug_line")):
        return None
    return elf.get_dwarf_info(relocate_dwarf_sections=False)


def _unit_ranges(dwarf: Any) -> Iterator[tuple[int, int, Any]]:
    """The address ranges of all compilation units that make sense."""
    lists = _or_none(dwarf.range_lists)
    units = dwarf.iter_CUs()
    while (unit := _or_none(lambda: next(units, None))) is not None:
        for low, high in _or_none(partial(_ranges_of, unit, lists)) or ():
            if low < high:
                yield low, high, unit


def _ranges_of(unit: Any, lists: Any) -> list[tuple[int, int]]:
    attributes = unit.get_top_DIE().attributes
    low = attributes["DW_AT_low_pc"].value if "DW_AT_low_pc" in attributes else 0
    if "DW_AT_ranges" in attributes and lists is not None:
        found = []
        base = low
        for entry in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, unit):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                shift = 0 if getattr(entry, "is_absolute", False) else base
                found.append((entry.begin_offset + shift, entry.end_offset + shift))
        return found
    if "DW_AT_high_pc" not in attributes:
        return []
    high = attributes["DW_AT_high_pc"]
    return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]


def _line_rows(dwarf: Any, unit: Any) -> tuple[list[int], list[str | None]]:
    """The rows of a unit's line table: first address of each, sorted, and its file:line, None behind a sequence."""
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return [], []
    names = _file_names(program, unit)
    rows: dict[int, str | None] = {}
    for number, entry in enumerate(program.get_entries()):
        state = entry.state
        if number > _MAX_ROWS:
            break
        if state is None:
            continue
        if state.end_sequence:
            rows.setdefault(state.address, None)
        else:
            name = names[state.file] if 0 <= state.file < len(names) else "?"
            rows[state.address] = f"{name}:{state.line}"
    starts = sorted(rows)
    return starts, [rows[start] for start in starts]


def _file_names(program: Any, unit: Any) -> list[str]:
    """File names by the number that the line program uses, relative to the folder of the build."""
    attributes = unit.get_top_DIE().attributes
    top = _text(attributes["DW_AT_comp_dir"].value) if "DW_AT_comp_dir" in attributes else ""
    folders = [_text(folder) for folder in program["include_directory"]]
    five = program["version"] >= 5
    if not five:  # folder 0 is that of the build and files count from 1
        folders = [top, *folders]
    names = [] if five else ["?"]
    for entry in program["file_entry"]:
        folder = folders[entry.dir_index] if 0 <= entry.dir_index < len(folders) else ""
        path = posixpath.normpath(posixpath.join(top, folder, _text(entry.name)))
        names.append(path.removeprefix(f"{top.rstrip('/')}/") if top else path)
    return names


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
