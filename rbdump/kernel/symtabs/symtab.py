# SPDX-License-Identifier: Apache-2.0
""".symtab of a vmlinux as kallsyms would list it.

Mirrors what happens between the linker and the embedded tables: ``nm -n`` (letters of bfd_decode_symclass()), the
filter scripts/mksysmap, and the order of scripts/kallsyms.c compare_symbols(), which decides the alias that wins.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from rbdump.kernel.files.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_LORESERVE,
    STT_FILE,
    STT_SECTION,
    Section,
    Vmlinux,
    symbol_rows,
)
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.kernel.symtabs.aliases import kallsyms_order

__all__ = ["symtab_symbols"]

_STT_OBJECT = 1
_STB_LOCAL, _STB_WEAK = 0, 2
_SHN_ABS = 0xFFF1
_IGNORED = re.compile(
    rb"\$|\.L|__efistub_|__pi_(?:\$|\.L|__kcfi_typeid_)|__kvm_nvhe_(?:\$|\.L|__kcfi_typeid_)"
    rb"|__[0-9A-Za-z]*Thunk_|__kcfi_typeid_|__crc_|__kstrtab|L0\Z|_SDA2?_BASE_\Z"
    rb"|.*(?:_from_arm|_from_thumb|_veneer)\Z|.*\.(?:long|plt)_branch\.",
    re.DOTALL,
)


def symtab_symbols(vmlinux: Vmlinux) -> SymbolData | None:
    """The symbols of .symtab in kallsyms order; None when the image is stripped of it."""
    section = vmlinux.section(".symtab")
    if section is None or section.link >= len(vmlinux.sections):
        return None
    strings = vmlinux.contents(vmlinux.sections[section.link])
    entries = symbol_rows(vmlinux.contents(section), vmlinux.abi)
    kind, binding, place = entries["info"] & 15, entries["info"] >> 4, entries["shndx"].astype(np.int64)
    named = (entries["name"] > 0) & (entries["name"] < len(strings))
    wanted = named & (place != 0) & (kind != STT_SECTION) & (kind != STT_FILE)
    entries, kind, binding, place = entries[wanted], kind[wanted], binding[wanted], place[wanted]
    letters = _letters(vmlinux.sections, kind, binding, place)
    blob = strings.tobytes() + b"\0"
    starts = entries["name"].astype(np.int64)
    nuls = np.append(np.flatnonzero(strings == 0), len(strings))
    names = Names(blob, starts, nuls[np.searchsorted(nuls, starts)])
    has_name = names.ends > starts
    addrs = entries["value"].astype(np.uint64)
    keep = has_name & ~np.isin(letters, np.frombuffer(b"aANUw?", np.uint8))
    raw = [names.raw(row) for row in range(len(names))]
    keep &= np.fromiter((not _IGNORED.match(name) for name in raw), np.bool_, len(raw))
    rows = np.flatnonzero(keep)
    order = rows[kallsyms_order(addrs[rows], letters[rows], [raw[row] for row in rows.tolist()])]
    addrs = addrs[order]
    if not len(addrs):
        return None
    return SymbolData(addrs, names.select(order), letters[order], "symtab", _per_cpu_offsets(addrs))


def _letters(
    sections: tuple[Section, ...],
    kind: npt.NDArray[np.uint8],
    binding: npt.NDArray[np.uint8],
    place: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint8]:
    by_section = np.full(0x10000, ord("?"), np.uint8)
    for index, section in enumerate(sections[:SHN_LORESERVE]):
        by_section[index] = ord(_section_letter(section))
    by_section[_SHN_ABS] = ord("a")
    letters = by_section[place]
    letters[(binding != _STB_LOCAL) & (letters >= ord("a"))] -= 32
    weak = binding == _STB_WEAK
    letters[weak] = np.where(kind[weak] == _STT_OBJECT, ord("V"), ord("W"))
    return letters


def _section_letter(section: Section) -> str:
    """By its flags, as nm does it: a .rodata that can be written, as that of x86, holds ``d``."""
    if section.flags & SHF_EXECINSTR:
        return "t"
    if not section.flags & SHF_ALLOC:
        return "N"
    if section.type == "SHT_NOBITS":
        return "b"
    return "d" if section.flags & SHF_WRITE else "r"


def _per_cpu_offsets(addrs: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_] | None:
    """x86-64 linked per-CPU data at 0 until 6.15: these values are offsets that KASLR does not move."""
    if int(addrs[-1]) < 1 << 63:
        return None
    low = addrs < np.uint64(1 << 32)
    return low if low.any() else None
