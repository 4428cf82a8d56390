# SPDX-License-Identifier: Apache-2.0
"""vmlinux as an ELF file: its sections and loaded contents. pyelftools reads the headers, numpy the bulk."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from rbdump.abi import Abi
from rbdump.errors import NotASourceError, SourceError
from rbdump.inputs import describe
from rbdump.kernel.files.relocations import apply_rela
from rbdump.kernel.memory import Segment

__all__ = [
    "BROKEN",
    "MAX_ZEROS",
    "SHF_ALLOC",
    "SHF_EXECINSTR",
    "SHF_WRITE",
    "SHN_LORESERVE",
    "STT_FILE",
    "STT_SECTION",
    "Section",
    "Vmlinux",
    "open_stream",
    "open_vmlinux",
    "symbol_rows",
]

Octets = npt.NDArray[np.uint8]

_MACHINES = {
    "EM_X86_64": "x86-64",
    "EM_386": "i386",
    "EM_AARCH64": "aarch64",
    "EM_ARM": "arm",
    "EM_S390": "s390x",
    "EM_PPC64": "ppc64",
    "EM_PPC": "ppc",
    "EM_RISCV": "riscv",
    "EM_LOONGARCH": "loongarch",
    "EM_MIPS": "mips",
    "EM_SPARCV9": "sparc64",
    "EM_PARISC": "parisc",
}
BROKEN = (
    ELFError,
    DWARFError,
    ConstructError,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    AssertionError,
)
"""What pyelftools raises on damaged input."""
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_LORESERVE = 0xFF00
STT_SECTION, STT_FILE = 3, 4
MAX_ZEROS = 1 << 30
"""Most bytes without contents that a section or a segment may ask for."""
_MAX_HEADERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Section:
    """A section header."""

    name: str
    type: str
    """``SHT_PROGBITS``, ...; a number where pyelftools has no name for it."""
    addr: int
    offset: int
    size: int
    flags: int
    link: int
    info: int = 0
    """For relocations: the index of the section they apply to."""
    align: int = 1

    @property
    def has_contents(self) -> bool:
        """Whether the file holds the bytes of this section (a separate debug file keeps only some of them)."""
        return self.type not in ("SHT_NOBITS", "SHT_NULL")


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """What the ELF headers say of an image."""

    data: Octets
    abi: Abi
    machine: str
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]
    """Loaded contents, dynamic relocations applied."""

    def section(self, name: str) -> Section | None:
        """The first section of that name that has contents in this file."""
        return next((s for s in self.sections if s.name == name and s.has_contents and s.size), None)

    def contents(self, section: Section) -> Octets:
        """The bytes of a section, cut off where the file ends."""
        return self.data[section.offset : section.offset + section.size]


class _Stream(io.RawIOBase):
    """The image as the file that pyelftools wants, without a copy."""

    def __init__(self, data: Octets) -> None:
        self._view = data.data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: len(self._view)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        piece = self._view[self._position : self._position + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def open_stream(data: Octets) -> io.BufferedReader:
    """Mapped bytes as a file that can be read and sought, without a copy."""
    return io.BufferedReader(_Stream(data))


def open_vmlinux(data: Octets, name: str, *, relocatable: bool = False) -> Vmlinux:
    """Read the headers of an ELF image, or of a ``relocatable`` object. SourceError when they make no sense."""
    try:
        return _read_headers(ELFFile(open_stream(data)), data, name, relocatable)
    except BROKEN as error:
        raise SourceError(f"{name}: the ELF headers are damaged ({error}); is the file complete?") from None


def _read_headers(elf: Any, data: Octets, name: str, relocatable: bool) -> Vmlinux:
    abi = Abi("little" if elf.little_endian else "big", 8 if elf.elfclass == 64 else 4)
    machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
    if machine == "ppc64" and abi.byteorder == "little":
        machine = "ppc64le"
    if relocatable:
        if elf["e_type"] != "ET_REL":
            raise SourceError(f"{name}: is {describe(data)}, not a kernel module; give the .ko file")
        return Vmlinux(data, abi, machine, tuple(_sections(elf, data)), ())
    if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise NotASourceError(f"{name}: is {describe(data)}, not a kernel image; give vmlinux or the file from /boot")
    if int(elf["e_shoff"]) >= len(data):
        raise SourceError(f"{name}: the ELF file ends before its section headers: the image is truncated")
    sections = _sections(elf, data)
    # the program headers of a separate debug file still tell of contents that it does not hold
    segments = _segments_of_sections(sections, data) if sections else _segments_of_headers(elf, data)
    if sum(len(segment.data) for segment in segments) > 2 * len(data):
        raise SourceError(f"{name}: the ELF headers are damaged (sections overlap); is the file complete?")
    if elf["e_type"] == "ET_DYN":
        relas = [s for s in sections if s.type == "SHT_RELA" and s.flags & SHF_ALLOC]
        tables = [data[s.offset : s.offset + s.size] for s in relas]
        dynsym = next((s for s in sections if s.type == "SHT_DYNSYM"), None)
        values = np.zeros(1, np.uint64)
        if dynsym is not None:
            rows = symbol_rows(data[dynsym.offset : dynsym.offset + dynsym.size], abi)
            values = rows["value"].astype(np.uint64)
        segments = apply_rela(segments, tables, values, abi, machine)
    return Vmlinux(data, abi, machine, tuple(sections), tuple(segments))


def _sections(elf: Any, data: Octets) -> list[Section]:
    begin, size = int(elf["e_shoff"]), int(elf["e_shentsize"])
    if not begin or begin >= len(data) or size < elf.structs.Elf_Shdr.sizeof():
        return []
    count = min(int(elf.num_sections()), _MAX_HEADERS, (len(data) - begin) // size)
    headers = []
    for index in range(count):
        elf.stream.seek(begin + index * size)
        headers.append(elf.structs.Elf_Shdr.parse_stream(elf.stream))
    strings = b""
    names_at = int(elf.get_shstrndx())
    if names_at < len(headers):
        table = headers[names_at]
        strings = data[int(table["sh_offset"]) : int(table["sh_offset"]) + int(table["sh_size"])].tobytes()
    return [
        Section(
            strings[header["sh_name"] : max(0, strings.find(b"\0", header["sh_name"]))].decode("ascii", "replace"),
            str(header["sh_type"]),
            int(header["sh_addr"]),
            int(header["sh_offset"]),
            int(header["sh_size"]),
            int(header["sh_flags"]),
            int(header["sh_link"]),
            int(header["sh_info"]),
            int(header["sh_addralign"]),
        )
        for header in headers
    ]


def _segments_of_sections(sections: list[Section], data: Octets) -> list[Segment]:
    """Loaded sections; those that follow one another in file and memory alike become one segment."""
    loaded = [s for s in sections if s.flags & SHF_ALLOC and s.size and not _is_per_cpu_template(s)]
    if not any(s.has_contents and s.type == "SHT_PROGBITS" for s in loaded):
        return []
    segments: list[Segment] = []
    run: list[Section] = []
    for section in sorted((s for s in loaded if s.has_contents), key=lambda s: s.addr):
        last = run[-1] if run else None
        follows = (
            last is not None
            and section.offset - last.offset == section.addr - last.addr
            and section.offset >= last.offset + last.size
        )
        if not follows:
            segments += _joined(run, data)
            run = []
        run.append(section)
    segments += _joined(run, data)
    segments += [Segment(s.addr, data[:0], min(s.size, MAX_ZEROS)) for s in loaded if s.type == "SHT_NOBITS" and s.addr]
    return segments


def _is_per_cpu_template(section: Section) -> bool:
    """x86-64 linked per-CPU data at 0 until 6.15: such addresses are offsets, and NULL must not read as data."""
    return section.addr == 0 and section.name.startswith(".data..percpu")


def _joined(run: list[Section], data: Octets) -> list[Segment]:
    if not run:
        return []
    return [Segment(run[0].addr, data[run[0].offset : run[-1].offset + run[-1].size])]


def _segments_of_headers(elf: Any, data: Octets) -> list[Segment]:
    """Loaded contents of an image without section headers."""
    segments = []
    begin, size = int(elf["e_phoff"]), int(elf["e_phentsize"])
    if not begin or size < elf.structs.Elf_Phdr.sizeof():
        return []
    count = min(int(elf["e_phnum"]), _MAX_HEADERS, max(0, len(data) - begin) // size)
    for index in range(count):
        elf.stream.seek(begin + index * size)
        header = elf.structs.Elf_Phdr.parse_stream(elf.stream)
        if header["p_type"] != "PT_LOAD" or not header["p_vaddr"]:
            continue
        contents = data[int(header["p_offset"]) : int(header["p_offset"]) + int(header["p_filesz"])]
        zeros = max(0, int(header["p_memsz"]) - int(header["p_filesz"]))
        segments.append(Segment(int(header["p_vaddr"]), contents, min(zeros, MAX_ZEROS)))
    return segments


def symbol_rows(table: Octets, abi: Abi) -> npt.NDArray[Any]:
    """The entries of a symbol table (struct elf64_sym or elf32_sym), one that is cut off left out."""
    e = abi.endian
    wide = [("value", f"{e}u{abi.long_size}"), ("size", f"{e}u{abi.long_size}")]
    narrow = [("info", "u1"), ("other", "u1"), ("shndx", f"{e}u2")]
    entry = np.dtype([("name", f"{e}u4"), *((narrow + wide) if abi.long_size == 8 else (wide + narrow))])
    return table[: len(table) // entry.itemsize * entry.itemsize].view(entry)
