# SPDX-License-Identifier: Apache-2.0
"""Where the text, the types and the cache of an image are, when one of several signs is missing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rbdump.abi import Abi
from rbdump.errors import NotASourceError
from rbdump.kernel.image import load_image
from tests.imagewriter import ALLOC, EXEC, PROGBITS, ElfSection, Kernel, Symbol, make_symbols, write_elf, write_vmlinux

LE64 = Abi("little", 8)
BASE = 0xFFFF_FFFF_8100_0000
BTF = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 5) + bytes(16) + b"\0int\0"


def kernel(*without: str, more: tuple[Symbol, ...] = ()) -> Kernel:
    symbols = [symbol for symbol in make_symbols(BASE) if symbol.name not in without]
    return Kernel(LE64, BASE, sorted([*symbols, *more], key=lambda symbol: symbol.addr)).build()


def test_the_text_begins_at_the_first_of_two_symbols(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    for without in ((), ("_text",), ("_stext",)):
        path.write_bytes(write_vmlinux(kernel(*without), "x86-64"))
        assert load_image(str(path), cache=False).text_base == BASE
    path.write_bytes(write_vmlinux(kernel("_text", "_stext"), "x86-64"))
    with pytest.raises(NotASourceError, match="is no kernel: its symbols have neither _text nor _stext"):
        load_image(str(path), cache=False)


def test_a_raw_image_begins_where_its_text_does(tmp_path: Path) -> None:
    base = 0xFFFF_8000_8000_0000
    symbols = [Symbol(base + 0x30, "T", "_stext") if s.name == "_stext" else s for s in make_symbols(base)]
    symbols.sort(key=lambda symbol: symbol.addr)
    raw = bytearray(Kernel(LE64, base, [s for s in symbols if s.name != "_text"]).build().raw())
    raw[:64] = bytes(56) + b"ARM\x64" + bytes(4)
    (tmp_path / "Image").write_bytes(raw)
    assert load_image(str(tmp_path / "Image"), cache=False).text_base == base


@pytest.mark.parametrize("named", [True, False])
def test_btf_behind_what_looks_like_it(tmp_path: Path, named: bool) -> None:
    """Symbols tell where it is; without them its shape does, and numbers that happen to be its magic do not."""
    chance = BTF[:4] + bytes(60)
    another = BTF[:-1] + b"x" if named else b""  # as good a blob as that of the kernel
    at = BASE + 0x4_0000
    begin = at + len(chance) + len(another)
    bounds = (Symbol(begin, "R", "__start_BTF"), Symbol(begin + len(BTF), "R", "__stop_BTF"))
    written = kernel(more=bounds if named else ())
    sections = [
        ElfSection(".text", PROGBITS, ALLOC | EXEC, BASE, written.text),
        ElfSection(".rodata", PROGBITS, ALLOC, written.rodata_addr, written.rodata),
        ElfSection(".notes", PROGBITS, ALLOC, at, chance + another + BTF),
    ]
    path = tmp_path / "vmlinux"
    path.write_bytes(write_elf(sections, LE64, "x86-64"))
    assert load_image(str(path), cache=False).btf == BTF


@pytest.mark.parametrize("lost", ["facts.json", "symbols.npz"])
def test_a_cache_of_which_half_is_lost_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "vmlinux"
    path.write_bytes(write_vmlinux(kernel(), "x86-64"))
    names = list(load_image(str(path)).symbols.names)
    (file,) = (tmp_path / "cache").rglob(f"*{lost}")
    file.unlink()
    assert list(load_image(str(path)).symbols.names) == names
    assert file.exists()
