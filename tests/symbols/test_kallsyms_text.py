# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import RbdumpError, SourceError
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.symbolizer import Symbolizer

TEXT = b"ffffffff81000000 T _stext\nffffffff81000010 t f\nffffffff81000020 B _end\nffffffffc0000000 t g\t[mod]\n"


def test_columns() -> None:
    table = load_kallsyms(TEXT)
    assert table.addrs.tolist() == [0xFFFF_FFFF_8100_0000 + n for n in (0, 16, 32)] + [0xFFFF_FFFF_C000_0000]
    assert list(table.names) == ["_stext", "f", "_end", "g"]
    assert table.types.tobytes() == b"TtBt"
    assert table.modules == ("mod",)
    assert table.owners.tolist() == [-1, -1, -1, 0]
    assert not table.findings


def test_other_spellings() -> None:
    upper = load_kallsyms(TEXT.upper().replace(b"T F\n", b"T f\n"))
    assert upper.addrs.tolist() == load_kallsyms(TEXT).addrs.tolist()
    assert list(load_kallsyms(TEXT.replace(b"\n", b"\r\n")).names) == ["_stext", "f", "_end", "g"]
    assert list(load_kallsyms(TEXT[:-1]).names) == ["_stext", "f", "_end", "g"]
    assert list(load_kallsyms(b"\n" + TEXT).names) == ["_stext", "f", "_end", "g"]


def test_other_lines_are_counted() -> None:
    many = b"".join(b"%016x t f%d\n" % (0xFFFF_FFFF_8100_0000 + n, n) for n in range(200))
    table = load_kallsyms(many + b"                 U undefined\nzzzzzzzz81000000 t f\nffff\n")
    assert len(table) == 200
    assert [finding.code for finding in table.findings] == ["kallsyms-lines-skipped"]
    assert " 3 lines" in table.findings[0].message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no line looks like"),
        (b"hello\nworld\n", r"no line looks like .* the file looks like text"),
        (b"BZh91AY&SY\0\0", r"\(ADDRESS TYPE NAME\); the file looks like bzip2 \(decompress it first\)"),
        (b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n", "placeholder"),
        (b"0000000000000000 T _stext\n0000000000000000 T f\n", "all addresses are 0"),
    ],
)
def test_refuses_what_is_no_symbol_list(text: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        load_kallsyms(text)


def test_a_list_of_per_cpu_symbols_is_no_list_of_a_32_bit_kernel() -> None:
    head = b"".join(b"%016x A percpu%d\n" % (n * 8, n) for n in range(50))
    with pytest.raises(SourceError, match="holds none but the per-CPU symbols, with which /proc/kallsyms begins"):
        load_kallsyms(head)
    assert len(load_kallsyms(head + TEXT)) == 54


def test_a_list_that_was_cut_off() -> None:
    for text in (TEXT[:-1], TEXT[:-8], TEXT[:75]):
        assert load_kallsyms(text).findings[-1].code == "kallsyms-cut-off"


def test_a_list_without_the_start_of_the_kernel() -> None:
    init = b"ffffffff82000000 T __init_begin\nffffffff82000010 T start\nffffffff82001000 T __init_end\n"
    rest = TEXT.split(b"\n", 1)[1] + init
    (finding,) = load_kallsyms(rest).findings
    assert finding.code == "kallsyms-without-text"
    assert "lacks _stext, where the kernel's text begins: 2 of its 4 functions are not used" in finding.message
    assert not load_kallsyms(TEXT + init).findings
    assert not load_kallsyms(b"ffffffff81000000 t f\nffffffff81000010 t g\n").findings  # made by hand


def test_opens_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms.xz"
    path.write_bytes(lzma.compress(TEXT))
    assert len(load_kallsyms(str(path))) == 4


@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.sampled_from(b"\n\t [] 0fzT\x00\xff")), max_size=12))
def test_damaged_text_is_read_or_refused(edits: list[tuple[int, int]]) -> None:
    text = bytearray(TEXT)
    for place, byte in edits:
        text[place] = byte
    try:
        table = load_kallsyms(bytes(text))
    except RbdumpError:
        return
    assert len(list(table.names)) == len(table.addrs) == len(table.types) == len(table.owners)


def test_a_system_map_gets_the_order_of_the_kernel() -> None:
    """nm sorts aliases by name; the kernel lists the plainest first, and that is the one it prints."""
    text = b"ffffffff81000000 T _stext\nffffffff81000000 T _text\nffffffff81000000 T startup_64\n"
    assert list(load_kallsyms(text + b"ffffffff81000010 B _end\n").names)[:3] == ["startup_64", "_stext", "_text"]


def test_the_order_of_the_kernel_stays() -> None:
    text = b"ffffffff81000000 T zebra\nffffffff81000000 T antelope\nffffffff81000010 B _end\n"
    assert list(load_kallsyms(text).names) == ["zebra", "antelope", "_end"]


def test_more_modules_than_any_kernel_has() -> None:
    text = b"".join(b"ffffffffc%07x t f\t[m%d]\n" % (n, n) for n in range(40000))
    table = load_kallsyms(TEXT + text)
    assert len(table.modules) == 40001
    assert table.owners[-1] == 40000


def test_initialisers_that_ftrace_remembers_do_not_hide_the_module_that_has_their_memory() -> None:
    """6.12 lists them behind all modules; the kernel asks for them last."""
    text = """\
ffffffff81000000 T _stext
ffffffff81002000 B _end
ffffffffc0100000 t sd_open\t[sd_mod]
ffffffffc0100100 t sd_close\t[sd_mod]
ffffffffc0200000 t msr_open\t[msr]
ffffffffc0200010 t msr_close\t[msr]
ffffffffc0200010 T init_sd\t[sd_mod]
ffffffffc0200800 T late_sd\t[sd_mod]
ffffffffc0300010 T init_msr\t[msr]
"""
    table = load_kallsyms(text.encode())
    symbols = Symbolizer(table, Abi("little", 8))
    assert "init_sd" not in table.names
    wanted = {0x200010: "msr_close [msr]", 0x200900: "msr_close [msr]", 0x300020: "init_msr [msr]"}
    assert {at: symbols.ps[0xFFFF_FFFF_C000_0000 + at] for at in wanted} == wanted
