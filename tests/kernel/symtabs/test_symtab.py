# SPDX-License-Identifier: Apache-2.0
"""Which symbols of .symtab kallsyms lists, and the letters that nm (binutils 2.40) gives them."""

from __future__ import annotations

import struct
from pathlib import Path

from rbdump.abi import Abi
from rbdump.kernel.image import load_image
from tests.imagewriter import ALLOC, EXEC, NOBITS, PROGBITS, STRTAB, SYMTAB, WRITE, ElfSection, write_elf

NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3
LOCAL, GLOBAL, WEAK = 0, 1, 2
BASE = 0xFFFF_FFFF_8100_0000
SECTIONS = {  # name: type, flags
    ".text": (PROGBITS, ALLOC | EXEC),
    ".data..ro_after_init": (PROGBITS, ALLOC),
    ".bss..page_aligned": (PROGBITS, ALLOC | WRITE),
    ".rodata.str1.1": (PROGBITS, ALLOC | WRITE),
    ".data_own": (PROGBITS, ALLOC),
    "odd.code": (PROGBITS, ALLOC | EXEC),
    "odd.bss": (NOBITS, ALLOC | WRITE),
    "odd.data": (PROGBITS, ALLOC | WRITE),
    "odd.rodata": (PROGBITS, ALLOC),
    ".comment": (PROGBITS, 0),
}
SYMBOLS = [  # name, section, type, binding, the letter or None if it is left out
    ("_text", ".text", NOTYPE, GLOBAL, "T"),
    ("local_function", ".text", FUNC, LOCAL, "t"),
    ("weak_function", ".text", FUNC, WEAK, "W"),
    ("in_data", ".data..ro_after_init", OBJECT, LOCAL, "r"),
    ("in_bss", ".bss..page_aligned", OBJECT, GLOBAL, "D"),
    ("in_rodata", ".rodata.str1.1", OBJECT, GLOBAL, "D"),
    ("read_only", ".data_own", OBJECT, GLOBAL, "R"),
    ("in_code", "odd.code", FUNC, GLOBAL, "T"),
    ("in_odd_bss", "odd.bss", OBJECT, LOCAL, "b"),
    ("in_odd_data", "odd.data", OBJECT, LOCAL, "d"),
    ("weak_object", "odd.data", OBJECT, WEAK, "V"),
    ("in_odd_rodata", "odd.rodata", OBJECT, LOCAL, "r"),
    ("in_comment", ".comment", OBJECT, LOCAL, None),
    ("absolute", "", NOTYPE, LOCAL, None),
    (".section", ".text", SECTION, LOCAL, None),
    ("$d", ".text", NOTYPE, LOCAL, None),
    ("__crc_function", ".text", NOTYPE, LOCAL, None),
    ("__ThumbV7PILongThunk_f", ".text", FUNC, LOCAL, None),
]


def test_letters(tmp_path: Path) -> None:
    order = list(SECTIONS)
    strings, table = b"\0", bytes(24)
    for number, (name, section, kind, binding, _) in enumerate(SYMBOLS):
        index = order.index(section) + 1 if section else 0xFFF1
        table += struct.pack("<IBBHQQ", len(strings), binding << 4 | kind, 0, index, BASE + number, 0)
        strings += name.encode() + b"\0"
    sections = [
        ElfSection(
            name, kind, flags, BASE if flags else 0, b"Linux version 6.12.0 ", size=64 if kind == NOBITS else None
        )
        for name, (kind, flags) in SECTIONS.items()
    ]
    sections.append(ElfSection(".symtab", SYMTAB, 0, 0, table, link=len(sections) + 2, entry_size=24))
    sections.append(ElfSection(".strtab", STRTAB, 0, 0, strings))
    (tmp_path / "vmlinux").write_bytes(write_elf(sections, Abi("little", 8), "x86-64"))
    symbols = load_image(str(tmp_path / "vmlinux"), cache=False).symbols
    found = [(name, chr(letter)) for name, letter in zip(symbols.names, symbols.types, strict=True)]
    assert found == [(name, letter) for name, _, _, _, letter in SYMBOLS if letter is not None]
