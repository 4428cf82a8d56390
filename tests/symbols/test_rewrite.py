# SPDX-License-Identifier: Apache-2.0
"""Addresses in text become names; all else stays as it is."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.kernel.symboldata import Names
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.rewrite import AddressRewriter, addresses_in
from rbdump.symbols.table import SymbolTable

LE64 = Abi("little", 8)

X86 = b"""\
ffffffffa1000000 T _stext
ffffffffa1000000 T _text
ffffffffa1000040 T do_one
ffffffffa1000100 t do_two
ffffffffa1000200 T _etext
ffffffffa1800000 D jiffies
ffffffffa1800008 B _end
ffffffffc0601000 t br_handle\t[bridge]
ffffffffc0601080 t br_forward\t[bridge]
"""
ARM = b"""\
c0300000 T _stext
c0300000 T _text
c0300100 t schedule
c0300180 T _etext
c1000000 D jiffies
c1000004 B _end
"""
S390 = b"""\
000003ffe0100000 T _stext
000003ffe0100100 t schedule
000003ffe0100180 T _etext
"""


def table(text: bytes) -> SymbolTable:
    return load_kallsyms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # events
        ("timer_start: function=0xffffffffa1000040 expires=1", "timer_start: function=do_one+0x0/0xc0 expires=1"),
        ("hrtimer_start: function=ffffffffa1000140 x", "hrtimer_start: function=do_two+0x40/0x100 x"),
        (
            "kfree: call_site=ffffffffa1000044 ptr=ffff9c1a4102c800",
            "kfree: call_site=do_one+0x4/0xc0 ptr=ffff9c1a4102c800",
        ),
        ("p: (0xffffffffa1000100 <- 0xffffffffa1000044)", "p: (do_two+0x0/0x100 <- do_one+0x4/0xc0)"),
        # functions and stacks
        ("0xffffffffa1000044 <-0xffffffffa1000108", "do_one+0x4/0xc0 <-do_two+0x8/0x100"),
        (" => 0xffffffffa1000044\n => 0xffffffffc0601004", " => do_one+0x4/0xc0\n => br_handle+0x4/0x80 [bridge]"),
        # a console
        ("RIP: 0010:0xffffffffa1000044", "RIP: 0010:do_one+0x4/0xc0"),
        ("[   12.3] Call Trace: [<ffffffffa1000044>] ?", "[   12.3] Call Trace: [<do_one+0x4/0xc0>] ?"),
        ("RAX: ffffffffa1800004 RBX: ffff9c1a4102c800", "RAX: jiffies+0x4/0x8 RBX: ffff9c1a4102c800"),
        ("pc : ffffffffa1000040, lr : ffffffffa1000040", "pc : do_one+0x0/0xc0, lr : do_one+0x0/0xc0"),
    ],
)
def test_what_kernels_print(text: str, expected: str) -> None:
    assert AddressRewriter(table(X86), LE64).rewrite(text.encode()).decode() == expected


@pytest.mark.parametrize(
    "text",
    [
        "no address at all",
        "ffffffffa0ffffff below, ffffffffa1800008 behind the kernel",
        "ffffffffa1000300 between two symbols? no: behind the text, ffffffffa2000000 is not",
        "ffffffffc0602000 behind the module",
        "affffffffa1000040 ffffffffa10000401 ffffffffa1000040x _ffffffffa1000040 xffffffffa1000040",
        "00ffffffffa1000040 0x00ffffffffa1000040z",
        "FFFFFFFFA1000040",
        "a1000040 0xa1000040 2701131840",
        "",
        "\xff\xfe\n\n",
    ],
)
def test_what_is_no_address_stays_the_very_same_bytes(text: str) -> None:
    raw = text.encode("latin-1")
    if "between" in text:
        raw = raw.replace(b"ffffffffa1000300", b"ffffffffa0000300")
    assert AddressRewriter(table(X86), LE64).rewrite(raw) is raw


def test_the_address_may_stay_in_front_of_its_name() -> None:
    rewriter = AddressRewriter(table(X86), LE64, keep=True)
    assert rewriter.rewrite(b"f=0xffffffffa1000044,") == b"f=0xffffffffa1000044 do_one+0x4/0xc0,"


def test_source_lines_follow_the_name() -> None:
    lines = {0xFFFF_FFFF_A100_0044: "kernel/one.c:7"}
    rewriter = AddressRewriter(table(X86), LE64, line_of=lines.get)
    assert rewriter.rewrite(b"ffffffffa1000044 ffffffffa1000045") == b"do_one+0x4/0xc0 (kernel/one.c:7) do_one+0x5/0xc0"


def test_32_bit_names_code_only() -> None:
    rewriter = AddressRewriter(table(ARM), Abi("little", 4))
    assert rewriter.rewrite(b"PC is at 0xc0300104 or c0300104") == b"PC is at schedule+0x4/0x80 or schedule+0x4/0x80"
    flags = b"flags=0xc1000000 len=c030010"
    assert rewriter.rewrite(flags) is flags


def test_addresses_that_begin_with_zeros() -> None:
    rewriter = AddressRewriter(table(S390), Abi("big", 8))
    expected = b"schedule+0x4/0x80"
    for spelling in (b"0x3ffe0100104", b"000003ffe0100104", b"3ffe0100104", b"0x000003ffe0100104"):
        assert rewriter.rewrite(b"Krnl PSW : " + spelling + b".") == b"Krnl PSW : " + expected + b"."
    odd = b"003ffe0100104 13ffe0100104"
    assert rewriter.rewrite(odd) is odd


def test_short_numbers_are_addresses_only_when_marked() -> None:
    low = table(b"0000000000100000 T _stext\n0000000000100100 t schedule\n0000000000100180 T _etext\n")
    rewriter = AddressRewriter(low, Abi("big", 8))
    assert rewriter.rewrite(b"len=100104 at=0x100104") == b"len=100104 at=schedule+0x4/0x80"
    assert rewriter.rewrite(b"0000000000100104") == b"schedule+0x4/0x80"


def test_32_bit_addresses_may_begin_with_zeros() -> None:
    low = table(b"00100000 T _stext\n00100100 t schedule\n00100180 T _etext\n")
    rewriter = AddressRewriter(low, Abi("little", 4))
    assert rewriter.rewrite(b"PC is at 00100104, not 100104") == b"PC is at schedule+0x4/0x80, not 100104"


def test_a_range_over_numbers_of_different_length() -> None:
    wide = table(
        b"0000000fffffff00 T _stext\n0000000fffffff80 t early\n0000001000000080 t late\n0000001000000100 T _etext\n"
    )
    rewriter = AddressRewriter(wide, LE64)
    assert rewriter.rewrite(b"0xfffffff84 0x1000000084") == b"early+0x4/0x100 late+0x4/0x80"


def test_an_empty_table_touches_nothing() -> None:
    text = b"ffffffffa1000040 0x0 0"
    empty = SymbolTable(np.empty(0, np.uint64), Names.from_list([]))
    assert AddressRewriter(empty, LE64).rewrite(text) is text


def test_addresses_of_a_text() -> None:
    text = b"ip=ffffffffa1000040 ptr=0xffff9c1a4102c800 id=deadbeef 0x1234 xffffffffa1000041"
    assert addresses_in(text, LE64).tolist() == [0xFFFF_FFFF_A100_0040, 0xFFFF_9C1A_4102_C800]
    assert addresses_in(b"0x3ffe0100104 00000000deadbeef", Abi("big", 8)).tolist() == [0x3FFE0100104]
    assert addresses_in(b"c0300104 0x80000000 7fffffff", Abi("little", 4)).tolist() == [0xC0300104, 0x8000_0000]


def test_lines_without_addresses_pass_at_more_than_100_mb_a_second() -> None:
    line = b"  bash-1234    [001] d..2.  1234.567890: sched_switch: prev_comm=bash prev_pid=1234 ==> next_pid=0\n"
    block = line * (8_000_000 // len(line))
    rewriter = AddressRewriter(table(X86), LE64)
    begin = time.process_time()
    assert rewriter.rewrite(block) is block
    assert time.process_time() - begin < 0.08


def test_names_are_kept_for_a_bounded_number_of_addresses() -> None:
    addrs = np.arange(0xFFFF_FFFF_A100_0000, 0xFFFF_FFFF_A100_0200, dtype=np.uint64)
    text = b" ".join(b"%x" % addr for addr in addrs.tolist())
    rewritten = AddressRewriter(table(X86), LE64).rewrite(text)
    assert rewritten.count(b"+0x") == 0x200
