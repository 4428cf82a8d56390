# SPDX-License-Identifier: Apache-2.0
"""Text in the trace, and the packed arguments of trace_printk."""

from __future__ import annotations

import struct

import pytest

from rbdump.abi import Abi
from rbdump.render.bprintf import bprintf
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


def test_raw_data_shows_the_padding_too() -> None:
    got = render([Rec(RAW_DATA, 1, struct.pack("<I", 42) + b"raw"), Rec(RAW_DATA, 1, struct.pack("<I", 1))])
    assert got == ["# 2a buf: 72 61 77 00\n", "# 1 buf:\n"]


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
        ("%pe", struct.pack("<q", -12), "-12"),
        ("100%% %d", struct.pack("<i", 1), "100% 1"),
        ("%d %d", struct.pack("<i", 1), "1 0"),
        ("%y %d", b"", "%y %d"),
        ("%999999999d", struct.pack("<i", 1), " " * 4095 + "1"),
    ],
)
def test_binary_printf(template: str, raw: bytes, text: str) -> None:
    assert bprintf(template, raw, facts_of()) == text


def test_binary_printf_of_32_bit_big_endian() -> None:
    facts = facts_of(Abi("big", 4))
    assert bprintf("%lu %lld", struct.pack(">Iq", 7, -1), facts) == "7 -1"
    assert bprintf("%lx", struct.pack("<Q", 2**40), facts_of(LE64)) == "10000000000"
