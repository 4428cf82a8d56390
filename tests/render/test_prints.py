# SPDX-License-Identifier: Apache-2.0
"""Text in the trace, and the packed arguments of trace_printk."""

from __future__ import annotations

import struct

import pytest

from rbdump.abi import Abi
from rbdump.render.bprintf import bprintf
from rbdump.render.prints import fitting_raw_data
from tests.events.records import LE64, Rec
from tests.render.scene import BASE, facts_of, render

PRINT, BPRINT, BPUTS, RAW_DATA = 5, 6, 14, 18
IP = struct.pack("<Q", BASE + 0x104)


def strings(addr: int) -> str | None:
    return {0x1000: "x=%d %s\n", 0x2000: "constant\n"}.get(addr)


def test_markers_and_made_text() -> None:
    got = render([Rec(PRINT, 1, IP + b"hello\n\0junk"), Rec(PRINT, 1, IP + b"no end"), Rec(PRINT, 1, IP + b"\xff\n")])
    assert got == ["vfs_read: hello\n", "vfs_read: no end", "vfs_read: \udcff\n"]


def test_constants() -> None:
    known, unknown = (Rec(BPUTS, 1, IP + struct.pack("<Q", addr)) for addr in (0x2000, 0x3000))
    got = render([known, unknown], string_at=strings)
    assert got == ["vfs_read: constant\n", "vfs_read: (string at 0x3000 is not known)\n"]


def test_packed_arguments() -> None:
    args = struct.pack("<i", -7) + b"abc\0"
    known, unknown = (Rec(BPRINT, 1, IP + struct.pack("<Q", addr) + args) for addr in (0x1000, 0x3000))
    got = render([known, unknown], string_at=strings)
    assert got == [
        "vfs_read: x=-7 abc\n",
        "vfs_read: (format at 0x3000 is not known) args=f9ffffff61626300\n",
    ]
    cut = Rec(BPRINT, 1, IP + struct.pack("<Qi", 0x1000, -7) + b"abcd")
    assert render([cut], string_at=strings) == ["vfs_read: x=-7 abcd\n"]


def test_raw_data_shows_the_padding_too() -> None:
    got = render([Rec(RAW_DATA, 1, struct.pack("<I", 42) + b"raw"), Rec(RAW_DATA, 1, struct.pack("<I", 1))])
    assert got == ["# 2a buf: 72 61 77 00\n", "# 1 buf:\n"]


def test_raw_data_that_was_printed_as_its_fields_is_not_cut() -> None:
    text = "id=0x2a (42) other=" + "00" * 9000
    assert fitting_raw_data("head", text, LE64) == text


SYMBOL = struct.pack("<Q", BASE + 0x110)


@pytest.mark.parametrize(
    ("template", "raw", "text"),
    [
        ("%d", struct.pack("<i", -1), "-1"),
        ("%u", struct.pack("<i", -1), "4294967295"),
        ("%#x|%X|%o", struct.pack("<III", 0, 0xAB, 8), "0x0|AB|10"),
        ("%5d|%-5d|%05d|%+d|% d", struct.pack("<iiiii", 1, 2, -3, 4, 5), "    1|2    |-0003|+4| 5"),
        ("%.3d|%6.3d", struct.pack("<ii", 7, -7), "007|  -007"),
        ("%*d|%-*d", struct.pack("<iiii", 4, 1, 4, 2), "   1|2   "),
        ("%*d", struct.pack("<ii", -4, 1), "1   "),
        ("%c%c", b"ab", "ab"),
        ("%hhd %hd", struct.pack("<bxh", -2, -3), "-2 -3"),
        ("%d %lld", struct.pack("<iq", 1, -(2**40)), f"1 {-(2**40)}"),
        ("%lu %zu", struct.pack("<QQ", 2**63, 5), f"{2**63} 5"),
        ("%s %d", b"ab\0\0" + struct.pack("<i", 3), "ab 3"),
        ("%6s|%-6s|%.1s", b"a\0b\0cd\0", "     a|b     |c"),
        ("%pS %ps", SYMBOL + SYMBOL, "vfs_read+0x10/0x100 vfs_read"),
        ("%p", SYMBOL, f"{BASE + 0x110:016x}"),
        ("%pI4 %d", b"127.0.0.1\0\0\0" + struct.pack("<i", 9), "127.0.0.1 9"),
        ("%pe|%8pe|%pe", struct.pack("<qqq", -12, -2, -4000), "-ENOMEM| -ENOENT|-4000"),
        ("%pe", SYMBOL, f"{BASE + 0x110:016x}"),
        ("100%% %d", struct.pack("<i", 1), "100% 1"),
        ("%d %d", struct.pack("<i", 1), "1 0"),
        ("a%y %d", struct.pack("<i", 1), "a"),
        ("a%d%", struct.pack("<i", 1), "a1"),
        ("%n%d", struct.pack("<i", 1), ""),
        ("%.*s|", struct.pack("<i", 2) + b"abc\0", "ab|"),
        ("%.*s|%.*d|", struct.pack("<i", -2) + b"abc\0" + struct.pack("<ii", -3, 7), "|7|"),
        ("%.s|%.5d", b"ab\0\0" + struct.pack("<i", 3), "ab|00003"),
        ("%*.*s|", struct.pack("<ii", -5, 2) + b"abc\0", "ab   |"),
        ("%.1s|%3s|%-4s|", "é\0é\0é\0".encode(), "\udcc3| é|é  |"),
        ("%3c|%-3c|%c", b"ab\xff", "  a|b  |\udcff"),
        ("%d%c%d %hd", struct.pack("<ib3xihxx", 1, 0x2D, 2, -3), "1-2 -3"),
        ("%c%lld%c%hd%s", b"a\0\0\0" + struct.pack("<q", -1) + b"b\0" + struct.pack("<h", -5) + b"x\0", "a-1b-5x"),
        ("%s%d", b"a\0\0\0" + struct.pack("<i", 7), "a7"),
        ("%Lx %zd %td %hhu", struct.pack("<QqqB", 2**63, -1, -2, 255), "8000000000000000 -1 -2 255"),
        ("%#o|%#o|%#5x|%#05x|%08.3d|%+u", struct.pack("<IIIIiI", 0, 8, 1, 1, 5, 6), "0|010|  0x1|0x001|00000005|6"),
        ("%*ph %d", struct.pack("<i", 3) + b"01 02 03\0\0\0\0" + struct.pack("<i", 9), "01 02 03 9"),
        (
            "%*pbl|%64pb|%20pI4|",
            struct.pack("<i", 64) + b"0-1\0ff\0           127.0.0.1\0",
            "0-1|ff|           127.0.0.1|",
        ),
        ("%20pS|%-10ps|%.3ps", SYMBOL * 3, " vfs_read+0x10/0x100|vfs_read  |vfs"),
        (
            "%px|%20px|%05pK|%#p|%-3p|",
            SYMBOL + struct.pack("<QQQQ", 1, 2, 3, 4),
            f"{BASE + 0x110:016x}|{'1':>20}|00002|0x{3:014x}|4  |",
        ),
        ("%pSR %pSb, %pB", SYMBOL * 2 + b"vfs_read\0", "vfs_read+0x10/0x100 vfs_read+0x10/0x100, vfs_read"),
        ("%*d|", struct.pack("<ii", -(2**31), 1), "1" + " " * 4095 + "|"),
        ("%999999999d", struct.pack("<i", 1), " " * 4095 + "1"),
    ],
)
def test_binary_printf(template: str, raw: bytes, text: str) -> None:
    assert bprintf(template, raw, facts_of()) == text


def test_binary_printf_of_32_bit_big_endian() -> None:
    facts = facts_of(Abi("big", 4))
    assert bprintf("%lu %lld", struct.pack(">Iq", 7, -1), facts) == "7 -1"
    assert bprintf("%c%lld %ld %p", struct.pack(">B3xqiI", 0x61, -(2**40), -2, 16), facts) == f"a{-(2**40)} -2 00000010"
    assert bprintf("%pe", struct.pack(">i", -22), facts) == "-EINVAL"
    assert bprintf("%lx", struct.pack("<Q", 2**40), facts_of(LE64)) == "10000000000"
