# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import RbdumpError, SourceError
from rbdump.kernel import image as image_module
from rbdump.kernel.files.elf import Vmlinux
from rbdump.kernel.image import KernelImage, load_image
from rbdump.kernel.symboldata import SymbolData
from rbdump.kernel.symtabs.symtab import symtab_symbols
from rbdump.symbols.kallsyms_text import load_kallsyms
from tests.conftest import SHARED
from tests.imagewriter import (
    ALLOC,
    DYNSYM,
    EXEC,
    LAYOUTS,
    NOBITS,
    PROGBITS,
    RELA,
    STRTAB,
    SYMTAB,
    ElfSection,
    Kernel,
    Symbol,
    make_symbols,
    write_bzimage,
    write_elf,
    write_lz4_legacy,
    write_symtab,
    write_vmlinux,
    write_zboot,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LE64, LE32, BE64 = Abi("little", 8), Abi("little", 4), Abi("big", 8)
X86 = 0xFFFF_FFFF_8100_0000


def x86_kernel(layout: str | None = "base behind") -> Kernel:
    return Kernel(LE64, X86, make_symbols(X86, per_cpu=bool(layout and "percpu" in layout)), layout).build()


def opened(tmp_path: Path, data: bytes) -> KernelImage:
    path = tmp_path / "image"
    path.write_bytes(data)
    return load_image(str(path), cache=False)


def check(image: KernelImage, kernel: Kernel) -> None:
    assert image.symbols.addrs.tolist() == [symbol.addr for symbol in kernel.symbols]
    assert list(image.symbols.names) == [symbol.name for symbol in kernel.symbols]
    assert image.release == "6.12.0-test"
    assert image.abi == kernel.abi
    assert image.text_base == kernel.base
    for text, addr in list(kernel.strings.items())[:3]:
        assert image.cstring(addr) == text
    first, value = kernel.pointers[0]
    assert image.array(first, len(kernel.pointers), kernel.abi.long_size).tolist() == [v for _, v in kernel.pointers]
    assert image.read(first, kernel.abi.long_size) == value.to_bytes(kernel.abi.long_size, kernel.abi.byteorder)


@pytest.mark.parametrize("layout", LAYOUTS[:6])
@pytest.mark.parametrize("headers", [True, False])
def test_vmlinux(tmp_path: Path, layout: str, headers: bool) -> None:
    kernel = x86_kernel(layout)
    image = opened(tmp_path, write_vmlinux(kernel, "x86-64", headers=headers))
    check(image, kernel)
    assert image.machine == "x86-64"
    assert image.symbols.origin == "kallsyms"
    absolute = image.symbols.absolute
    assert (absolute is not None and int(absolute.sum())) == (20 if "percpu" in layout else False)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(
        data, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "preset": 6, "dict_size": 1 << 23}]
    ),
    "bzip2": bz2.compress,
    "zstd": zstd.compress,
    "lz4": write_lz4_legacy,
}


def test_symtab_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = opened(tmp_path, write_vmlinux(x86_kernel(), "x86-64", symtab=True))
    assert image.symbols.origin == "kallsyms"
    reads: list[object] = []

    def read(vmlinux: Vmlinux) -> SymbolData | None:
        reads.append(vmlinux)
        return symtab_symbols(vmlinux)

    monkeypatch.setattr("rbdump.kernel.image.symtab_symbols", read)
    image.__dict__.pop("_symtab", None)
    assert [image.addr(name) for name in ("no_such", "nor_such", "no_such")] == [None] * 3
    assert len(reads) == 1


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bzimage(tmp_path: Path, compression: str) -> None:
    kernel = x86_kernel()
    image = opened(tmp_path, write_bzimage(COMPRESSIONS[compression](write_vmlinux(kernel, "x86-64"))))
    check(image, kernel)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_vmlinux(tmp_path: Path, compression: str) -> None:
    kernel = x86_kernel()
    check(opened(tmp_path, COMPRESSIONS[compression](write_vmlinux(kernel, "x86-64"))), kernel)


def arm64_image(kernel: Kernel) -> bytes:
    raw = bytearray(kernel.raw())
    raw[:64] = bytes(64)
    raw[56:60] = b"ARM\x64"
    return bytes(raw)


@pytest.mark.parametrize("layout", ["base before", "base behind", "place", "pointers"])
@pytest.mark.parametrize("wrap", [None, "Image.gz", "zboot"])
def test_arm64(tmp_path: Path, layout: str, wrap: str | None) -> None:
    base = 0xFFFF_8000_8000_0000
    kernel = Kernel(LE64, base, make_symbols(base), layout).build()
    data = arm64_image(kernel)
    if wrap:
        data = gzip.compress(data) if wrap == "Image.gz" else write_zboot(zstd.compress(data))
    image = opened(tmp_path, data)
    check(image, kernel)
    assert image.machine == "aarch64"


def test_arm64_image_with_relocations(tmp_path: Path) -> None:
    """The pointers of a relocatable image are 0, its .rela.dyn holds the values."""
    base = 0xFFFF_8000_8000_0000
    kernel = Kernel(LE64, base, make_symbols(base), "base behind").build()
    data = bytearray(arm64_image(kernel))
    anchor = data.rindex(struct.pack("<Q", base))
    places = [(place - base, value) for place, value in kernel.pointers] + [(anchor, base)]
    table = b""
    for offset, value in places:
        assert data[offset : offset + 8] == struct.pack("<Q", value)
        data[offset : offset + 8] = bytes(8)
        table += struct.pack("<QQQ", base + offset, 1027, value)
    data += bytes(-len(data) % 8) + table
    check(opened(tmp_path, bytes(data)), kernel)


@pytest.mark.parametrize("layout", ["base before", "base behind", "place"])
def test_riscv_image_begins_before_its_text(tmp_path: Path, layout: str) -> None:
    base = 0xFFFF_FFFF_8000_0000
    symbols = [Symbol(base, "T", "_start"), *make_symbols(base + 0x2000)]
    kernel = Kernel(LE64, base, symbols, layout).build()
    raw = bytearray(kernel.raw())
    raw[:64] = bytes(56) + b"RSC\x05" + bytes(4)
    image = opened(tmp_path, bytes(raw))
    assert image.machine == "riscv"
    assert image.text_base == base + 0x2000
    assert image.symbols.addr("_start") == base
    text, addr = next(iter(kernel.strings.items()))
    assert image.cstring(addr) == text
    assert image.array(kernel.pointers[0][0], 1, 8).tolist() == [kernel.pointers[0][1]]


def test_position_independent_vmlinux(tmp_path: Path) -> None:
    base = 0xFFFF_8000_8000_0000
    kernel = Kernel(LE64, base, make_symbols(base), "place").build()
    rodata, table = bytearray(kernel.rodata), b""
    for number, (place, value) in enumerate(kernel.pointers):
        at = place - kernel.rodata_addr
        rodata[at : at + 8] = bytes(8)
        symbol, kind = ((1, 257), (0, 1027))[number % 2]
        table += struct.pack("<QQQ", place, symbol << 32 | kind, (value - (0x1234 if symbol else 0)) & (1 << 64) - 1)
    sections = [
        ElfSection(".text", PROGBITS, ALLOC | EXEC, base, kernel.text),
        ElfSection(".rodata", PROGBITS, ALLOC, kernel.rodata_addr, bytes(rodata)),
        ElfSection(".rela.dyn", RELA, ALLOC, base + 0x40000, table, link=4, entry_size=24),
        ElfSection(".dynsym", DYNSYM, ALLOC, base + 0x50000, bytes(24) + struct.pack("<IBBHQQ", 0, 0, 0, 1, 0x1234, 0)),
    ]
    image = opened(tmp_path, write_elf(sections, LE64, "aarch64", kind=3))
    check(image, kernel)


def test_s390_bzimage(tmp_path: Path) -> None:
    kernel = Kernel(BE64, 0x100000, make_symbols(0x100000), "base behind").build()
    stub = bytearray(0x12000)
    stub[0x10008:0x1000E] = b"S390EP"
    image = opened(tmp_path, bytes(stub) + gzip.compress(kernel.raw()) + bytes(64))
    check(image, kernel)
    assert image.machine == "s390x"


def test_s390_bzimage_with_place_relative_tables(tmp_path: Path) -> None:
    kernel = Kernel(BE64, 0x100000, make_symbols(0x100000), "place").build()
    stub = bytearray(0x12000)
    stub[0x10008:0x1000E] = b"S390EP"
    check(opened(tmp_path, bytes(stub) + zstd.compress(kernel.raw())), kernel)


@pytest.mark.parametrize("layout", ["base before", "base behind", "fixed32"])
@pytest.mark.parametrize("lists_text", [True, False])
def test_arm_zimage(tmp_path: Path, layout: str, lists_text: bool) -> None:
    base = 0xC020_8000
    symbols = [symbol for symbol in make_symbols(base) if lists_text or symbol.name != "_text"]
    kernel = Kernel(LE32, base, symbols, layout).build()
    stub = bytearray(0x1000)
    stub[0x24:0x28] = b"\x18\x28\x6f\x01"
    image = opened(tmp_path, bytes(stub) + COMPRESSIONS["lzma"](kernel.raw()) + bytes(64))
    check(image, kernel)
    assert image.machine == "arm"


def test_symtab_takes_the_order_of_kallsyms(tmp_path: Path) -> None:
    kernel = x86_kernel(None)
    image = opened(tmp_path, write_vmlinux(kernel, "x86-64", symtab=True))
    assert image.symbols.origin == "symtab"
    expected = [symbol.name for symbol in kernel.symbols]
    assert list(image.symbols.names) == expected
    assert chr(image.symbols.types[image.symbols.find("alias_of_50")[0]]) == "W"
    assert image.release == "6.12.0-test"


def test_embedded_tables_go_before_symtab(tmp_path: Path) -> None:
    kernel = x86_kernel()
    kernel.symbols.append(kernel.symbols.pop())
    image = opened(tmp_path, write_vmlinux(kernel, "x86-64", symtab=True))
    check(image, kernel)
    assert image.symbols.origin == "kallsyms"
    assert image.addr("no_such_symbol") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF" + bytes(100), "headers are damaged"),
        (b"hello, world\n" * 100, "is no kernel image but text"),
        (bytes(70000), "is no kernel image but all zero bytes"),
        (gzip.compress(b"no kernel at all" * 100, mtime=0), "is no kernel image but gzip"),
        (write_bzimage(zstd.compress(bytes(1000))), "bzImage: the compressed kernel inside was not found"),
        (write_bzimage(b"\x89LZO\x00\r\n\x1a\n" + bytes(1000)), "compressed with lzo"),
    ],
)
def test_refuses_what_is_no_kernel(tmp_path: Path, data: bytes, words: str) -> None:
    if data.startswith(b"\x7fELF"):
        data += b"Linux version 6.12"
    with pytest.raises(SourceError, match=words) as caught:
        opened(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_refuses_a_truncated_bzimage(tmp_path: Path) -> None:
    whole = write_bzimage(zstd.compress(write_vmlinux(x86_kernel(), "x86-64")))
    with pytest.raises(SourceError, match="truncated"):
        opened(tmp_path, whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="is the file complete"):
        opened(tmp_path, whole[:2600])
    with pytest.raises(SourceError, match="truncated"):
        opened(tmp_path, VMLINUX[: len(VMLINUX) - 5000])


def test_refuses_a_kernel_without_symbols(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither \.symtab nor kallsyms tables.*System\.map"):
        opened(tmp_path, write_vmlinux(x86_kernel(None), "x86-64"))
    base = 0xFFFF_8000_8000_0000
    with pytest.raises(SourceError, match="without kallsyms tables"):
        opened(tmp_path, arm64_image(Kernel(LE64, base, make_symbols(base), None).build()))


def test_refuses_other_elf_files(tmp_path: Path) -> None:
    sections = [ElfSection(".text", PROGBITS, ALLOC | EXEC, 0x1000, b"Linux version 6\0")]
    with pytest.raises(SourceError, match="ELF object"):
        opened(tmp_path, write_elf(sections, LE64, "x86-64", kind=1))
    with pytest.raises(SourceError, match="core dump"):
        opened(tmp_path, write_elf(sections, LE64, "x86-64", kind=4))
    with pytest.raises(SourceError, match="is a directory"):
        load_image(str(tmp_path), cache=False)


def test_a_separate_debug_file_has_symbols_only(tmp_path: Path) -> None:
    kernel = x86_kernel(None)
    kernel.symbols.insert(2, Symbol(X86 + 0x10, "D", "linux_banner"))
    table, strings = write_symtab(kernel.symbols, LE64, {"t": 1, "r": 2, "b": 3, "d": 2})
    sections = [
        ElfSection(".text", NOBITS, ALLOC | EXEC, X86, b"", size=0x10000),
        ElfSection(".rodata", NOBITS, ALLOC, X86 + 0x10000, b"", size=0x10000),
        ElfSection(".bss", NOBITS, ALLOC, X86 + 0x30000, b"", size=0x1000),
        ElfSection(".symtab", SYMTAB, 0, 0, table, link=5, entry_size=24),
        ElfSection(".strtab", STRTAB, 0, 0, strings),
    ]
    image = opened(tmp_path, write_elf(sections, LE64, "x86-64"))
    assert list(image.symbols.names) == [symbol.name for symbol in kernel.symbols]
    assert image.text_base == X86
    assert image.release is None
    assert image.read(X86, 16) == b""
    assert image.btf is None


def test_btf_is_found_by_section_or_by_shape(tmp_path: Path) -> None:
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 5) + bytes(16) + b"\0int\0"
    kernel = x86_kernel()
    sections = [
        ElfSection(".text", PROGBITS, ALLOC | EXEC, X86, kernel.text),
        ElfSection(".rodata", PROGBITS, ALLOC, kernel.rodata_addr, kernel.rodata),
        ElfSection(".BTF", PROGBITS, ALLOC, X86 + 0x40000, blob),
    ]
    assert opened(tmp_path, write_elf(sections, LE64, "x86-64")).btf == blob
    assert opened(tmp_path, write_elf(sections, LE64, "x86-64", with_headers=False)).btf == blob
    assert opened(tmp_path, write_vmlinux(kernel, "x86-64")).btf is None


def test_the_cache_spares_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kernel = x86_kernel("percpu behind")
    path = tmp_path / "vmlinuz"
    path.write_bytes(write_bzimage(zstd.compress(write_vmlinux(kernel, "x86-64"))))
    first = load_image(str(path))
    calls: list[str] = []
    unpack = image_module.unpack

    def counted(data: np.ndarray[tuple[int], np.dtype[np.uint8]], name: str) -> object:
        calls.append(name)
        return unpack(data, name)

    monkeypatch.setattr(image_module, "unpack", counted)
    second = load_image(str(path))
    assert list(second.symbols.names) == list(first.symbols.names)
    assert second.symbols.absolute is not None
    assert second.symbols.absolute.tolist() == first.symbols.absolute.tolist()  # type: ignore[union-attr]
    assert (second.release, second.text_base) == (first.release, first.text_base)
    assert not calls
    check(second, kernel)  # reads memory: now the image is opened, once
    assert len(calls) == 1
    load_image(str(path), cache=False)
    assert len(calls) == 2
    for blob in (tmp_path / "cache").rglob("*.npz"):
        blob.write_bytes(blob.read_bytes()[:-1])
    check(load_image(str(path)), kernel)


def test_a_raw_image_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = 0xFFFF_8000_8000_0000
    kernel = Kernel(LE64, base, make_symbols(base), "place").build()
    path = tmp_path / "Image"
    path.write_bytes(arm64_image(kernel))
    check(load_image(str(path)), kernel)
    check(load_image(str(path)), kernel)


VMLINUX = write_vmlinux(x86_kernel(), "x86-64", symtab=True)
PACKED = write_bzimage(zstd.compress(VMLINUX))
RAW = arm64_image(Kernel(LE64, 0xFFFF_8000_8000_0000, make_symbols(0xFFFF_8000_8000_0000), "place").build())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([VMLINUX, PACKED, RAW]),
    st.lists(st.tuples(st.integers(0, 1 << 24), st.binary(min_size=1, max_size=8)), max_size=6),
    st.one_of(st.none(), st.integers(0, 1 << 24)),
    st.booleans(),
)
def test_damaged_images_are_read_or_refused(
    tmp_path: Path, data: bytes, edits: list[tuple[int, bytes]], cut: int | None, only_headers: bool
) -> None:
    blob = bytearray(data)
    for place, octets in edits:
        at = place % (0x400 if only_headers else len(blob))
        if only_headers and data is VMLINUX and place & 1:
            at = len(blob) - 1 - at  # the section headers
        blob[at : at + len(octets)] = octets
    if cut is not None:
        del blob[cut % len(blob) :]
    try:
        image = opened(tmp_path, bytes(blob))
        image.read(X86, 100)
        image.cstring(X86 + 0x10000)
        list(image.symbols.names)
        assert image.btf is None or image.btf
    except RbdumpError:
        return


PAIRS = [
    ("6.12.43-amd64", "6.12.43/modules", 154_007),
    ("7.3.4-amd64", "7.3.4/modules", 197_553),
    ("6.12.107-s390x", "s390x-6.12.107/sched", 80_743),
]


@pytest.mark.parametrize(("kernel", "sample", "count"), PAIRS)
def test_symbols_of_real_kernels(kernel: str, sample: str, count: int) -> None:
    """Every symbol, type and alias that /proc/kallsyms listed, in its order, less the KASLR offset."""
    path, listed = SHARED / "kernels" / f"vmlinuz-{kernel}", SHARED / "samples" / sample / "kallsyms.xz"
    if not path.exists() or not listed.exists():
        pytest.skip("the real kernels are not here")
    symbols = load_image(str(path), cache=False).symbols
    text_of_boot = lzma.decompress(listed.read_bytes()).decode()
    rows = [line.split(" ") for line in text_of_boot.split("\n") if line and "\t" not in line]
    assert len(symbols) == len(rows) == count
    text = next(int(row[0], 16) for row in rows if row[2] == "_text")
    moved = symbols.addrs + np.uint64(text - (symbols.addr("_text") or 0))
    if symbols.absolute is not None:
        moved[symbols.absolute] = symbols.addrs[symbols.absolute]
    assert moved.tolist() == [int(row[0], 16) for row in rows]
    assert symbols.types.tobytes() == "".join(row[1] for row in rows).encode()
    assert list(symbols.names) == [row[2] for row in rows]
    assert len(load_kallsyms(str(listed))) >= count
