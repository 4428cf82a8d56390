# SPDX-License-Identifier: Apache-2.0
"""DWARF as a source of structure layouts, for kernels without BTF: vmlinux files with debug information.

A kernel has thousands of compilation units and hundreds of megabytes of DWARF. Everything that describes trace events
is known to the units below kernel/trace/, so those are searched, one at a time and only until a name is found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from rbdump.errors import SourceError
from rbdump.kernel.files.elf import BROKEN, open_stream
from rbdump.kernel.types.typeinfo import Member, StructLayout

__all__ = ["Dwarf"]

FOLDER = b"kernel/trace/"
FIRST = (b"kernel/trace/trace_events.c", b"kernel/trace/trace_syscalls.c")
"""Between them, these units use every structure that formats need."""
MAX_UNITS = 1 << 17
MAX_EXPANSION = 64
"""Compressed debug sections are three to five times larger when expanded."""
SMALLEST = 12
"""Bytes of the header of a unit."""
HEAD = 96
"""Bytes of a unit's header and of the first attributes of its first entry."""
MAX_NESTED = 1 << 10
STRUCTS = ("DW_TAG_structure_type", "DW_TAG_union_type")
QUALIFIERS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type")


class Dwarf:
    """The types of a kernel with debug information.

    :param data: the ELF file.
    :raises SourceError: its DWARF cannot be read.
    """

    origin = "DWARF"

    def __init__(self, data: npt.NDArray[np.uint8], name: str) -> None:
        self._name = name
        self._structs: dict[str, list[Any]] = {}
        self._enums: dict[str, dict[str, int]] = {}
        self._constants: dict[str, int] = {}
        try:
            elf = ELFFile(open_stream(data))
            for section in elf.iter_sections():
                size = section["sh_size"] if section["sh_type"] != "SHT_NOBITS" else 0
                if section["sh_offset"] + size > len(data) or section.data_size > MAX_EXPANSION * len(data):
                    raise ELFError(f"section {section.name} lies outside of the file")
            self._info: Any = elf.get_dwarf_info(relocate_dwarf_sections=False)
            self._address_size = int(elf.elfclass) // 8
            units = self._trace_units()
        except BROKEN as error:
            raise self._damaged(error) from None
        self._waiting = iter(units)

    def struct(self, name: str, *members: str) -> StructLayout | None:
        """The structure or union ``name`` that has ``members``, those of anonymous members included."""
        tried = 0
        while True:
            for die in self._structs.get(name, [])[tried:]:
                tried += 1
                layout = self._layout(die)
                if all(member in layout.members for member in members):
                    return layout
            if not self._next_unit():
                return None

    def enum(self, name: str) -> dict[str, int]:
        """The constants of ``enum name``; empty when the units of tracing have none."""
        while name not in self._enums and self._next_unit():
            pass
        return self._enums.get(name, {})

    def constant(self, name: str) -> int | None:
        """The value of an enumeration constant that the units of tracing know."""
        while name not in self._constants and self._next_unit():
            pass
        return self._constants.get(name)

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The values of those of ``names`` that are enumeration constants in the units of tracing."""
        found = {name: self.constant(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    # -- decoding -----------------------------------------------------------------------------------------------

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self._name}: its DWARF cannot be read ({error}); give a file with intact debug information"
        )

    def _trace_units(self) -> list[Any]:
        """The units of kernel/trace, the most useful ones first."""
        found: list[tuple[int, int, Any]] = []
        for offset in self._likely_units():
            unit = self._info.get_CU_at(offset)
            attribute = unit.get_top_DIE().attributes.get("DW_AT_name")
            path = attribute.value if attribute is not None else b""
            if FOLDER in path:
                rank = next((place for place, name in enumerate(FIRST) if path.endswith(name)), len(FIRST))
                found.append((rank, offset, unit))
        return [unit for _, _, unit in sorted(found, key=lambda item: item[:2])]

    def _likely_units(self) -> list[int]:
        """Offsets of the units whose first bytes may name a file of kernel/trace.

        pyelftools takes 5 ms for each unit's first entry; a unit's name is a reference to a string or stands there.
        """
        data = self._info.debug_info_sec.stream.getbuffer()
        wanted: list[int] = []
        for section in (self._info.debug_str_sec, self._info.debug_line_str_sec):
            wanted += _strings_with(section.stream.getvalue(), FOLDER) if section is not None else []
        endian = "<" if self._info.config.little_endian else ">"
        starts: list[int] = []
        position = 0
        while position + SMALLEST <= len(data) and len(starts) < MAX_UNITS:
            starts.append(position)
            (length,) = struct.unpack_from(f"{endian}I", data, position)
            position += length + 4
        if not starts:
            return []
        table = np.array(starts, np.int64)
        heads = np.frombuffer(data, np.uint8)[np.minimum(table[:, None] + np.arange(HEAD), len(data) - 1)]
        windows = np.lib.stride_tricks.sliding_window_view(heads, 4, axis=1)
        words = np.ascontiguousarray(windows).view(f"{endian}u4")[:, :, 0]
        likely = np.isin(words, np.array(wanted, np.uint32)).any(axis=1)
        inline = [FOLDER in row.tobytes() for row in heads]
        return [starts[row] for row in np.flatnonzero(likely | np.array(inline, np.bool_)).tolist()]

    def _next_unit(self) -> bool:
        """Collect the names of one more unit; False when there is none left."""
        unit = next(self._waiting, None)
        if unit is None:
            return False
        try:
            for die in unit.get_top_DIE().iter_children():
                self._collect(die)
        except BROKEN as error:
            raise self._damaged(error) from None
        return True

    def _collect(self, die: Any) -> None:
        if die.tag in STRUCTS and "DW_AT_byte_size" in die.attributes:
            if name := _name(die):
                self._structs.setdefault(name, []).append(die)
        elif die.tag == "DW_TAG_enumeration_type":
            values = {_name(item): int(item.attributes["DW_AT_const_value"].value) for item in die.iter_children()
                      if item.tag == "DW_TAG_enumerator"}  # fmt: skip
            for name, value in values.items():
                self._constants.setdefault(name, value)
            if own := _name(die):
                self._enums.setdefault(own, values)

    def _layout(self, die: Any) -> StructLayout:
        members: dict[str, Member] = {}
        waiting = [(die, 0)]
        try:
            for _ in range(MAX_NESTED):
                if not waiting:
                    break
                inner, base = waiting.pop()
                for item in inner.iter_children():
                    if item.tag != "DW_TAG_member":
                        continue
                    member = self._member(item, base)
                    target = _strip(item)
                    if member.name:
                        members.setdefault(member.name, member)
                    elif target is not None and target.tag in STRUCTS:
                        waiting.append((target, member.bit_offset))
            return StructLayout(_name(die), int(die.attributes["DW_AT_byte_size"].value), members)
        except BROKEN as error:
            raise self._damaged(error) from None

    def _member(self, die: Any, base: int) -> Member:
        attributes = die.attributes
        location = attributes.get("DW_AT_data_member_location")
        place = base + (8 * int(location.value) if location is not None and isinstance(location.value, int) else 0)
        size = self._size(_strip(die))
        bits = int(attributes["DW_AT_bit_size"].value) if "DW_AT_bit_size" in attributes else 0
        if "DW_AT_data_bit_offset" in attributes:
            place = base + int(attributes["DW_AT_data_bit_offset"].value)
        elif "DW_AT_bit_offset" in attributes:
            # DWARF 3 counts from the most significant bit of the storage unit.
            unit = int(attributes["DW_AT_byte_size"].value) if "DW_AT_byte_size" in attributes else size
            skip = int(attributes["DW_AT_bit_offset"].value)
            place += skip if not self._info.config.little_endian else 8 * unit - skip - bits
        return Member(_name(die), place // 8, size, place, bits)

    def _size(self, die: Any) -> int:
        """Bytes of a type; 0 where nothing says."""
        if die is None:
            return 0
        if die.tag == "DW_TAG_pointer_type":
            return int(self._address_size)
        if die.tag == "DW_TAG_array_type":
            count = 1
            for item in die.iter_children():
                count *= _count(item)
            return count * self._size(_strip(die))
        size = die.attributes.get("DW_AT_byte_size")
        return int(size.value) if size is not None else 0


def _strings_with(section: bytes, part: bytes) -> list[int]:
    """Offsets of the strings that contain ``part``."""
    found = []
    position = section.find(part)
    while position >= 0:
        found.append(section.rfind(b"\0", 0, position) + 1)
        position = section.find(part, max(position + 1, section.find(b"\0", position)))
    return found


def _name(die: Any) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute is not None else ""


def _strip(die: Any) -> Any:
    """The type of a member behind typedefs and qualifiers; None for void."""
    for _ in range(64):
        if "DW_AT_type" not in die.attributes:
            return None
        die = die.get_DIE_from_attribute("DW_AT_type")
        if die.tag not in QUALIFIERS:
            return die
    return None


def _count(dimension: Any) -> int:
    if "DW_AT_count" in dimension.attributes:
        return int(dimension.attributes["DW_AT_count"].value)
    if "DW_AT_upper_bound" in dimension.attributes:
        return int(dimension.attributes["DW_AT_upper_bound"].value) + 1
    return 0
