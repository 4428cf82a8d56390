# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import RbdumpError, SourceError
from rbdump.kernel.files.elf import open_vmlinux
from rbdump.kernel.memory import ImageMemory
from rbdump.kernel.symtabs.symtab import symtab_symbols
from tests.imagewriter import ALLOC, EXEC, NOBITS, PROGBITS, STRTAB, SYMTAB, WRITE, ElfSection, write_elf

ABIS = [Abi(order, size) for order in ("little", "big") for size in (8, 4)]  # type: ignore[arg-type]


def octets(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


SECTIONS = [
    ElfSection(".text", PROGBITS, ALLOC | EXEC, 0x8000_1000, b"text" * 16),
    ElfSection(".data", PROGBITS, ALLOC | WRITE, 0x8000_2000, b"data" * 16),
    ElfSection(".bss", NOBITS, ALLOC | WRITE, 0x8000_3000, b"", size=0x100),
    ElfSection(".comment", PROGBITS, 0, 0, b"not loaded"),
]


@pytest.mark.parametrize("abi", ABIS, ids=str)
@pytest.mark.parametrize("headers", [True, False])
def test_contents(abi: Abi, headers: bool) -> None:
    machine = {8: "aarch64" if abi.byteorder == "little" else "s390x", 4: "arm"}[abi.long_size]
    vmlinux = open_vmlinux(octets(write_elf(SECTIONS, abi, machine, with_headers=headers)), "vmlinux")
    assert (vmlinux.abi, vmlinux.machine) == (abi, machine)
    memory = ImageMemory(vmlinux.segments, abi)
    assert memory.read(0x8000_1000, 8) == b"texttext"
    assert memory.read(0x8000_2000, 4) == b"data"
    if headers:
        assert memory.read(0x8000_3000, 0x200) == bytes(0x100)
        comment = vmlinux.section(".comment")
        assert comment is not None
        assert vmlinux.contents(comment).tobytes() == b"not loaded"
        assert vmlinux.section(".bss") is None, "it has no contents"
        assert vmlinux.section(".nothing") is None


def test_little_endian_ppc64_has_its_own_name() -> None:
    assert open_vmlinux(octets(write_elf(SECTIONS, ABIS[0], "ppc64")), "vmlinux").machine == "ppc64le"
    assert open_vmlinux(octets(write_elf(SECTIONS, ABIS[2], "ppc64")), "vmlinux").machine == "ppc64"


def test_per_cpu_templates_at_0_are_no_memory() -> None:
    template = ElfSection(".data..percpu", PROGBITS, ALLOC | WRITE, 0, b"per cpu" * 10)
    vmlinux = open_vmlinux(octets(write_elf([*SECTIONS, template], ABIS[0], "x86-64")), "vmlinux")
    assert ImageMemory(vmlinux.segments, vmlinux.abi).read(0, 8) == b""


def test_overlapping_sections_are_refused() -> None:
    many = [ElfSection(f".s{n}", PROGBITS, ALLOC, 0x1000 + n, b"x") for n in range(40)]
    blob = bytearray(write_elf(many, ABIS[0], "x86-64"))
    table = int.from_bytes(blob[0x28:0x30], "little")
    for row in range(1, 41):
        at = table + 64 * row
        blob[at + 24 : at + 40] = (0).to_bytes(8, "little") + len(blob).to_bytes(8, "little")
    with pytest.raises(SourceError, match="sections overlap"):
        open_vmlinux(octets(bytes(blob)), "vmlinux")


def symbol(name: int, kind: int, binding: int, place: int, value: int, abi: Abi) -> bytes:
    import struct

    info = binding << 4 | kind
    if abi.long_size == 8:
        return struct.pack(abi.endian + "IBBHQQ", name, info, 0, place, value, 0)
    return struct.pack(abi.endian + "IIIBBH", name, value, 0, info, 0, place)


@pytest.mark.parametrize("abi", ABIS, ids=str)
def test_symtab_letters_and_filter(abi: Abi) -> None:
    rows = [
        ("local_text", 2, 0, 1, 0x8000_1000),
        ("global_text", 2, 1, 1, 0x8000_1010),
        ("weak_text", 2, 2, 1, 0x8000_1020),
        ("weak_object", 1, 2, 2, 0x8000_2000),
        ("local_data", 1, 0, 2, 0x8000_2010),
        ("global_bss", 1, 1, 3, 0x8000_3000),
        ("undefined", 0, 1, 0, 0),
        ("a_section", 3, 0, 1, 0x8000_1000),
        ("file.c", 4, 0, 0xFFF1, 0),
        ("absolute", 0, 1, 0xFFF1, 0x1234),
        ("$x", 0, 0, 1, 0x8000_1000),
        (".Ltmp0", 0, 0, 1, 0x8000_1000),
        ("__crc_schedule", 0, 0, 1, 0x8000_1000),
        ("far_veneer", 0, 0, 1, 0x8000_1000),
        ("", 0, 0, 1, 0x8000_1000),
    ]
    strings, table = bytearray(b"\0"), bytearray(symbol(0, 0, 0, 0, 0, abi))
    for name, kind, binding, place, value in rows:
        table += symbol(len(strings), kind, binding, place, value, abi)
        strings += name.encode() + b"\0"
    sections = [
        *SECTIONS,
        ElfSection(".symtab", SYMTAB, 0, 0, bytes(table), link=6),
        ElfSection(".strtab", STRTAB, 0, 0, bytes(strings)),
    ]
    symbols = symtab_symbols(open_vmlinux(octets(write_elf(sections, abi, "arm")), "vmlinux"))
    assert symbols is not None
    found = list(zip(symbols.names, symbols.types.tobytes().decode(), symbols.addrs.tolist(), strict=True))
    assert found == [
        ("local_text", "t", 0x8000_1000),
        ("global_text", "T", 0x8000_1010),
        ("weak_text", "W", 0x8000_1020),
        ("weak_object", "V", 0x8000_2000),
        ("local_data", "d", 0x8000_2010),
        ("global_bss", "B", 0x8000_3000),
    ]


def test_a_stripped_image_has_no_symtab() -> None:
    assert symtab_symbols(open_vmlinux(octets(write_elf(SECTIONS, ABIS[0], "x86-64")), "vmlinux")) is None


WHOLE = write_elf(SECTIONS, ABIS[0], "x86-64")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8), st.integers(4, len(WHOLE)))
def test_damaged_headers(edits: list[tuple[int, int]], length: int) -> None:
    blob = bytearray(WHOLE)
    for place, value in edits:
        blob[place] = value
    blob[:4] = b"\x7fELF"
    try:
        vmlinux = open_vmlinux(octets(bytes(blob[:length])), "vmlinux")
    except RbdumpError:
        return
    ImageMemory(vmlinux.segments, vmlinux.abi).read(0x8000_1000, 100)
    symtab_symbols(vmlinux)
