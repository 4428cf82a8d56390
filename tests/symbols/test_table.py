# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.table import SymbolTable

ALL = b"""\
0000000000000000 A fixed_percpu_data
0000000000001000 A cpu_debug_store
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 T first
ffffffff81000040 W alias
ffffffff81000100 t second
ffffffff81001000 T _etext
ffffffff81002000 D data
ffffffff81003000 T _sinittext
ffffffff81003000 T __init_begin
ffffffff81003800 T _einittext
ffffffff81004000 B __init_end
ffffffff81005000 B _end
ffffffff81005000 B __brk_limit
ffffffff81008000 D __init_scratch_begin
ffffffffc0400010 t b_func\t[mod]
ffffffffc0400000 t a_func\t[mod]
ffffffffc0400000 t a_alias\t[mod]
ffffffffc0400012 t $x\t[mod]
ffffffffc0402000 r strings\t[mod]
ffffffffc0403000 d state\t[mod]
0000000000020000 a counter\t[mod]
ffffffffc0400800 t intruder\t[other]
ffffffffc0500000 t ftrace_trampoline\t[__builtin__ftrace]
ffffffffc0501020 t bpf_prog_1234_main\t[bpf]
"""


def found(table: SymbolTable, addr: int) -> str | None:
    index, offset, size = table.nearest(np.array([addr], np.uint64))
    if index[0] < 0:
        return None
    return f"{table.names[int(index[0])]}+{offset[0]:#x}/{size[0]:#x} {table.module_of(int(index[0]))}".strip()


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        (0xFFFF_FFFF_8100_0000, "_stext+0x0/0x40"),  # the first alias, sized up to the next different address
        (0xFFFF_FFFF_8100_0041, "first+0x1/0xc0"),
        (0xFFFF_FFFF_8100_0FFF, "second+0xeff/0xf00"),
        (0xFFFF_FFFF_8100_1FFF, "_etext+0xfff/0x1000"),
        (0xFFFF_FFFF_8100_4FFF, "__init_end+0xfff/0x1000"),
        (0xFFFF_FFFF_8100_5000, None),  # _end itself is outside
        (0xFFFF_FFFF_8100_8010, None),  # listed behind _end, never found
        (0xFFFF_FFFF_80FF_FFFF, None),
        (0x1000, None),  # per-CPU offsets are no addresses
        (0xFFFF_FFFF_C040_0004, "a_func+0x4/0x10 mod"),
        (0xFFFF_FFFF_C040_0013, "b_func+0x3/0xff0 mod"),  # up to the page end; mapping symbols do not count
        (0xFFFF_FFFF_C040_0801, "intruder+0x1/0x800 other"),
        (0xFFFF_FFFF_C040_1000, None),
        (0xFFFF_FFFF_C040_2001, "strings+0x1/0x1000 mod"),
        (0xFFFF_FFFF_C040_3001, "state+0x1/0x1000 mod"),
        (0x20000, None),
        (0xFFFF_FFFF_C050_0010, None),
        (0xFFFF_FFFF_C050_1030, "bpf_prog_1234_main+0x10/0xfe0"),
        (0xFFFF_FFFF_FFFF_FFFF, None),
        (0, None),
    ],
)
def test_finds_what_kallsyms_lookup_finds(addr: int, expected: str | None) -> None:
    assert found(load_kallsyms(ALL), addr) == expected


def test_without_data_symbols_only_text_answers() -> None:
    table = load_kallsyms(
        b"c0300000 T _stext\nc0300020 t f\nc0f00000 D _etext\nc0f00100 R __start_ro\nc1400000 T _sinittext\n"
        b"c1400010 t g\nc1480000 T _einittext\nc1490000 D __stop_ro\nbf000000 t m\t[mod]\nbf001000 d v\t[mod]\n"
    )
    assert not table.lists_data
    assert found(table, 0xC030_0021) == "f+0x1/0xbfffe0"
    assert found(table, 0xC0F0_0000) is None
    assert found(table, 0xC0F0_0101) is None
    assert found(table, 0xC140_0011) == "g+0x1/0x7fff0"
    assert found(table, 0xC148_0000) is None
    assert found(table, 0xBF00_0004) == "m+0x4/0x1000 mod"
    assert found(table, 0xBF00_1004) is None


def test_the_last_symbol_ends_with_the_kernel() -> None:
    table = load_kallsyms(b"00001000 T _stext\n00001800 b last\n00000900 B _end\n00001900 B _end\n")
    assert found(table, 0x1810) == "last+0x10/0x100"


def test_pages_of_16k_bound_modules() -> None:
    text = b"ffff800080000000 T _stext\nffff800082000000 B reserved_pg_dir\nffff800082004000 B swapper_pg_dir\n"
    table = load_kallsyms(text + b"ffff800083000000 B _end\nffff800079000010 t f\t[mod]\n")
    assert table.page_size == 16384
    assert found(table, 0xFFFF_8000_7900_3FFF) == "f+0x3fef/0x3ff0 mod"
    assert found(table, 0xFFFF_8000_7900_4000) is None


def test_a_list_without_data_leaves_the_page_to_the_region() -> None:
    text = b"ffff800080000000 T _stext\nffff800081000000 T _etext\nffff80007a000010 t last_func\t[foo]\n"
    table = load_kallsyms(text)
    addr = np.array([0xFFFF_8000_7A00_1010], np.uint64)
    assert table.nearest(addr)[0].tolist() == [-1]
    table.assume_page_size(16384)
    assert table.page_size == 16384
    index, offset, size = table.nearest(addr)
    assert (table.names[int(index[0])], int(offset[0]), int(size[0])) == ("last_func", 0x1000, 0x3FF0)


def test_the_zero_page_is_one_page() -> None:
    text = b"c000000000000000 T _stext\nc000000001000000 b empty_zero_page\nc000000001010000 b next\n"
    assert load_kallsyms(text + b"c000000002000000 B _end\n").page_size == 65536
    pointer = text.replace(b"01010000", b"01000008")
    assert load_kallsyms(pointer + b"c000000002000000 B _end\n").page_size == 4096


def test_from_data_moves_all_but_absolute_symbols() -> None:
    data = SymbolData(
        np.array([0x1000, 0x8000_0000, 0x8000_0100, 0x8000_0200], np.uint64),
        Names.from_list(["pcpu", "_stext", "f", "_end"]),
        np.frombuffer(b"ATTB", np.uint8),
        "kallsyms",
        np.array([True, False, False, False]),
    )
    table = SymbolTable.from_data(data, -0x1000)
    assert table.addrs.tolist() == [0x1000, 0x7FFF_F000, 0x7FFF_F100, 0x7FFF_F200]
    assert found(table, 0x7FFF_F101) == "f+0x1/0x100"
    assert data.addr("f") == 0x8000_0100
    assert data.addr("g") is None
    assert data.names_at(0x8000_0200) == ["_end"]
    assert data.names_at(0x8000_0201) == []


def test_merge_joins_modules_by_name() -> None:
    core = load_kallsyms(b"ffffffff81000000 T _stext\nffffffff81005000 B _end\n")
    one = SymbolTable.from_data(
        SymbolData(np.array([0x10, 0x20], np.uint64), Names.from_list(["f", "g"]), np.frombuffer(b"tt", np.uint8), "x"),
        0xFFFF_FFFF_C000_0000,
        module="mod",
    )
    two = load_kallsyms(b"ffffffffc0009000 d v\t[mod]\nffffffffc0100000 t w\t[new]\n")
    table = core.merge([one, two])
    assert table.modules == ("mod", "new")
    assert found(table, 0xFFFF_FFFF_C000_0011) == "f+0x1/0x10 mod"
    assert found(table, 0xFFFF_FFFF_C000_9001) == "v+0x1/0x1000 mod"
    assert found(table, 0xFFFF_FFFF_C010_0001) == "w+0x1/0x1000 new"
    assert found(table, 0xFFFF_FFFF_8100_0001) == "_stext+0x1/0x5000"
    assert table.addr("f", "mod") == 0xFFFF_FFFF_C000_0010
    assert table.addr("f") is None
    assert table.addr("f", "absent") is None


def test_an_empty_table_finds_nothing() -> None:
    table = SymbolTable(np.empty(0, np.uint64), Names.from_list([]))
    assert found(table, 0x1234) is None
    assert len(table.nearest(np.empty(0, np.uint64))[0]) == 0


def test_an_address_may_be_the_last_one() -> None:
    last = 2**64 - 1
    for addrs in ([last], [0x1000, last]):
        table = SymbolTable(np.array(addrs, np.uint64), Names.from_list(["a", "b"][: len(addrs)]))
        assert found(table, 0x1800) == (None if len(addrs) == 1 else "a+0x800/0xffffffffffffefff")


def test_all_addresses_of_a_name() -> None:
    twice = b"ffffffff81000200 t a_func\nffffffff81000240 t a_func\n"
    table = load_kallsyms(ALL.replace(b"ffffffff81001000 T _etext", twice + b"ffffffff81001000 T _etext"))
    own, of_module = [0xFFFF_FFFF_8100_0200, 0xFFFF_FFFF_8100_0240], 0xFFFF_FFFF_C040_0000
    assert table.addrs_named("a_func").tolist() == [*own, of_module]
    assert table.addrs_named("a_func", "mod").tolist() == [of_module]
    assert table.addrs_named("a_func", "other").tolist() == []
    for name in ("missing", "cpu_debug_store", "counter", "ftrace_trampoline"):
        assert table.addrs_named(name).tolist() == []
