# SPDX-License-Identifier: Apache-2.0
"""Writes an ELF file with the DWARF of one compilation unit: its ranges and its line table."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

COMP_DIR = "/build/linux"
_STANDARD_LENGTHS = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])


def uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        done = (value == 0 and not low & 0x40) or (value == -1 and low & 0x40)
        out.append(low | (0 if done else 0x80))
        if done:
            return bytes(out)


def sized(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def line_program(rows: Sequence[tuple[int, int]], end: int) -> bytes:
    out = b""
    line = 1
    for addr, wanted in rows:
        out += b"\0" + uleb(9) + b"\x02" + struct.pack("<Q", addr)  # DW_LNE_set_address
        out += b"\x03" + sleb(wanted - line) + b"\x01"  # DW_LNS_advance_line, DW_LNS_copy
        line = wanted
    return out + b"\0" + uleb(9) + b"\x02" + struct.pack("<Q", end) + b"\0\x01\x01"  # DW_LNE_end_sequence


def line_section(rows: Sequence[tuple[int, int]], end: int, version: int, folder: str, file: str) -> bytes:
    tables = bytes([1, 1, 1, 251, 14, 13]) + _STANDARD_LENGTHS  # line_base -5, line_range 14, opcode_base 13
    if version >= 5:
        tables += bytes([1, 1, 8, 2]) + COMP_DIR.encode() + b"\0" + folder.encode() + b"\0"  # paths as strings
        tables += bytes([2, 1, 8, 2, 0x0F, 2])  # path, directory number
        tables += (file.encode() + b"\0" + uleb(1)) * 2
    else:
        tables += folder.encode() + b"\0\0" + file.encode() + b"\0" + bytes([1, 0, 0]) + b"\0"
    head = struct.pack("<H", version) + (bytes([8, 0]) if version >= 5 else b"")
    return sized(head + struct.pack("<I", len(tables)) + tables + line_program(rows, end))


def dwarf_sections(
    rows: Sequence[tuple[int, int]],
    end: int,
    *,
    version: int = 4,
    folder: str = "kernel/sched",
    file: str = "core.c",
    aranges: bool = True,
    ranges: bool = False,
) -> dict[str, bytes]:
    """The sections of a unit that covers ``rows`` of (address, line) up to ``end``.

    ``ranges`` describes the unit by a range list instead of low and high pc (version 4 only).
    """
    low = rows[0][0]
    attributes = [(0x03, 0x08), (0x1B, 0x08), (0x10, 0x17), (0x11, 0x01), (0x55, 0x17) if ranges else (0x12, 0x07)]
    abbrev = uleb(1) + uleb(0x11) + b"\0" + b"".join(uleb(a) + uleb(f) for a, f in attributes) + b"\0\0\0"
    die = uleb(1) + file.encode() + b"\0" + COMP_DIR.encode() + b"\0" + struct.pack("<I", 0)
    die += struct.pack("<Q", 0) + struct.pack("<I", 0) if ranges else struct.pack("<QQ", low, end - low)
    head = struct.pack("<HBBI", 5, 1, 8, 0) if version >= 5 else struct.pack("<HIB", version, 0, 8)
    sections = {
        ".debug_info": sized(head + die),
        ".debug_abbrev": abbrev,
        ".debug_line": line_section(rows, end, version, folder, file),
    }
    if aranges:
        body = struct.pack("<HIBB4x", 2, 0, 8, 0) + struct.pack("<QQQQ", low, end - low, 0, 0)
        sections[".debug_aranges"] = sized(body)
    if ranges:
        sections[".debug_ranges"] = struct.pack("<QQQQQQ", 2**64 - 1, low, 0, end - low, 0, 0)
    return sections


def write_dwarf(rows: Sequence[tuple[int, int]], end: int, **options: Any) -> bytes:
    """An ELF file with nothing but these sections."""
    return write_elf(dwarf_sections(rows, end, **options))


def write_elf(sections: dict[str, bytes]) -> bytes:
    """An ELF64 little endian executable of these sections and nothing that is loaded."""
    names = b"\0"
    headers = [bytes(64)]
    body = bytearray(64)
    for name, data in {**sections, ".shstrtab": b""}.items():
        at = len(names)
        names += name.encode() + b"\0"
        if name == ".shstrtab":
            data = names
        kind = 3 if name == ".shstrtab" else 1
        headers.append(struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, len(body), len(data), 0, 0, 1, 0))
        body += data
    body[:64] = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, len(body), 0, 64, 56, 0, 64, len(headers), len(headers) - 1
    )
    return bytes(body) + b"".join(headers)
