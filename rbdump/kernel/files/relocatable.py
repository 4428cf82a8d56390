# SPDX-License-Identifier: Apache-2.0
"""A kernel module's .ko file as the loader lays it out: text at its run-time address, data where it can be read.

Mirrors kernel/module/main.c: `layout_sections` puts all executable sections that are not ``.init*`` one behind the
other into the module's MOD_TEXT memory, whose base is the one address that a persistent ring buffer records. Data
lives in memory of its own, at addresses that nobody recorded; here it gets addresses of rbdump's own, low ones that
no kernel uses, so that the pointers inside the module lead somewhere.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.files.elf import (
    MAX_ZEROS,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHN_LORESERVE,
    STT_FILE,
    STT_SECTION,
    Section,
    open_vmlinux,
    symbol_rows,
)
from rbdump.kernel.memory import ImageMemory, Segment
from rbdump.kernel.symboldata import Names, SymbolData

__all__ = ["RelocatableModule"]

Octets = npt.NDArray[np.uint8]

MAX_ALIGN = 1 << 21
MAX_NAME = 512
"""KSYM_NAME_LEN: bytes of a symbol's name, its NUL included."""
# The relocation that stores a whole address, by machine.
WORD_RELOCATION = {
    "x86-64": 1,
    "i386": 1,
    "aarch64": 257,
    "arm": 2,
    "s390x": 22,
    "ppc64": 38,
    "ppc64le": 38,
    "ppc": 1,
    "riscv": 2,
    "loongarch": 2,
    "mips": 2,
}
# Sections that become linker-generated tables of a vmlinux: name in a module -> name of the pair of symbols.
TABLES = {
    "_ftrace_events": "ftrace_events",
    "_ftrace_eval_map": "ftrace_eval_maps",
}
_EVENT = b"__event_"
"""How the names of the pointers in the table of events begin (include/trace/stages)."""
_SYSTEM = re.compile(rb"(?<=\0)str__\w+__trace_system_name\0")
"""The names of the strings that name the systems of its events."""
# Loaders of these fill call trampolines in before they lay the sections out; their size is not in the file.
TRAMPOLINES = (".plt", ".stubs", ".got", ".text.ftrace_trampoline")
# On s390x a GOT and a PLT lie before the code, with an entry for each symbol that has one of these relocations
# (arch/s390/kernel/module.c `check_rela`), and, where branches go through thunks at run time, one entry more.
S390_GOT = (6, 7, 15, 24, 26, 29, 30, 31, 32, 33, 58, 59)
S390_PLT = (8, 18, 20, 25, 34, 35, 36)
S390_PLT_ENTRY = 22
S390_THUNK = b"__s390_indirect_jump"


class RelocatableModule:
    """The memory of one module.

    :param text_addr: base of the module's MOD_TEXT memory.
    :raises SourceError: it is no relocatable ELF file.
    """

    def __init__(self, data: Octets, name: str, text_addr: int) -> None:
        elf = open_vmlinux(data, name, relocatable=True)
        self.abi: Abi = elf.abi
        self.machine = elf.machine
        self._elf = elf
        for section in elf.sections:
            inside = section.offset + section.size <= len(data) if section.has_contents else section.size <= MAX_ZEROS
            if section.flags & SHF_ALLOC and not (inside and section.align <= MAX_ALIGN):
                raise SourceError(f"{name}: section {section.name} lies outside of the file; is the module complete?")
        if sum(s.size for s in elf.sections if s.type in ("SHT_RELA", "SHT_REL")) > len(data):
            raise SourceError(f"{name}: its relocations overlap or lie outside of the file; is the module complete?")
        self._places = self._lay_out(text_addr)
        table = next((s for s in elf.sections if s.type == "SHT_SYMTAB"), None)
        if table is None or table.link >= len(elf.sections) or not self._places:
            raise SourceError(f"{name}: is not a kernel module (no sections or no symbol table); give the .ko as built")
        self._rows = symbol_rows(elf.contents(table), self.abi)
        self._strings = elf.contents(elf.sections[table.link])
        self._values = self._symbol_values()
        self._memory = ImageMemory(self._segments(), self.abi)
        self.symbols = self._text_symbols()

    # -- memory -------------------------------------------------------------------------------------------------

    def read(self, addr: int, size: int) -> bytes:
        """Up to ``size`` bytes at an address of this module."""
        return self._memory.read(addr, size)

    def cstring(self, addr: int) -> str | None:
        """The NUL-terminated string at an address of this module."""
        return self._memory.cstring(addr)

    def array(self, addr: int, count: int, size: int) -> npt.NDArray[Any]:
        """``count`` unsigned integers of ``size`` bytes in native order."""
        return self._memory.array(addr, count, size)

    def addr(self, name: str) -> int | None:
        """The start and stop symbols that a vmlinux has for its tables of events; nothing else."""
        for section, place in self._places.items():
            table = TABLES.get(self._elf.sections[section].name)
            if table is not None and name == f"__start_{table}":
                return place
            if table is not None and name == f"__stop_{table}":
                return place + self._elf.sections[section].size
        return None

    # -- facts --------------------------------------------------------------------------------------------------

    def modinfo(self, key: str) -> str | None:
        """A value of ``.modinfo``: ``name``, ``vermagic``, ``srcversion``."""
        section = self._elf.section(".modinfo")
        wanted = f"{key}=".encode()
        for item in self._elf.contents(section).tobytes().split(b"\0") if section else ():
            if item.startswith(wanted):
                return item[len(wanted) :].decode("utf-8", "replace")
        return None

    def section(self, name: str) -> bytes | None:
        """The bytes of a section; None when there is none of that name."""
        section = self._elf.section(name)
        return None if section is None else self._elf.contents(section).tobytes()

    def event_names(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names of the systems of its events, and of the events, by the symbols that their definitions leave."""
        tables = [i for i in self._places if TABLES.get(self._elf.sections[i].name) == "ftrace_events"]
        strings = self._strings.tobytes()
        begins = np.unique(self._rows["name"][np.isin(self._rows["shndx"], tables)]).tolist()
        begins = [begin for begin in begins if strings.startswith(_EVENT, begin)]
        words = {strings[begin : begin + MAX_NAME].partition(b"\0")[0] for begin in begins}
        names = [word.removeprefix(_EVENT).decode("utf-8", "replace") for word in words]
        begins = [match.start() for match in _SYSTEM.finditer(strings)] if names else []
        values = np.unique(self._values[np.isin(self._rows["name"], begins)]).tolist()
        return frozenset(filter(None, map(self.cstring, values))), frozenset(names)

    @property
    def text_is_exact(self) -> bool:
        """False where the loader may have put trampolines of unknown size in front of some of the code."""
        if self.machine == "s390x":
            return S390_THUNK not in self._strings.tobytes()
        # On ppc64 the file has its .stubs with a size of 0.
        texts = [index for index in range(len(self._elf.sections)) if self._is_text(index)]
        placed = [index for index in texts if index in self._places]
        return not any(
            self._elf.sections[index].name in TRAMPOLINES for index in texts if index < max(placed, default=0)
        )

    # -- layout -------------------------------------------------------------------------------------------------

    def _is_text(self, index: int) -> bool:
        section = self._elf.sections[index]
        # ppc64 keeps its init code with the rest (arch/powerpc/kernel/module_64.c `module_init_section`).
        apart = section.name.startswith(".init") and not self.machine.startswith("ppc64")
        return bool(section.flags & SHF_EXECINSTR) and not apart

    def _lay_out(self, text_addr: int) -> dict[int, int]:
        """Section index -> address, text first."""
        places: dict[int, int] = {}
        offset = self._s390_linkage() if self.machine == "s390x" else 0
        loaded = [i for i, s in enumerate(self._elf.sections) if s.flags & SHF_ALLOC and s.size]
        for index in (i for i in loaded if self._is_text(i)):
            section = self._elf.sections[index]
            offset += -offset % max(1, section.align)
            places[index] = text_addr + offset
            offset += section.size
        data = 1 << 32 if self.abi.long_size == 8 else 1 << 24
        for index in (i for i in loaded if i not in places):
            section = self._elf.sections[index]
            data += -data % max(16, section.align)
            places[index] = data
            data += section.size
        # Symbols of other modules and of the kernel: any address will do that is not 0.
        self._externals = data + -data % 4096 + 4096
        return places

    def _s390_linkage(self) -> int:
        """Bytes of the GOT and the PLT."""
        got: set[int] = set()
        plt: set[int] = set()
        for section in self._elf.sections:
            if section.type == "SHT_RELA":
                _, symbols, kinds = self._relocations(section)
                got.update(symbols[np.isin(kinds, S390_GOT)].tolist())
                plt.update(symbols[np.isin(kinds, S390_PLT)].tolist())
        return self.abi.long_size * len(got) + S390_PLT_ENTRY * len(plt)

    def _segments(self) -> list[Segment]:
        segments = []
        relocations = {s.info: s for s in self._elf.sections if s.type in ("SHT_RELA", "SHT_REL")}
        for index, place in self._places.items():
            section = self._elf.sections[index]
            if not section.has_contents:
                segments.append(Segment(place, self._elf.data[:0], section.size))
                continue
            data = self._elf.contents(section)
            if index in relocations and not section.flags & SHF_EXECINSTR:
                data = self._relocated(data, relocations[index])
            segments.append(Segment(place, data))
        return segments

    def _relocated(self, data: Octets, table: Section) -> Octets:
        """A section with every whole-word address filled in; other kinds of relocations concern code only."""
        word, endian = self.abi.long_size, self.abi.endian
        rows, symbols, kinds = self._relocations(table)
        offsets = rows["offset"].astype(np.uint64)
        keep = kinds == WORD_RELOCATION.get(self.machine, -1)
        keep &= (offsets <= np.uint64(max(0, len(data) - word))) & (symbols < len(self._values))
        if len(data) < word or not keep.any():
            return data
        copy = data.copy()
        at = offsets[keep].astype(np.int64)[:, None] + np.arange(word)
        stored = f"{endian}u{word}"
        addends = (
            rows["addend"][keep] if table.type == "SHT_RELA" else np.ascontiguousarray(copy[at]).view(stored)[:, 0]
        )
        values = self._values[symbols[keep]] + addends.astype(np.int64).astype(np.uint64)
        copy[at] = values.astype(stored).view(np.uint8).reshape(-1, word)
        return copy

    def _relocations(self, table: Section) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows of a relocation section, their symbols and their types."""
        word, endian = self.abi.long_size, self.abi.endian
        fields = [("offset", f"{endian}u{word}"), ("info", f"{endian}u{word}")]
        if table.type == "SHT_RELA":
            fields.append(("addend", f"{endian}i{word}"))
        dtype = np.dtype(fields)
        raw = self._elf.contents(table)
        rows = raw[: len(raw) // dtype.itemsize * dtype.itemsize].view(dtype)
        info = rows["info"].astype(np.uint64)
        shift, mask = (np.uint64(32), np.uint64(0xFFFFFFFF)) if word == 8 else (np.uint64(8), np.uint64(0xFF))
        return rows, (info >> shift).astype(np.int64), (info & mask).astype(np.int64)

    # -- symbols ------------------------------------------------------------------------------------------------

    def _symbol_values(self) -> npt.NDArray[np.uint64]:
        rows = self._rows
        bases = np.zeros(0x10000, np.uint64)
        for index, place in self._places.items():
            if index < SHN_LORESERVE:
                bases[index] = place
        values: npt.NDArray[np.uint64] = bases[rows["shndx"]] + rows["value"].astype(np.uint64)
        undefined = rows["shndx"] == 0
        values[undefined] = self._externals + 16 * np.flatnonzero(undefined).astype(np.uint64)
        return values

    def _text_symbols(self) -> SymbolData:
        """The symbols of the text at their run-time addresses, as `add_kallsyms` keeps them; equals stay in order."""
        rows = self._rows
        text = np.zeros(0x10000, np.bool_)
        text[[i for i in self._places if self._is_text(i) and i < SHN_LORESERVE]] = True
        kinds = rows["info"] & 15
        keep = text[rows["shndx"]] & (kinds != STT_SECTION) & (kinds != STT_FILE) & (rows["name"] < len(self._strings))
        starts = rows["name"].astype(np.int64)
        nuls = np.append(np.flatnonzero(self._strings == 0), len(self._strings))
        ends = nuls[np.minimum(np.searchsorted(nuls, starts), len(nuls) - 1)]
        names = Names(self._strings.tobytes(), starts, np.minimum(ends, starts + MAX_NAME - 1))
        keep &= np.fromiter((not _is_mapping(names.raw(row)) for row in range(len(starts))), np.bool_, len(starts))
        chosen = np.flatnonzero(keep)
        chosen = chosen[np.argsort(self._values[chosen], kind="stable")]
        letters = np.full(len(chosen), ord("t"), np.uint8)
        return SymbolData(self._values[chosen], names.select(chosen), letters, "module")


def _is_mapping(name: bytes) -> bool:
    """Names that is_mapping_symbol() hides: no function's."""
    return not name or name.startswith((b"$", b".L", b"L0"))
