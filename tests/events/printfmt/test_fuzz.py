# SPDX-License-Identifier: Apache-2.0
"""Print fmts on damaged records: every event of real kernels on random bytes, and conversions on the wildest values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.events.printfmt import UnsupportedPrintFmt, compile_print_fmt
from rbdump.events.rows import Memory, Rows
from rbdump.events.tracefs import load_tracefs
from rbdump.events.variables import PAGE_BASE
from rbdump.symbols.symbolizer import Symbolizer
from tests.events.printfmt.rendering import BE32, LE64, Event, render

SAMPLES = Path(__file__).parents[3] / "samples"
KERNELS = ["6.12.43-dynamic", "7.3.4-dynamic", "armhf-6.12.107-sched", "s390x-6.12.107-sched"]
WORDS = [bytes(8), b"\xff" * 8, bytes(7) + b"\x80", b"\0\0\0\x80" * 2, b"\x80" + bytes(7), b"\x7f\xff\xff\xff" * 2,
         b"\xff\xff\xff\x7f" * 2, b"\x01" + bytes(7), bytes(7) + b"\x01", b"text\xff\xfe%s", b"\x20\0" * 4]  # fmt: skip


def formats(kernel: str) -> Iterator[EventFormat]:
    """The formats of a kernel that none before it had."""
    known = set()
    for name in KERNELS[: KERNELS.index(kernel) + 1]:
        texts = load_tracefs(str(SAMPLES / name / "tracefs.tar.xz")).formats
        for event_id in texts:
            fmt = texts[event_id]
            key = (fmt.system, fmt.name, fmt.print_fmt)
            if key not in known:
                known.add(key)
                if name == kernel:
                    yield fmt


def damaged(fmt: EventFormat, abi: Abi, random: np.random.Generator) -> Rows:
    """Records of random bytes and extreme words, some cut short, some with dynamic arrays that lie inside them."""
    fixed = max(field.offset + field.size for field in (*fmt.common_fields, *fmt.fields))
    records = []
    for number in range(12):
        size = int(random.integers(fixed + 1)) if number % 6 == 5 else fixed + int(random.integers(100))
        words = [WORDS[choice] for choice in random.integers(len(WORDS), size=size // 8 + 1)]
        raw = bytearray(random.bytes(size) if number % 4 == 0 else b"".join(words)[:size])
        if number % 2 and size > fixed:
            for field in fmt.fields:
                if field.is_data_loc or field.is_rel_loc:
                    begin = int(random.integers(fixed, size))
                    word = int(random.integers(size - begin + 1)) << 16 | begin
                    word -= field.offset + 4 if field.is_rel_loc else 0
                    raw[field.offset : field.offset + 4] = word.to_bytes(4, abi.byteorder)
        records.append(bytes(raw))
    length = np.array([len(record) for record in records], np.int32)
    data = np.frombuffer(b"".join(records), np.uint8)
    return Rows(Memory(data, abi), np.cumsum(length) - length, length)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_record_of_a_real_event_raises(kernel: str) -> None:
    random = np.random.default_rng(20)
    long_size = 4 if kernel.startswith("armhf") else 8
    rendered = 0
    for number, fmt in enumerate(formats(kernel)):
        abi = Abi("big" if number % 2 else "little", long_size)
        known = {PAGE_BASE: 0xFFEA0000, "HZ": 250} if number % 3 else {}
        facts = Facts(abi, Symbolizer(None, abi), string_at=lambda addr: "x" * (addr % 7), variables=known)
        try:
            compiled = compile_print_fmt(fmt, facts)
        except UnsupportedPrintFmt:
            continue
        rendered += 1
        rows = damaged(fmt, abi, random)
        lines = compiled(rows)
        assert len(lines) == len(rows)
        for line, length in zip(lines, rows.length.tolist(), strict=True):
            assert line.startswith(f"{fmt.name}: ")
            assert line.endswith("\n")
            assert len(line) <= 2 * len(fmt.print_fmt) + 64 * (length + 8), fmt.name
        if number % 32 == 0:  # the same lines when repeating parts are remembered
            whole = rows.select(np.tile(np.flatnonzero(rows.length >= rows.length[0]), 600))
            again = compile_print_fmt(fmt, facts)
            assert again(whole) == again(whole) == compiled(whole), fmt.name
    assert rendered > 40


EXTREMES = (0, 1, -1, 31, 32, 63, 64, 4097, 1 << 20, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
FIELDS = {
    "int i": 0, "unsigned int u": 0, "s64 l": 0, "u64 q": 0, "s8 c": 0, "unsigned long p": 0,
    "char s[8]": b"ab\xffcdefg", "u8 b[4]": b"\1\2\3\4", "__data_loc char[] d": b"dynamic\xc3\xa4\0",
    "__data_loc u8[] a": bytes(range(1, 9)),
}  # fmt: skip
WILD = [
    '"%*d", REC->i, REC->u', '"%.*d", REC->i, REC->u', '"%*.*d", REC->i, REC->u, REC->c', '"%*s", REC->i, REC->s',
    '"%.*s", REC->i, REC->s', '"%*.*s", REC->i, REC->u, __get_str(d)', '"%-*s|", REC->i, "x"', '"%*c", REC->i, REC->l',
    '"%0*llx", REC->i, REC->q', '"%*ph", REC->i, __get_dynamic_array(a)', '"%*phC", REC->i, REC->b',
    '"%*pb", REC->i, __get_dynamic_array(a)', '"%*pbl", REC->i, REC->b', '"%*p", REC->i, REC->p',
    '"%*pS", REC->i, REC->p', '"%*pI4", REC->i, REC->b', '"%.*s", REC->u, (char *)REC->p',
    '"%d", REC->i / REC->c', '"%lld", REC->l / REC->l', '"%lld", REC->l % REC->l', '"%lld", REC->l / -1',
    '"%lld", REC->l % -1', '"%d", REC->i % REC->u', '"%d", REC->i / -1', '"%llu", REC->q / 0', '"%llu", REC->q % 0',
    '"%d", 5 / 0', '"%d", (-2147483647 - 1) / -1', '"%lld", (-9223372036854775807LL - 1) % -1',
    '"%lld", REC->l << REC->i', '"%llx", REC->q >> REC->u', '"%d", 1 << REC->i', '"%d", 1 << 99999999999',
    '"%lld", -REC->l', '"%lld", ~REC->l * REC->l', '"%d", (REC->i == 0) / (REC->u == 0)',
    '"%d", REC->b[REC->i]', '"%d", ((u8 *)REC->b)[REC->l]', '"%d", *((u32 *)__get_dynamic_array(a) + REC->i)',
    '"%c", "abc"[REC->i]', '"%s", REC->s + REC->i', '"%s", __get_str(d) + REC->i', '"%s", __print_hex(REC->b, REC->i)',
    '"%s", __print_array(__get_dynamic_array(a), REC->i, 4)', '"%s", __print_array(REC->b, REC->u, 0)',
    '"%s", __print_hex_dump("x", 2, 99999999999, 77777, __get_dynamic_array(a), REC->i, 1)',
    '"%s", __print_hex_str(__get_dynamic_array(a), REC->u)', '"%s", __print_symbolic(REC->l, { -1, "a" }, { 1, "b" })',
    '"%s", __print_flags(REC->q, "|", { 1, "a" }, { 0x8000000000000000ULL, "z" })', '"%pe", (void *)REC->l',
    '"%ptTs", &REC->l', '"%999999999d", REC->i', '"%.999999999d", REC->i', '"%0999999999p", REC->p',
    '"%999999999s", REC->s', '"%*pb", 99999999, __get_dynamic_array(a)', '"%ho %hhx %#o", REC->i, REC->l, REC->i',
]  # fmt: skip


@pytest.mark.parametrize("print_fmt", WILD)
@pytest.mark.parametrize("abi", [LE64, BE32], ids=str)
def test_no_value_raises_or_prints_without_end(print_fmt: str, abi: Abi) -> None:
    records = [
        FIELDS | {"int i": a, "unsigned int u": b, "s64 l": b, "u64 q": a, "s8 c": a, "unsigned long p": b}
        for a, b in product(EXTREMES, EXTREMES)
    ]
    once = Event(print_fmt, FIELDS, abi=abi).render(records)
    assert max(map(len, once)) <= 4096 + 16
    assert Event(print_fmt, FIELDS, abi=abi).render(records * 3) == once * 3


def repeated(count: int) -> Iterator[str]:
    """Short texts of expressions that double with every step."""
    sums = " ".join(f"int a{k + 1} = a{k} + a{k};" for k in range(count))
    yield f"({{ int a0 = REC->i; {sums} a{count}; }})"
    yield f"({{ int a0 = REC->i; {sums} a{count}; }}) + vmemmap"
    yield f"({{ int a0 = REC->i; {sums} vmemmap + a{count}; }})"
    yield "min(" * count + "REC->i" + ", 3)" * count
    yield f"({{ int a = REC->i; {' '.join(f'if (a > {k}) a = a + {k}; else a = a - {k};' for k in range(count))} a; }})"
    yield f"({{ int a = 1; switch (REC->i) {{ {' '.join(f'case {k}: a = a + a;' for k in range(count))} }} a; }})"
    inner = "REC->i"
    for level in range(count):
        inner = f"({{ int b{level} = {inner}; b{level} + b{level}; }})"
    yield inner


@pytest.mark.parametrize("expression", list(repeated(40)), ids=range(7))
def test_an_expression_that_doubles_is_given_up(expression: str) -> None:
    with pytest.raises(UnsupportedPrintFmt, match=r"steps|nested"):
        render(f'"%d", {expression}', {"int i": 1}, variables={PAGE_BASE: 0})


@pytest.mark.parametrize(
    "expression",
    ["(" * 5000 + "1" + ")" * 5000, "!" * 9000 + "REC->i", "1 + " * 30000 + "1", "REC->i" + "[0]" * 5000,
     "REC->i ? " * 3000 + "1" + ": 2" * 3000, "({ " * 900 + "1;" + " })" * 900],
    ids=range(6),
)  # fmt: skip
def test_an_expression_nested_too_deeply(expression: str) -> None:
    with pytest.raises(UnsupportedPrintFmt, match="nested"):
        render(f'"%d", {expression}', {"int i": 1})


@pytest.mark.parametrize("text", ['"' + 'a", b" ' * 1000, '"%d' + '", "' * 1400])
def test_quotes_without_end_cost_little(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(UnsupportedPrintFmt):
        render(text, {"char s[4]": b"x"})
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("of", ["REC->s + 100", "REC->s + 8", "REC->s - 100", "REC->b[4]", "&REC->b[-50]"])
def test_memory_outside_of_the_record(of: str) -> None:
    with pytest.raises(UnsupportedPrintFmt, match="outside"):
        render(f'"{"%d" if "[4]" in of else "%s"}", {of}', {"char s[8]": b"abc", "u8 b[4]": b"abcd"})
