# SPDX-License-Identifier: Apache-2.0
"""Writes kernel modules: relocatable ELF objects with code, symbols and the tables of trace events."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rbdump.abi import Abi
from tests.eventwriter import EventWriter

MACHINES = {  # number in e_machine, relocation of a whole word, with addends
    "x86-64": (62, 1, True),
    "aarch64": (183, 257, True),
    "s390x": (22, 22, True),
    "ppc": (20, 1, True),
    "ppc64le": (21, 38, True),
    "arm": (40, 2, False),
}
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXEC = 1, 2, 4
SectionSpec = tuple[str, int, int, bytes, int, int, int]
"""``(name, type, flags, contents, link, info, alignment)``"""
SECTIONS = {
    "ftrace_events": "_ftrace_events",
    "ftrace_eval_maps": "_ftrace_eval_map",
}


@dataclass
class KoWriter:
    """One module; its data comes from an EventWriter."""

    events: EventWriter
    modinfo: dict[str, str] = field(default_factory=lambda: {"name": "toy", "vermagic": "6.12.1 SMP mod_unload "})
    code: dict[str, bytes] = field(default_factory=lambda: {".text": bytes(64)})
    """Executable sections in file order."""
    functions: list[tuple[str, str, int]] = field(default_factory=list)
    """``(name, section, offset)``"""
    sections: dict[str, bytes] = field(default_factory=dict)
    """Sections that are not loaded: ``.BTF``."""
    code_relocations: list[tuple[int, int]] = field(default_factory=list)
    """``(symbol, type)`` of relocations of .text; 64-bit machines only."""

    def name_events(self, system: str, *names: str) -> None:
        """Add the symbols that the definitions of events leave."""
        self.functions += [(f"__event_{name}", "_ftrace_events", 0) for name in names]
        variable = system.replace("-", "_")
        self.functions.append(
            (f"str__{variable}__trace_system_name", ".data", self.events.string(system) - self.events.base)
        )

    @property
    def abi(self) -> Abi:
        return self.events.abi

    def build(self) -> bytes:
        number, absolute, with_addends = MACHINES[self.events.machine]
        word = self.abi.long_size
        sections: list[SectionSpec] = [("", 0, 0, b"", 0, 0, 0)]
        for name, data in self.code.items():
            sections.append((name, PROGBITS, ALLOC | EXEC, data, 0, 0, 16))
        contents = {".data": bytes(self.events.data)}
        for table, pointers in self.events.tables.items():
            contents[SECTIONS[table]] = self.events.pointers(pointers)
        first_data = len(sections)
        relocated = []
        for name, data in contents.items():
            stripped, entries = self._relocations(data, absolute, with_addends, 1)
            relocated.append((len(sections), name, entries))
            sections.append((name, PROGBITS, ALLOC | WRITE, stripped, 0, 0, 8))
        info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in self.modinfo.items())
        sections.append((".modinfo", PROGBITS, ALLOC, info, 0, 0, 1))
        sections.append((".bss", NOBITS, ALLOC | WRITE, b"", 0, 0, 8))
        sections += [(name, PROGBITS, 0, data, 0, 0, 1) for name, data in self.sections.items()]
        if self.code_relocations:
            rows = [
                struct.pack(f"{self.abi.endian}QQq", 0, symbol << 32 | kind, 0)
                for symbol, kind in self.code_relocations
            ]
            relocated.append((1, next(iter(self.code)), b"".join(rows)))
        symtab = len(sections) + len(relocated)
        kind, prefix = (RELA, ".rela") if with_addends else (REL, ".rel")
        for index, name, entries in relocated:
            sections.append((f"{prefix}{name}", kind, 0, entries, symtab, index, word))
        strings = bytearray(b"\0")
        symbols = self._symbol(0, 0, 0, 0) + self._symbol(0, 3, first_data, 0)
        order = {section[0]: index for index, section in enumerate(sections)}
        for name, section, offset in self.functions:
            symbols += self._symbol(len(strings), 0x12, order.get(section, 0), offset)
            strings += name.encode() + b"\0"
        sections.append((".symtab", SYMTAB, 0, symbols, symtab + 1, 2, word))
        sections.append((".strtab", STRTAB, 0, bytes(strings), 0, 0, 1))
        return elf_file(self.abi, number, sections)

    def _relocations(self, data: bytes, absolute: int, with_addends: bool, symbol: int) -> tuple[bytes, bytes]:
        """``data`` with its pointers into the writer's memory moved into relocations against ``.data``."""
        word, endian = self.abi.long_size, self.abi.endian
        letter = {8: "Q", 4: "I"}[word]
        stripped, entries = bytearray(data), b""
        for offset in range(0, len(data) - word + 1, word):
            (value,) = struct.unpack_from(f"{endian}{letter}", data, offset)
            addend = value - self.events.base
            if not 0 <= addend < len(self.events.data):
                continue
            info = symbol << 32 | absolute if word == 8 else symbol << 8 | absolute
            entries += struct.pack(f"{endian}2{letter}", offset, info)
            if with_addends:
                entries += struct.pack(f"{endian}{letter}", addend)
            struct.pack_into(f"{endian}{letter}", stripped, offset, 0 if with_addends else addend)
        return bytes(stripped), entries

    def _symbol(self, name: int, info: int, section: int, value: int) -> bytes:
        if self.abi.long_size == 8:
            return struct.pack(f"{self.abi.endian}IBBHQQ", name, info, 0, section, value, 0)
        return struct.pack(f"{self.abi.endian}IIIBBH", name, value, 0, info, 0, section)


def elf_file(abi: Abi, machine: int, sections: list[SectionSpec], *, kind: int = 1) -> bytes:
    """An ELF file of these sections, the first of them empty; ``kind`` is its e_type."""
    endian, wide = abi.endian, abi.long_size == 8
    letter = "Q" if wide else "I"
    names = bytearray(b"\0")
    header_size, row_size = (64, 64) if wide else (52, 40)
    body, rows = bytearray(header_size), b""
    for name, section_type, flags, data, link, info, align in [*sections, (".shstrtab", STRTAB, 0, b"", 0, 0, 1)]:
        at = len(names)
        names += name.encode() + b"\0" if name else b""
        data = bytes(names) if name == ".shstrtab" else data
        body += bytes(-len(body) % 16)
        size = 256 if section_type == NOBITS else len(data)
        rows += struct.pack(
            f"{endian}II{letter}{letter}{letter}{letter}II{letter}{letter}",
            at if name else 0,
            section_type,
            flags,
            0,
            len(body) if section_type else 0,
            size,
            link,
            info,
            align,
            0,
        )
        body += data
    body += bytes(-len(body) % 16)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if endian == "<" else 2, 1]) + bytes(9)
    header = ident + struct.pack(
        f"{endian}HHI{letter}{letter}{letter}IHHHHHH",
        kind,
        machine,
        1,
        0,
        0,
        len(body),
        0,
        header_size,
        0,
        0,
        row_size,
        len(sections) + 1,
        len(sections),
    )
    body[: len(header)] = header
    return bytes(body) + rows
