# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fnmatch
import struct
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import UsageError
from rbdump.events.comms import TaskNames
from rbdump.events.cpulist import parse_cpulist
from rbdump.events.filter import FilterContext, parse_filter
from rbdump.events.format import parse_format
from rbdump.events.glob import Glob
from tests.events.records import LE64, Rec, format_text, pack

EVENT = 400
FORMAT = parse_format(
    format_text(
        "thing",
        EVENT,
        ("char who[16]", 8, 16, 0),
        ("int number", 24, 4, 1),
        ("u8 small", 28, 1, 0),
        ("u16 port", 30, 2, 0),
        ("u64 wide", 32, 8, 0),
        ("unsigned long call_site", 40, 8, 0),
        ("const char * label", 48, 8, 0),
        ("__data_loc char[] text", 56, 4, 0),
        ("__rel_loc char[] rtext", 60, 4, 0),
        ("__data_loc cpumask_t cpus", 64, 4, 0),
        ("u8 mac[6]", 68, 6, 0),
    ),
    "sys",
)


def thing(
    who: bytes = b"sh",
    number: int = 0,
    *,
    small: int = 0,
    port: int = 0,
    wide: int = 0,
    site: int = 0,
    label: int = 0,
    text: bytes = b"text\0",
    cpus: int = 0,
    pid: int = 1,
    cpu: int = 0,
    flags: int = 0,
    abi: Abi = LE64,
) -> Rec:
    e = abi.endian
    mask = struct.pack(f"{e}Q", cpus)
    dynamic_at = 76
    body = struct.pack(f"{e}16siBxHQQQ", who, number, small, port, wide, site, label)
    body += struct.pack(f"{e}I", len(text) << 16 | dynamic_at)
    body += struct.pack(f"{e}I", len(text) << 16 | (dynamic_at - 64))
    body += struct.pack(f"{e}I", len(mask) << 16 | (dynamic_at + len(text)))
    body += bytes(8) + text + mask
    return Rec(EVENT, pid, body, cpu=cpu, flags=flags)


RECORDS = [
    thing(
        b"sh",
        -1,
        small=255,
        port=80,
        wide=1 << 63,
        site=0x1010,
        label=0x100,
        text=b"alpha\0",
        cpus=0b1001,
        pid=5,
        cpu=0,
    ),
    thing(b"bash", 42, small=1, port=443, wide=42, site=0x1020, label=0x200, text=b"beta\0", cpus=0b0100, pid=6, cpu=1),
    thing(b"kworker/0:1\0\0\0\0\0", 7, small=2, port=0xFFFF, site=0x2000, text=b"\0", cpus=0, pid=7, cpu=2, flags=8),
]
STRINGS = {0x100: "first", 0x200: "second"}
FUNCTIONS = {"do_it": (0x1000, 0x1020), "0x1025": (0x1020, 0x1030)}


def matching(text: str, records: list[Rec] = RECORDS, abi: Abi = LE64) -> list[int]:
    entries, memory = pack(records, abi)
    comm = TaskNames(("init", "sshd"), np.arange(len(records), dtype=np.int32) % 2)
    context = FilterContext(entries.records.cpu, comm, STRINGS.get, FUNCTIONS.get)
    parsed = parse_filter(text)
    assert parsed.problems(FORMAT) == []
    return np.flatnonzero(parsed.mask(FORMAT, entries.rows(memory), context)).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("number == 42", [1]),
        ("number != 42", [0, 2]),
        ("number < 7", [0]),
        ("number <= 7", [0, 2]),
        ("number > 7", [1]),
        ("number >= 7", [1, 2]),
        ("number == -1", [0]),
        ("number==0x2a", [1]),
        ("number == 052", [1]),
        ("number == 0x00000000000000000002a", [1]),
        ("number == 00000000000000000000007", [2]),
        ("number & 2", [0, 1, 2]),
        ("number & 0x8", [0, 1]),
        ("number == 0xffffffff", [0]),  # cast to the 4 bytes of the field, as the kernel does
        ("small == 255", [0]),
        ("small > 128", [0]),
        ("port >= 443", [1, 2]),
        ("wide == 0x8000000000000000", [0]),
        ("wide > 41", [0, 1]),
        ("common_pid == 6", [1]),
        ("common_flags & 8", [2]),
        ("common_type == 400", [0, 1, 2]),
    ],
)
def test_numbers(text: str, rows: list[int]) -> None:
    assert matching(text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('who == "sh"', [0]),
        ("who == 'bash'", [1]),
        ("who == sh", [0]),
        ('who != "sh"', [1, 2]),
        ('who ~ "*sh"', [0, 1]),
        ('who ~ "sh*"', [0]),
        ('who ~ "*wor*"', [2]),
        ('who ~ "?h"', [0]),
        ('who ~ "[a-c]*"', [1]),
        ('who ~ "[!a-c]*"', [0, 2]),
        ('who ~ "!*sh"', [2]),
        ('who ~ "sh"', [0]),
        ("who ~ kworker*", [2]),
        ('text == "alpha"', [0]),
        ('text ~ "*a"', [0, 1]),
        ('text == ""', [2]),
        ('rtext == "beta"', [1]),
        ('label == "first"', [0]),
        ('label ~ "s*"', [1]),
        ('label != "first"', [1]),  # a pointer whose string is not known never matches
        ('COMM == "init"', [0, 2]),
        ('comm ~ "ssh*"', [1]),
    ],
)
def test_strings(text: str, rows: list[int]) -> None:
    assert matching(text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("CPU == 1", [1]),
        ("cpu != 1", [0, 2]),
        ("common_cpu >= 1", [1, 2]),
        ("CPU & CPUS{0,2-3}", [0, 2]),
        ("CPU == CPUS{1}", [1]),
        ("CPU == CPUS{1,2}", []),
        ("CPU != CPUS{1,2}", [0, 1, 2]),
        ("cpus & CPUS{3}", [0]),
        ("cpus == CPUS{,0, 3,}", [0]),
        ("cpus == CPUS{ 0 3 }", [0]),
        ("cpus == CPUS{0,3}", [0]),
        ("cpus == CPUS{2}", [1]),
        ("cpus != CPUS{2}", [0, 2]),
        ("small & CPUS{1-9}", [1, 2]),
        ("small == CPUS{2}", [2]),
        ("small != CPUS{2}", [0, 1]),
    ],
)
def test_cpus(text: str, rows: list[int]) -> None:
    assert matching(text) == rows


def test_functions() -> None:
    assert matching("call_site.function == do_it") == [0]
    assert matching("call_site.function != do_it") == [1, 2]
    assert matching("(call_site.function == 0x1025)") == [1]
    with pytest.raises(UsageError, match="no function missing is known"):
        matching("call_site.function == missing")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('number == 42 || who == "sh"', [0, 1]),
        ('number != 42 && who != "sh"', [2]),
        ("!number == 42", [0, 2]),
        ("!(number == 42 || number == 7)", [0]),
        ("!!number == 42", [1]),
        ("number==42||number==7&&small==9", [1]),  # && binds stronger
        ("(number==42||number==7)&&small==2", [2]),
        ('( (number == 42)||( who=="sh" )) ', [0, 1]),
        ('who == "sh"&&number<0', [0]),
        ("who == sh&&number<0", [0]),
    ],
)
def test_logic(text: str, rows: list[int]) -> None:
    assert matching(text) == rows


@pytest.mark.parametrize(
    ("text", "words", "position"),
    [
        ("", "empty", None),
        ("   ", "empty", None),
        ("number", "one of == != ", 7),
        ("number = 42", "one of == != ", 8),
        ("number && small == 1", "one of == != ", 8),
        ("number == ", "a number or a string is expected", 11),
        ("== 5", "the name of a field is expected", 1),
        ("number == 1 number == 2", "`&&`, `||` or the end", 13),
        ("number == 1 & small == 2", "`&&`, `||` or the end", 13),
        ("number == 1 &&", "the name of a field is expected", 15),
        ("(number == 1", r"this `\(` has no `\)`", 1),
        ("number == 1)", r"this `\)` has no `\(`", 12),
        ('who == "sh', "this quote has no end", 8),
        ('who > "sh"', "compared by ==, != and ~ only", 5),
        ("CPU == CPUS", r"`\{` is expected", 12),
        ("CPU == CPUS{1", r"this `\{` has no `\}`", 12),
        ("CPU == CPUS{}", "no list of CPUs", 13),
        ("CPU == CPUS{x}", "no list of CPUs", 13),
        ("CPU < CPUS{1}", "compared by ==, != and & only", 5),
        ("number ~ 42", "takes a string", 8),
        ("a.function < b", "a function is compared by", 12),
        ("(" * 100 + "a == 1" + ")" * 100, "levels", None),
        ("!" * 5000 + "a == 1", "levels", None),
        ("a == 1 || " * 10000 + "a == 1", "more than 65536", None),
    ],
)
def test_syntax_errors_say_where(text: str, words: str, position: int | None) -> None:
    with pytest.raises(UsageError, match=words) as error:
        parse_filter(text)
    if position is not None:
        assert str(error.value).endswith(f"at character {position}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing == 1", "it has no field nothing"),
        ("who == 1 && nothing == 1", "it has no field nothing"),
        ("who > 1", "who is a string"),
        ('number == "x"', "number is a number"),
        ("number == x", "number is a number"),
        ("number == 09", "number is a number"),
        ("small == -1", "small is never negative"),
        ("small == -0", "small is never negative"),
        ("number == 000000000000000000000007", "number is a number"),
        ("mac == 1", "mac is an array"),
        ("cpus == 1", "cpus is a set of CPUs"),
        ("who & CPUS{1}", "who is a string"),
        ("label.ustring == x", "memory of a process"),
        ("stacktrace == 1", "stack trace"),
        ("small.function == x", "too small"),
        ("CPU == x", "CPU is compared with a number, or"),
        ("CPU & 1", "CPU is compared with a number, or"),
        ("call_site == vfs_read", "call_site is a number (call_site.function takes a function)"),
        ("number == 9223372036854775808", "number takes a number of up to 64 bits"),
    ],
)
def test_an_event_that_does_not_suit_matches_nothing(text: str, words: str) -> None:
    parsed = parse_filter(text)
    assert any(words in problem for problem in parsed.problems(FORMAT))
    entries, memory = pack(RECORDS)
    context = FilterContext(entries.records.cpu, TaskNames(("x",), np.zeros(3, np.int32)))
    assert not parsed.mask(FORMAT, entries.rows(memory), context).any()


def test_fields_named() -> None:
    assert parse_filter('a == 1 && !(b ~ "x" || a == 2)').fields() == ["a", "b"]


def test_an_own_field_comes_before_the_generic_one() -> None:
    fmt = parse_format(format_text("own", EVENT, ("int cpu", 8, 4, 1), ("char comm[16]", 12, 16, 0)))
    entries, memory = pack([Rec(EVENT, 1, struct.pack("<i16s", 9, b"mine"), cpu=3)])
    context = FilterContext(entries.records.cpu, TaskNames(("task",), np.zeros(1, np.int32)))
    for text in ("cpu == 9 && comm == mine", "CPU == 3 && COMM == task", "common_cpu == 3 && common_comm == task"):
        assert parse_filter(text).mask(fmt, entries.rows(memory), context).tolist() == [True]


def test_the_generic_fields_of_events_that_have_none_of_their_own() -> None:
    for text in ("cpu == 3", "CPU == 3", "common_cpu == 3", "comm == task", "COMM == task", "common_comm == task"):
        fmt = parse_format(format_text("other", EVENT, ("int value", 8, 4, 1)))
        entries, memory = pack([Rec(EVENT, 1, bytes(4), cpu=3), Rec(EVENT, 2, bytes(4), cpu=4)])
        context = FilterContext(entries.records.cpu, TaskNames(("task", "other"), np.array([0, 1], np.int32)))
        assert parse_filter(text).mask(fmt, entries.rows(memory), context).tolist() == [True, False]


def test_records_too_short_or_lying_about_lengths_do_not_match() -> None:
    cut = Rec(EVENT, 1, b"sh".ljust(16, b"\0") + struct.pack("<i", 42))
    liar = thing(b"sh", 42)
    liar = Rec(EVENT, 1, liar.body[:48] + struct.pack("<I", 500 << 16 | 76) + liar.body[52:])
    both = [cut, liar, thing(b"sh", 42)]
    assert matching("number == 42", both) == [0, 1, 2]
    assert matching("small == 0", both) == [1, 2]
    assert matching('text == "text"', both) == [2]
    assert matching('text != "text"', both) == []


@pytest.mark.parametrize("order", ["little", "big"])
def test_byte_orders(order: Literal["little", "big"]) -> None:
    abi = Abi(order, 8)
    records = [thing(b"sh", 42, port=443, cpus=0b100, text=b"beta\0", abi=abi)]
    assert matching('number == 42 && port == 443 && cpus == CPUS{2} && rtext == "beta"', records, abi) == [0]


def test_cpulist() -> None:
    assert parse_cpulist("0-3,5") == {0, 1, 2, 3, 5}
    assert parse_cpulist("8-15:2/4") == {8, 9, 12, 13}
    for text in ("", "a", "3-1", "1,,2", "-1", "0-9999999", "1-5:3/2", "1-5:0/2"):
        with pytest.raises(UsageError, match="no list of CPUs"):
            parse_cpulist(text)
    for text in ("70000", "0-99999999999"):
        with pytest.raises(UsageError, match="no CPU has a number above 65535"):
            parse_cpulist(text)


@settings(max_examples=300)
@given(st.text("ab*?[]!-\\", max_size=8), st.text("ab]-\\", max_size=8))
def test_globs_terminate(pattern: str, text: str) -> None:
    assert Glob(pattern.encode()).matches(text.encode()) in (True, False)


@settings(max_examples=300)
@given(st.text("abc*?", max_size=8), st.text("abc", max_size=8))
def test_globs_agree_with_fnmatch(pattern: str, text: str) -> None:
    assert Glob(pattern.encode()).matches(text.encode()) == fnmatch.fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "hit"),
    [
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[]x]", "]", True),
        ("[a-]", "-", True),
        ("[ab", "[ab", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("", "", True),
        ("**a", "xa", True),
        ("*a*a*a*a*a*a*a*a*b", "a" * 5000, False),
    ],
)
def test_globs(pattern: str, text: str, hit: bool) -> None:
    assert Glob(pattern.encode()).matches(text.encode()) is hit


@settings(max_examples=200, deadline=None)
@given(st.text("ab=!&|~<>()'\"{}0x1 CPUS.function", max_size=30))
def test_any_text_parses_or_is_a_usage_error(text: str) -> None:
    try:
        parsed = parse_filter(text)
    except UsageError as error:
        assert str(error)  # noqa: PT017 - most texts are no filter
        return
    assert parsed.fields()


@pytest.mark.parametrize("operator", ["||", "&&"])
def test_a_long_chain_is_no_depth(operator: str) -> None:
    parsed = parse_filter(operator.join(["number == 1"] * 3000))
    assert parsed.fields() == ["number"]
    assert matching(operator.join(["number == -1"] * 3000)) == matching("number == -1")
