# SPDX-License-Identifier: Apache-2.0
"""Writes DWARF 4 type descriptions for one or more compilation units, in an ELF file of either byte order."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rbdump.abi import Abi
from tests.dwarfwriter import sleb
from tests.kowriter import PROGBITS, SectionSpec, elf_file

NAME, SIZE, TYPE, PLACE, VALUE, UPPER, BITS, BIT_PLACE = 0x03, 0x0B, 0x49, 0x38, 0x1C, 0x2F, 0x0D, 0x6B
OLD_BIT_PLACE, COUNT = 0x0C, 0x37
STRING, STRP, DATA1, DATA2, SDATA, REF4 = 0x08, 0x0E, 0x0B, 0x05, 0x0D, 0x13
# code: (tag, children, attributes)
ABBREVS: dict[int, tuple[int, bool, list[tuple[int, int]]]] = {
    1: (0x11, True, [(NAME, STRP)]),
    2: (0x13, True, [(NAME, STRING), (SIZE, DATA1)]),
    3: (0x0D, False, [(NAME, STRING), (TYPE, REF4), (PLACE, DATA1)]),
    4: (0x0D, False, [(NAME, STRING), (TYPE, REF4), (BITS, DATA1), (BIT_PLACE, DATA2)]),
    5: (0x24, False, [(NAME, STRING), (SIZE, DATA1)]),
    6: (0x0F, False, [(SIZE, DATA1)]),
    7: (0x04, True, [(NAME, STRING), (SIZE, DATA1)]),
    8: (0x28, False, [(NAME, STRING), (VALUE, SDATA)]),
    9: (0x17, True, [(SIZE, DATA1)]),
    10: (0x0D, False, [(TYPE, REF4), (PLACE, DATA1)]),
    11: (0x16, False, [(NAME, STRING), (TYPE, REF4)]),
    12: (0x01, True, [(TYPE, REF4)]),
    13: (0x21, False, [(UPPER, DATA1)]),
    14: (0x04, True, [(SIZE, DATA1)]),
    15: (0x11, True, [(NAME, STRING)]),
    16: (
        0x0D,
        False,
        [(NAME, STRING), (TYPE, REF4), (SIZE, DATA1), (BITS, DATA1), (OLD_BIT_PLACE, DATA1), (PLACE, DATA1)],
    ),
    17: (0x21, False, [(COUNT, DATA1)]),
    18: (0x21, False, []),
}


@dataclass
class Unit:
    """One compilation unit; entries are added in order, references are offsets that `add` returned."""

    name: str
    inline: bool = False
    """Whether the name stands in the unit itself and not in .debug_str."""
    entries: list[tuple[int, tuple[str | int, ...]]] = field(default_factory=list)
    size: int = 0

    def add(self, code: int, *values: str | int) -> int:
        """One entry; its number, for references."""
        self.entries.append((code, values))
        return len(self.entries) - 1

    def end(self) -> None:
        """The end of an entry's children."""
        self.entries.append((0, ()))


def dwarf_file(abi: Abi, units: list[Unit]) -> bytes:
    """An ELF executable with the debug sections of these units."""
    sections: list[SectionSpec] = [("", 0, 0, b"", 0, 0, 0)]
    sections += [(name, PROGBITS, 0, data, 0, 0, 1) for name, data in type_sections(abi, units).items()]
    return elf_file(abi, 62, sections, kind=2)


def type_sections(abi: Abi, units: list[Unit]) -> dict[str, bytes]:
    """The debug sections of these units."""
    endian = abi.endian
    strings = bytearray(b"\0")
    info = b""
    for unit in units:
        body = b""
        offsets: list[int] = []
        top: tuple[int, tuple[str | int, ...]] = (15 if unit.inline else 1, (unit.name,))
        for number, (code, values) in enumerate([top, *unit.entries, (0, ())]):
            if number:
                offsets.append(11 + len(body))
            body += bytes([code])
            for (_, form), value in zip(ABBREVS[code][2] if code else [], values, strict=True):
                if form == STRING:
                    body += str(value).encode() + b"\0"
                elif form == STRP:
                    body += struct.pack(f"{endian}I", len(strings))
                    strings += str(value).encode() + b"\0"
                elif form == DATA1:
                    body += bytes([int(value)])
                elif form == DATA2:
                    body += struct.pack(f"{endian}H", int(value))
                elif form == SDATA:
                    body += sleb(int(value))
                else:
                    body += struct.pack(f"{endian}I", offsets[int(value)])
        head = struct.pack(f"{endian}HIB", 4, 0, abi.long_size)
        info += struct.pack(f"{endian}I", len(head) + len(body)) + head + body
    abbrevs = b""
    for code, (tag, children, attributes) in ABBREVS.items():
        abbrevs += bytes([code, tag, children])
        for attribute, form in attributes:
            abbrevs += bytes([attribute, form])
        abbrevs += b"\0\0"
    return {".debug_info": info, ".debug_abbrev": abbrevs + b"\0", ".debug_str": bytes(strings)}
