# SPDX-License-Identifier: Apache-2.0
"""Printf conversions as vsnprintf() of the kernel does them, the C library being a second opinion where they agree."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from tests.events.printfmt.rendering import ALL, BE32, LE32, LE64, Event, render, sockaddr_in, sockaddr_in6

INTEGERS: list[tuple[str, dict[str, Any], str]] = [
    ('"%d", REC->a', {"s64 a": 0x1_FFFF_FFFF}, "-1"),
    ('"%u", REC->a', {"s64 a": -1}, "4294967295"),
    ('"%x", REC->a', {"int a": -1}, "ffffffff"),
    ('"%llx", REC->a', {"int a": -1}, "ffffffffffffffff"),
    ('"%hhd %hhu %hd %hx", REC->a, REC->a, REC->a, REC->a', {"int a": 0x1FFFE}, "-2 254 -2 fffe"),
    ('"%#x|%#x|%#X", REC->a, 0, REC->a', {"int a": 171}, "0xab|0x0|0XAB"),
    ('"{0x%lx} 0x%x%x|%x%#x0x%s", REC->a, REC->a, 0, REC->a, REC->a, "z"', {"int a": 171}, "{0xab} 0xab0|ab0xab0xz"),
    ('"%#o|%#o|%o", REC->a, 0, REC->a', {"int a": 8}, "010|0|10"),
    ('"%#05o|%#.3o|%#-6o|%#6o|%#.0o|%#06.1o", REC->a, REC->a, REC->a, REC->a, 0, REC->a', {"int a": 8},
     "00010|0010|010   |   010|0|000010"),
    ('"%#*.*o|%#0*o|%#.*o|", REC->w, REC->p, REC->a, REC->p, REC->a, REC->w, 0', {"int a": 8, "int w": -7, "int p": 4},
     "00010  |0010|0|"),
    ('"%5d|%-5d|%05d|%+d|% d", REC->a, REC->a, REC->a, REC->a, REC->a', {"int a": 42}, "   42|42   |00042|+42| 42"),
    ('"%+u|% x", REC->a, REC->a', {"int a": 42}, "42|2a"),
    ('"%5.3d|%.3x|%-6.2d|", REC->a, REC->a, REC->a', {"int a": 7}, "  007|007|07    |"),
    ('"%05.1d", REC->a', {"int a": -7}, "-0007"),
    ('"%*d|%-*d|%*d", 5, REC->a, 4, REC->a, -3, REC->a', {"int a": 1}, "    1|1   |1  "),
    ('"%0*llx", (int)8 * 2, (unsigned long long)REC->a', {"int a": 10}, "000000000000000a"),
    ('"%*d", REC->w, REC->a', {"int a": 1, "int w": 4}, "   1"),
    ('"%.*d", REC->w, REC->a', {"int a": 1, "int w": 4}, "0001"),
    ('"%i %Ld %lld %zu %td %lu", REC->a, REC->a, REC->a, REC->b, REC->b, REC->b',
     {"s64 a": -5, "unsigned long b": 6}, "-5 -5 -5 6 6 6"),
    ('"100%% of %d%%", REC->a', {"int a": 3}, "100% of 3%"),
    ('"%c|%3c|%-3c|", REC->a, REC->a, REC->a', {"char a": 66}, "B|  B|B  |"),
    ('"{%d}", REC->a', {"int a": 3}, "{3}"),
    ('"\\\\%d\\"", REC->a', {"int a": 3}, '\\3"'),
]  # fmt: skip
STRINGS: list[tuple[str, dict[str, Any], str]] = [
    ('"%s|%6s|%-6s|%.2s|%6.2s|", REC->s, REC->s, REC->s, REC->s, REC->s', {"char s[8]": b"abcd"},
     "abcd|  abcd|abcd  |ab|    ab|"),
    ('"%.*s", REC->n, REC->s', {"int n": 3, "char s[8]": b"abcd"}, "abc"),
    ('"%.*s|", REC->n, REC->s', {"int n": -1, "char s[8]": b"abcd"}, "|"),
    ('"%.s|%.d|%.*s|%.*d", REC->s, REC->n, -1, REC->s, -4, REC->n', {"int n": 7, "char s[8]": b"abcd"}, "abcd|7||7"),
    ('"%#20p|%#018p", REC->p, REC->p', {"unsigned long p": 10}, f"{'0xa':>20}|0x{10:016x}"),
    ('"%*s", REC->n, REC->s', {"int n": -6, "char s[8]": b"abcd"}, "abcd  "),
    ('"%s", REC->s', {"char s[4]": b"abcd"}, "abcd"),
    ('"%s", REC->s', {"char s[6]": b"a\0bcd"}, "a"),
    ('"%s", REC->s', {"char s[4]": b"\xff\xfea"}, "\udcff\udcfea"),
    ('"%.1s|%3s|", REC->s, REC->s', {"char s[4]": "é".encode()}, "\udcc3| é|"),
    ('"%5s|%-5s|%.1s", "abc", "abc", "abc"', {}, "  abc|abc  |a"),
]  # fmt: skip


@pytest.mark.parametrize("abi", ALL, ids=str)
@pytest.mark.parametrize(("print_fmt", "fields", "expected"), INTEGERS + STRINGS)
def test_conversion(print_fmt: str, fields: dict[str, Any], expected: str, abi: Abi) -> None:
    assert render(print_fmt, fields, abi=abi) == expected


LENGTHS = {"hh": ctypes.c_byte, "h": ctypes.c_short, "": ctypes.c_int, "l": ctypes.c_long, "ll": ctypes.c_longlong}


def test_pointers_have_all_their_digits() -> None:
    fields = {"unsigned long p": 10}
    assert render('"%p|%#p", REC->p, REC->p', fields) == f"{10:016x}|0x{10:014x}"
    assert render('"%p|%#p", REC->p, REC->p', fields, abi=LE32) == f"{10:08x}|0x{10:06x}"


@settings(max_examples=150, deadline=None)
@given(
    flags=st.sets(st.sampled_from("-+ 0")),
    width=st.one_of(st.just(""), st.integers(1, 24).map(str)),
    precision=st.one_of(st.just(""), st.integers(0, 12).map(lambda p: f".{p}")),
    length=st.sampled_from(["", "hh", "h", "l", "ll"]),
    letter=st.sampled_from("diuxX"),
    value=st.integers(-(2**63), 2**63 - 1),
)
def test_integers_agree_with_the_c_library(
    flags: set[str], width: str, precision: str, length: str, letter: str, value: int
) -> None:
    # The kernel pads with zeros beside a precision, and prints the digit of a zero whose precision is 0.
    if precision:
        flags = flags - {"0"}
    if precision == ".0":
        precision = ".1"
    if letter in "uxX":
        flags = flags - {"+", " "}
    spec = f"%{''.join(sorted(flags))}{width}{precision}{length}{letter}"
    buffer = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).snprintf(buffer, 64, spec.encode(), ctypes.c_longlong(value))
    assert render(f'"{spec}", REC->a', {"s64 a": value}) == buffer.value.decode()


class Names:
    """Symbols whose spelling shows which conversion asked for them."""

    class Memo(dict[int, str]):
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __missing__(self, addr: int) -> str:
            return f"{self.kind}:{addr:x}"

    pS, ps, pB, func = Memo("S"), Memo("s"), Memo("B"), Memo("f")


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_raw_pointers(abi: Abi) -> None:
    fields = {"void * p": 0x1234}
    digits = 2 * abi.long_size
    for conversion in ("%p", "%px", "%pK", "%pd", "%pD", "%pV", "%pR"):
        assert render(f'"{conversion}|", REC->p', fields, abi=abi) == f"{0x1234:0{digits}x}|"
    assert render('"%p", NULL', {}, abi=abi) == "0" * digits
    assert render('"%.20px|%3.5p|", REC->p, REC->p', fields, abi=abi) == f"{0x1234:020x}|01234|"
    assert render('"%20p|%-20p|%5p|", REC->p, REC->p, REC->p', fields, abi=abi) == f"{'1234':>20}|{'1234':<20}| 1234|"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_symbols(abi: Abi) -> None:
    fields = {"void * p": 0x1234}
    text = '"%pS %ps %pB %pF %pf %pSR", REC->p, REC->p, REC->p, REC->p, REC->p, REC->p'
    assert render(text, fields, abi=abi, symbols=Names()) == "S:1234 s:1234 B:1234 S:1234 s:1234 S:1234"
    assert (
        render('"%12pS|%-12ps|", REC->p, (void *)1', fields, abi=abi, symbols=Names()) == "      S:1234|s:1         |"
    )
    text = '"%.3pS|%5.1ps|%.*pB|", REC->p, REC->p, 2, REC->p'
    assert render(text, fields, abi=abi, symbols=Names()) == "S:1|    s|B:|"
    assert render('"%pS"  , (void *)REC->p', {"unsigned long p": 0}, abi=abi) == "0x0"


V6 = bytes.fromhex("20010db8000000000000000000001234")
MAPPED = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))
BYTES: list[tuple[str, bytes, str]] = [
    ("%pM", bytes(range(1, 7)), "01:02:03:04:05:06"),
    ("%pMF", bytes(range(1, 7)), "01-02-03-04-05-06"),
    ("%pMR", bytes(range(1, 7)), "06:05:04:03:02:01"),
    ("%pm", bytes(range(1, 7)), "010203040506"),
    ("%pI4", bytes((10, 0, 200, 1)), "10.0.200.1"),
    ("%pi4", bytes((10, 0, 200, 1)), "010.000.200.001"),
    ("%pI6", V6, "2001:0db8:0000:0000:0000:0000:0000:1234"),
    ("%pi6", V6, "20010db8000000000000000000001234"),
    ("%pI6c", V6, "2001:db8::1234"),
    ("%pI6c", bytes(16), "::"),
    ("%pI6c", bytes(15) + b"\1", "::1"),
    ("%pI6c", b"\0\1" + bytes(14), "1::"),
    ("%pI6c", MAPPED, "::ffff:10.0.0.1"),
    ("%pI6c", bytes.fromhex("fe800000000000000000 5efe c0a80001".replace(" ", "")), "fe80::5efe:192.168.0.1"),
    ("%pI6c", bytes.fromhex("00010000000200030004000500060007"), "1:0:2:3:4:5:6:7"),
    ("%pI6c", bytes.fromhex("00010000000000020000000000030004"), "1::2:0:0:3:4"),
    ("%pUb", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ("%pUB", bytes(range(0xA0, 0xB0)), "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF"),
    ("%pUl", bytes(range(16)), "03020100-0504-0706-0809-0a0b0c0d0e0f"),
    ("%pU", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ("%.4pM", bytes(range(1, 7)), "01:0"),
    ("%20.11pI4", bytes((10, 0, 200, 1)), "          10.0.200.1"),
    ("%4ph", b"\x01\xab\x02\x03\x04", "01 ab 02 03"),
    ("%5pE", b'a\n"\x00\x81', 'a\\n"\\0\\201'),
    ("%5pEa", b'a\n"\x00\x81', '\\141\\n\\"\\0\\201'),
    ("%6pEhp", b'a\n"\x00\x81\xe9', 'a\\x0a"\\x00\\x81\udce9'),
    ("%5pEs", b"a\n\t\x1b\v", "a\\n\\t\x1b\\v"),
    ("%4pEc", b'a\\\a"', 'a\\\\\\a\\"'),
    ("%2pEn", b"\x00a", "\\0a"),
    ("%2pEo", b"\x00a", "\\000\\141"),
    ("%pE", b"\x00a", "\\0"),
    ("%3phC", b"\x01\xab\x02", "01:ab:02"),
    ("%3phD", b"\x01\xab\x02", "01-ab-02"),
    ("%3phN", b"\x01\xab\x02", "01ab02"),
]


@pytest.mark.parametrize("abi", ALL, ids=str)
@pytest.mark.parametrize(("conversion", "raw", "expected"), BYTES)
def test_bytes_of_the_record(conversion: str, raw: bytes, expected: str, abi: Abi) -> None:
    assert render(f'"<{conversion}>", REC->b', {f"u8 b[{len(raw)}]": raw}, abi=abi) == f"<{expected}>"
    fields = {"__data_loc u8[] b": raw}
    assert render(f'"<{conversion}>", __get_dynamic_array(b)', fields, abi=abi) == f"<{expected}>"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_socket_addresses(abi: Abi) -> None:
    v4, v6 = sockaddr_in(bytes((10, 0, 0, 1)), 8080, abi), sockaddr_in6(V6, 443, 7, 3, abi)
    for conversion, raw, expected in (
        ("%pISpc", v4, "10.0.0.1:8080"),
        ("%pIS", v4, "10.0.0.1"),
        ("%piS", v4, "010.000.000.001"),
        ("%pISpc", v6, "[2001:db8::1234]:443"),
        ("%pISc", v6, "2001:db8::1234"),
        ("%pIS", v6, "2001:0db8:0000:0000:0000:0000:0000:1234"),
        ("%pISpfsc", v6, "[2001:db8::1234]:443/7%3"),
        ("%piSpc", v6, "[20010db8000000000000000000001234]:443"),
        ("%pISpc", bytes(28), "(einval)"),
        ("%pISpc", b"\2", "(einval)"),
    ):
        fields = {"__data_loc __u8[] addr": raw}
        assert render(f'"{conversion}", __get_sockaddr(addr)', fields, abi=abi) == expected
        assert render(f'"{conversion}", (struct sockaddr *)__get_dynamic_array(addr)', fields, abi=abi) == expected


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_four_character_codes(abi: Abi) -> None:
    fields = {"u32 f": 0x34325241, "u32 g": 0xB4325200}
    assert render('"%p4cc|%p4cc", &REC->f, &REC->g', fields, abi=abi) == (
        "AR24 little-endian (0x34325241)|.R24 big-endian (0xb4325200)"
    )
    assert render('"%p4ch|%p4chR", &REC->f, &REC->f', fields, abi=abi) == "42RA (0x34325241)|AR24 (0x41523234)"
    little, big = "42RA (0x34325241)", "AR24 (0x41523234)"
    if abi.byteorder == "big":
        little, big = big, little
    assert render('"%p4cl|%p4cb", &REC->f, &REC->f', fields, abi=abi) == f"{little}|{big}"
    assert render('"%20p4ch|", &REC->f', fields, abi=abi) == "   42RA (0x34325241)|"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_bitmaps(abi: Abi) -> None:
    bits = {0, 1, 2, 33, 63}
    longs = [sum(1 << (b - base) for b in bits if base <= b < base + 8 * abi.long_size)
             for base in range(0, 64, 8 * abi.long_size)]  # fmt: skip
    raw = b"".join(v.to_bytes(abi.long_size, abi.byteorder) for v in longs)
    fields = {"u8 m[8]": raw, "int n": 64}
    assert render('"%64pb", REC->m', fields, abi=abi) == "80000002,00000007"
    assert render('"%34pb", REC->m', fields, abi=abi) == "2,00000007"
    assert render('"%*pbl", REC->n, REC->m', fields, abi=abi) == "0-2,33,63"
    assert render('"%*pbl", (1 << 6), REC->m', fields, abi=abi) == "0-2,33,63"
    assert render('"%*pbl|", 0, REC->m', fields, abi=abi) == "|"
    negative = {**fields, "int n": -34}
    text = '"%*pbl %*pb %*pbl %*phN", REC->n, REC->m, REC->n, REC->m, -34, REC->m, REC->n + 32, REC->m'
    assert render(text, negative, abi=abi) == f"0-2,33 2,00000007 0-2,33 {raw[:2].hex()}"
    assert render('"%*phN|%*phN|", -3, REC->m, 0, REC->m', fields, abi=abi) == f"{raw[:3].hex()}||"


def test_errors_and_times() -> None:
    assert render('"%.2pe", REC->p', {"void * p": 5}) == "0000000000000005"
    assert render('"%pe %pe", REC->p, (void *)5', {"void * p": -12}) == "-ENOMEM 0000000000000005"
    assert render('"%pe", REC->p', {"void * p": -12}, abi=BE32) == "-ENOMEM"
    assert render('"%pe", REC->p', {"void * p": -1000}) == "-1000"
    fields = {"s64 t": 1_700_000_000, "s64 n": 5}
    assert render('"%ptT|%ptTd|%ptTt|%ptTs", &REC->t, &REC->t, &REC->t, &REC->t', fields) == (
        "2023-11-14T22:13:20|2023-11-14|22:13:20|2023-11-14 22:13:20"
    )
    tm = {"int tm[9]": [20, 13, 22, 14, 10, 123, 0, 0, 0]}
    assert render('"%ptR %ptRr", REC->tm, REC->tm', tm) == "2023-11-14T22:13:20 0123-10-14T22:13:20"
    odd = {"int tm[9]": [-5, 100, 20, 11, -1, -1901, 0, 0, 0]}
    assert render('"%ptR", REC->tm', odd) == "18446744073709551615-00-11T20:100:18446744073709551611"
    assert render('"%ptSp", REC->ts', {"s64 ts[2]": [-1, 5]}) == "18446744073709551615.000000005"
    spec = {"s64 ts[2]": [1_700_000_000, 12_345]}
    assert render('"%ptS|%ptSt|%ptSds|%ptSp", REC->ts, REC->ts, REC->ts, REC->ts', spec) == (
        "2023-11-14T22:13:20.000012345|22:13:20.000012345|2023-11-14.000012345|1700000000.000012345"
    )
    assert (
        render('"%30ptTt|%-30ptTd|%30pad", &REC->t, &REC->t, &REC->n', fields)
        == "22:13:20|2023-11-14|0x0000000000000005"
    )
    assert render('"%pad %pa", &REC->t, &REC->n', fields) == "0x000000006553f100 0x0000000000000005"
    assert render('"%pad", &REC->t', {"u32 t": 16}, abi=LE32) == "0x00000010"


def test_the_width_of_an_escaped_text_is_its_size() -> None:
    fields = {"u8 b[4]": b"a\0b\0", "int n": -3, "__data_loc char[] d": b"x\ty"}
    text = '"%*pE|%*pEn|%*pE", REC->n, REC->b, 2, REC->b, __get_dynamic_array_len(d), __get_dynamic_array(d)'
    assert render(text, fields) == r"a\0b|a\0|x\ty"


def test_unprintable_characters_pass_as_bytes() -> None:
    assert render('"%c", REC->a', {"u8 a": 0xE9}) == "\udce9"


def test_a_width_from_a_record_is_bounded() -> None:
    event = Event('"%*d%.*d", REC->w, 1, REC->w, 1', {"int w": 0})
    assert (
        len(
            event.render(
                [{"int w": 2**31 - 1}],
            )[0]
        )
        < 10_000
    )
    assert len(render('"%*s", REC->w, "a"', {"int w": -(2**31)}, abi=LE64)) <= 1 << 15
