# SPDX-License-Identifier: Apache-2.0
"""Builds small kernel images: kallsyms tables of every layout, ELF files, raw images and boot wrappings."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rbdump.abi import Abi

BANNER = b"Linux version 6.12.0-test (builder@host) (gcc) #1 SMP\n\0"
LAYOUTS = ("pointers", "base before", "percpu before", "base behind", "percpu behind", "place", "fixed32")


@dataclass(frozen=True)
class Symbol:
    addr: int
    type: str
    name: str


def make_symbols(base: int, count: int = 700, *, per_cpu: bool = False) -> list[Symbol]:
    """Symbols sorted by address with aliases, a long name, all digits, and the bounds of the kernel."""
    symbols = []
    if per_cpu:
        symbols += [Symbol(16 * n, "A", f"per_cpu_{n}") for n in range(20)]
    symbols += [Symbol(base, "T", "_stext"), Symbol(base, "T", "_text")]
    for n in range(count):
        symbols.append(Symbol(base + 0x40 + 16 * n, "t" if n % 3 else "T", f"function_{n:04d}_0123456789"))
        if n % 50 == 0:
            symbols.append(Symbol(base + 0x40 + 16 * n, "W", f"alias_of_{n}"))
    symbols.append(Symbol(base + 0x50 + 16 * count, "t", "long_" + "Zq" * 140))
    symbols.append(Symbol(base + 0x60 + 16 * count, "T", "_etext"))
    symbols.append(Symbol(base + 0x20000, "B", "_end"))
    return symbols


def _tokens(names: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The 256 tokens, and each name compressed with them: a few codes that no name uses stand for frequent pairs."""
    used = {byte for name in names for byte in name} | set(b"0123456789")
    tokens = [bytes([code]) if code in used else b"" for code in range(256)]
    frequent = [b"function_", b"_0123456789", b"alias_of_", b"per_cpu_", b"__", b"te"]
    free = [code for code in range(255, 0, -1) if code not in used]
    compressed = list(names)
    for code, text in zip(free, frequent, strict=False):
        tokens[code] = text
        compressed = [name.replace(text, bytes([code])) for name in compressed]
    for code in range(256):
        if not tokens[code]:
            tokens[code] = b"zz" if code == 0 else b"unused"
    return tokens, compressed


def write_kallsyms(
    symbols: Sequence[Symbol],
    layout: str,
    abi: Abi,
    addr: int,
    *,
    wide_markers: bool = False,
    alignment: int | None = None,
    skipped: int = 0,
) -> bytes:
    """The tables as scripts/kallsyms would emit them at ``addr``, in the order of the layout.

    ``alignment`` is that of each label (a word by default); the base lies ``skipped`` bytes before the first symbol.
    """
    word = abi.long_size
    blob = bytearray()
    one, many = abi.endian + ("Q" if word == 8 else "I"), abi.endian

    def align() -> None:
        blob.extend(bytes(-len(blob) % (alignment or word)))

    def pointer(value: int) -> None:
        align()
        blob.extend(struct.pack(one, value & abi.long_mask))

    relative = next((s.addr for s in symbols if not (s.type == "A" and "percpu" in layout)), 0) - skipped

    def offsets() -> None:
        align()
        for symbol in symbols:
            if layout == "place":
                value = symbol.addr - (addr + len(blob))
            elif layout == "fixed32":
                value = symbol.addr
            elif "percpu" not in layout:
                value = symbol.addr - relative
            else:
                value = symbol.addr if symbol.type == "A" else relative - symbol.addr - 1
            blob.extend(struct.pack(many + "I", value & 0xFFFF_FFFF))
        if layout not in ("place", "fixed32"):
            pointer(relative)

    if layout == "pointers":
        align()
        blob += b"".join(struct.pack(one, symbol.addr & abi.long_mask) for symbol in symbols)
    elif "before" in layout:
        offsets()
    align()
    blob += struct.pack(one if wide_markers else many + "I", len(symbols))
    align()
    tokens, compressed = _tokens([(s.type + s.name).encode() for s in symbols])
    markers, start = [], len(blob)
    for row, name in enumerate(compressed):
        if row % 256 == 0:
            markers.append(len(blob) - start)
        size = len(name)
        blob += (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + name
    align()
    blob += b"".join(struct.pack(one if wide_markers else many + "I", marker) for marker in markers)
    align()
    if "before" in layout and not wide_markers:  # kallsyms_seqs_of_names of 6.2 and 6.3
        blob += b"".join(row.to_bytes(3, "big") for row in np.random.default_rng(1).permutation(len(symbols)).tolist())
        align()
    index, start = [], len(blob)
    for token in tokens:
        index.append(len(blob) - start)
        blob += token + b"\0"
    align()
    blob += struct.pack(many + "256H", *index)
    if layout in ("base behind", "percpu behind", "place", "fixed32"):
        offsets()
        align()
        blob += b"".join(row.to_bytes(3, "big") for row in range(len(symbols)))
    align()
    return bytes(blob)


@dataclass
class Kernel:
    """A small kernel: 64 KiB of text at ``base``, then read-only data with banner, strings, pointers and tables."""

    abi: Abi
    base: int
    symbols: list[Symbol]
    layout: str | None = "base behind"
    wide_markers: bool = False
    text: bytes = b""
    rodata: bytes = b""
    strings: dict[str, int] = field(default_factory=dict)
    pointers: list[tuple[int, int]] = field(default_factory=list)
    """(address, value) of each pointer in the read-only data."""

    @property
    def rodata_addr(self) -> int:
        return self.base + 0x10000

    def build(self) -> Kernel:
        rng = np.random.default_rng(7)
        self.text = rng.integers(128, 255, 0x10000, np.uint8).tobytes()
        blob = bytearray(BANNER)
        for n in range(200):
            text = f"string number {n}"
            self.strings[text] = self.rodata_addr + len(blob)
            blob += text.encode() + b"\0"
        blob += bytes(-len(blob) % 16)
        order = self.abi.endian + ("Q" if self.abi.long_size == 8 else "I")
        targets = list(self.strings.values()) + [s.addr for s in self.symbols if s.type in "tT"][:300]
        for target in targets:
            self.pointers.append((self.rodata_addr + len(blob), target))
            blob += struct.pack(order, target)
        blob += bytes(-len(blob) % 16)
        if self.layout is not None:
            blob += write_kallsyms(
                self.symbols, self.layout, self.abi, self.rodata_addr + len(blob), wide_markers=self.wide_markers
            )
        self.rodata = bytes(blob)
        return self

    def raw(self) -> bytes:
        """The image as objcopy -O binary gives it."""
        return self.text + self.rodata


@dataclass(frozen=True)
class ElfSection:
    name: str
    type: int
    flags: int
    addr: int
    data: bytes
    link: int = 0
    entry_size: int = 0
    size: int | None = None
    """Differs from the data only for SHT_NOBITS."""


PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, DYNSYM = 1, 2, 3, 4, 8, 11
WRITE, ALLOC, EXEC = 1, 2, 4
MACHINES = {"x86-64": 62, "i386": 3, "aarch64": 183, "arm": 40, "s390x": 22, "ppc64": 21, "riscv": 243}


def write_elf(
    sections: Sequence[ElfSection], abi: Abi, machine: str, *, kind: int = 2, with_headers: bool = True
) -> bytes:
    """An ELF file: ``kind`` 1 is ET_REL, 2 ET_EXEC, 3 ET_DYN, 4 ET_CORE; one PT_LOAD for each loaded section."""
    wide = abi.long_size == 8
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    everything = [
        ElfSection("", 0, 0, 0, b""),
        *sections,
        ElfSection(".shstrtab", STRTAB, 0, 0, names),
    ]
    loads = [section for section in sections if section.flags & ALLOC and section.type != NOBITS]
    header_size, program_size = (64, 56) if wide else (52, 32)
    blob = bytearray(header_size + program_size * len(loads))
    placed = {}
    for row, section in enumerate(everything):
        blob.extend(bytes(-len(blob) % 16))
        placed[row] = len(blob)
        if section.type != NOBITS:
            blob += section.data
    blob.extend(bytes(-len(blob) % 16))
    table = len(blob)
    for row, section in enumerate(everything):
        name = names.find(b"\0" + section.name.encode() + b"\0") + 1 if section.name else 0
        size = len(section.data) if section.size is None else section.size
        values = (name, section.type, section.flags, section.addr, placed[row], size, section.link, 0, 1)
        order = "IIQQQQIIQQ" if wide else "10I"
        if with_headers:
            blob += struct.pack(abi.endian + order, *values, section.entry_size)
    for number, section in enumerate(loads):
        at = placed[everything.index(section)]
        size = len(section.data)
        if wide:
            program = struct.pack(abi.endian + "IIQQQQQQ", 1, 5, at, section.addr, section.addr, size, size, 16)
        else:
            program = struct.pack(abi.endian + "8I", 1, at, section.addr, section.addr, size, size, 5, 16)
        blob[header_size + number * program_size : header_size + (number + 1) * program_size] = program
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if abi.byteorder == "little" else 2, 1]) + bytes(9)
    order = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    header = struct.pack(
        abi.endian + order,
        kind,
        MACHINES[machine],
        1,
        0,
        header_size if loads else 0,
        table if with_headers else 0,
        0,
        header_size,
        program_size,
        len(loads),
        64 if wide else 40,
        len(everything) if with_headers else 0,
        len(everything) - 1 if with_headers else 0,
    )
    blob[:header_size] = ident + header
    return bytes(blob)


def write_symtab(symbols: Sequence[Symbol], abi: Abi, sections: dict[str, int]) -> tuple[bytes, bytes]:
    """.symtab and .strtab; ``sections`` maps the lower-case nm letter to a section index."""
    strings, table = bytearray(b"\0"), bytearray(24 if abi.long_size == 8 else 16)
    for symbol in symbols:
        binding = 2 if symbol.type in "wW" else 1 if symbol.type.isupper() else 0
        index = sections[{"w": "t", "a": "t"}.get(symbol.type.lower(), symbol.type.lower())]
        values = (len(strings), binding << 4 | 2, 0, index, symbol.addr, 0)
        if abi.long_size == 8:
            table += struct.pack(abi.endian + "IBBHQQ", *values)
        else:
            table += struct.pack(abi.endian + "IIIBBH", values[0], symbol.addr, 0, values[1], 0, index)
        strings += symbol.name.encode() + b"\0"
    return bytes(table), bytes(strings)


def write_vmlinux(kernel: Kernel, machine: str, *, kind: int = 2, symtab: bool = False, headers: bool = True) -> bytes:
    """The kernel as vmlinux."""
    sections = [
        ElfSection(".text", PROGBITS, ALLOC | EXEC, kernel.base, kernel.text),
        ElfSection(".rodata", PROGBITS, ALLOC, kernel.rodata_addr, kernel.rodata),
        ElfSection(".bss", NOBITS, ALLOC | WRITE, kernel.base + 0x30000, b"", size=0x1000),
    ]
    if symtab:
        table, strings = write_symtab(kernel.symbols, kernel.abi, {"t": 1, "r": 2, "b": 3, "d": 2})
        sections.append(ElfSection(".symtab", SYMTAB, 0, 0, table, link=5, entry_size=24))
        sections.append(ElfSection(".strtab", STRTAB, 0, 0, strings))
    return write_elf(sections, kernel.abi, machine, kind=kind, with_headers=headers)


def write_bzimage(payload: bytes) -> bytes:
    """An x86 boot sector, setup code and the compressed kernel behind it."""
    setup = bytearray(5 * 512)
    setup[0x1F1] = 4
    setup[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x20F)
    setup[0x248:0x250] = struct.pack("<II", 0x100, len(payload) + 4)
    return bytes(setup) + b"\x90" * 0x100 + payload + struct.pack("<I", 0x1234) + b"\xcc" * 3000


def write_zboot(payload: bytes) -> bytes:
    """An EFI zboot header and the compressed Image."""
    header = bytearray(0x200)
    header[:8] = b"MZ\0\0zimg"
    header[8:16] = struct.pack("<II", 0x200, len(payload))
    return bytes(header) + payload + bytes(512)


def write_lz4_legacy(data: bytes) -> bytes:
    """The legacy frame with literals only (any decoder must read it), and the size that the build appends."""
    out = bytearray(b"\x02\x21\x4c\x18")
    for begin in range(0, len(data), 8 << 20):
        block = data[begin : begin + (8 << 20)]
        count = len(block) - 15
        packed = b"\xf0" + b"\xff" * (count // 255) + bytes([count % 255]) + block
        out += struct.pack("<I", len(packed)) + packed
    return bytes(out) + struct.pack("<I", len(data))
