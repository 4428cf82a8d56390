# SPDX-License-Identifier: Apache-2.0
"""C expressions: operators, conversions and types, against a table and against a model of the C machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.events.printfmt import UnsupportedPrintFmt, compile_print_fmt
from rbdump.events.printfmt.ctype import TypeTable
from rbdump.events.printfmt.parser import parse_print_fmt
from rbdump.events.variables import PAGE_BASE, PAGE_SIZE
from tests.events.printfmt.rendering import ALL, BE64, LE32, LE64, Event, render

CASES: list[tuple[str, dict[str, Any], str]] = [
    ('"%d", 1 + 2 * 3', {}, "7"),
    ('"%d", (1 + 2) * 3', {}, "9"),
    ('"%d", 7 / -2', {}, "-3"),
    ('"%d", -7 % 3', {}, "-1"),
    ('"%d", REC->a / -2', {"int a": 7}, "-3"),
    ('"%d", REC->a % 3', {"int a": -7}, "-1"),
    ('"%d", REC->a / REC->b', {"int a": 7, "int b": 0}, "0"),
    ('"%d", 1 ? 2 : 0 ? 3 : 4', {}, "2"),
    ('"%lld", 1U ? REC->a : 0ULL', {"int a": -1}, "-1"),
    ('"%llo %llu", (u64)(5 - (1U ? REC->a : REC->b)), 0U ? REC->b : 0 ? 1U : REC->a', {"int a": 6, "u64 b": 0},
     "1777777777777777777777 6"),
    ('"%llu %lld", (1 ? REC->a : 1U) - 1LL, (1 ? REC->a : 1) - 1LL', {"int a": -1}, "4294967294 -2"),
    ('"%lld", (1 ? REC->a : unknown_function(REC->a)) - 1LL', {"int a": -1}, "-2"),
    ('"%d", REC->a ?: 5', {"int a": 0}, "5"),
    ('"%d", REC->a ?: 5', {"int a": 3}, "3"),
    ('"%d", (1, 2)', {}, "2"),
    ('"%d", !REC->a', {"int a": 0}, "1"),
    ('"%d", !!REC->a', {"u64 a": 1 << 40}, "1"),
    ('"%x", ~REC->a', {"u8 a": 0x0F}, "fffffff0"),
    ('"%d", -REC->a', {"u8 a": 1}, "-1"),
    ('"%u", -REC->a', {"u32 a": 1}, "4294967295"),
    ('"%d", REC->a < -1', {"u32 a": 5}, "1"),
    ('"%d", REC->a < -1', {"u16 a": 5}, "0"),
    ('"%d", REC->a > -1', {"s64 a": 5}, "1"),
    ('"%lld", REC->a + REC->b', {"int a": -1, "u64 b": 1}, "0"),
    ('"%lld", (s64)(REC->a + REC->b)', {"int a": -1, "u32 b": 0}, "4294967295"),
    ('"%d", REC->a >> 1', {"int a": -8}, "-4"),
    ('"%u", REC->a >> 1', {"u32 a": 0x80000000}, "1073741824"),
    ('"%d", 1 << REC->a', {"u8 a": 4}, "16"),
    ('"%d", 1 << REC->a', {"int a": 99}, "0"),
    ('"%lx", 1UL << 40', {}, "10000000000"),
    ('"%d", (u8)REC->a', {"int a": 0x1FF}, "255"),
    ('"%d %d", (char)REC->a, (signed char)REC->a', {"int a": 0x1FF}, "255 -1"),
    ('"%d %d", *(char *)REC->raw, (char)REC->raw[0] < 0', {"u8 raw[2]": [0x80, 1]}, "128 0"),
    ('"%d %d", "é"[REC->a], "é"[1]', {"int a": 0}, "195 169"),
    ('"%d %d", __get_str(s)[0], ((char *)__get_dynamic_array(s))[0]', {"__data_loc char[] s": b"\xfe\0"}, "254 254"),
    ('"%s %d %d %d", "\\xff\\303\\xa9", "\\xff"[REC->a], "\\377"[0], \'\\xff\'', {"int a": 0},
     "\udcff\udcc3\udca9 255 255 255"),
    # of a field its own attribute decides
    ('"%d %d", REC->a, REC->b[0]', {"char a": -1, "char b[2]": b"\xff"}, "-1 -1"),
    ('"%d", (s8)REC->a', {"int a": 0x1FF}, "-1"),
    ('"%d", (bool)REC->a', {"int a": 256}, "1"),
    ('"%llu", (unsigned long long)REC->a', {"int a": -1}, "18446744073709551615"),
    ('"%d", REC->a && REC->b', {"int a": 1, "int b": 0}, "0"),
    ('"%d", REC->a || REC->b', {"int a": 1, "int b": 0}, "1"),
    ('"%d", 0 && REC->a', {"int a": 1}, "0"),
    ('"%d", REC->a == 3 ? 10 : 20', {"int a": 3}, "10"),
    ('"%d,%d", ((unsigned int)((REC->dev) >> 20)), ((unsigned int)((REC->dev) & ((1U << 20) - 1)))',
     {"dev_t dev": 8 << 20 | 3}, "8,3"),
    ('"%d", REC->arr[1]', {"int arr[3]": [7, -8, 9]}, "-8"),
    ('"%d", REC->arr[REC->i]', {"int arr[3]": [7, -8, 9], "u8 i": 2}, "9"),
    ('"%d", *REC->arr + *(REC->arr + 1)', {"u16 arr[2]": [5, 6]}, "11"),
    ('"%u", *(u32 *)REC->raw', {"u8 raw[4]": [1, 1, 1, 1]}, "16843009"),
    ('"%zu", sizeof(REC->arr) / sizeof(REC->arr[0])', {"u16 arr[6]": [0] * 6}, "6"),
    ('"%d", \'A\'', {}, "65"),
    ('"%c%c", \'\\x41\', \'\\n\'', {}, "A\n"),
    ('"%c", "HI"[REC->a]', {"int a": 1}, "I"),
    ('"%d", 0x10 + 010 + 0b11', {}, "27"),
    ('"a" "b" "%d", 1', {}, "ab1"),
    ('"\\t\\"%s\\"\\x21", "q"', {}, '\t"q"!'),
    ('"%s", REC->a ? "yes" : "no"', {"int a": 0}, "no"),
    ('"%s", REC->a ? REC->b ? "x" : "y" : REC->s', {"int a": 0, "int b": 1, "char s[4]": b"z"}, "z"),
    ('"%d", ({ int x = (REC->a); int y = (10); ((x) < (y) ? (x) : (y)); })', {"int a": 12}, "10"),
    ('"%s", ({char *s; int n = ((REC->a >> 4) & 3) + 1; switch (n) { case 1: s = "one"; break; case 2: case 3: '
     's = "some"; break; default: s = ""; } s; })', {"int a": 0x20}, "some"),
    ('"%s", ({char *s = "a"; if (REC->a > 1) s = "b"; else { s = "c"; } s; })', {"int a": 1}, "c"),
    ('"%d", __builtin_choose_expr(1, REC->a, REC->nothing)', {"int a": 4}, "4"),
    ('"%d %d", IS_ERR(REC->p), IS_ERR_VALUE(REC->a)', {"void * p": 2**64 - 12, "int a": 4}, "1 0"),
    ('"%d", __builtin_constant_p(current) ? 1 : 2', {"int a": 4}, "2"),
    ('"%d", ( __builtin_constant_p(64) ? ((64) < 2 ? 0 : 63 - __builtin_clzll(64)) : (sizeof(64) <= 4) ? '
     '__ilog2_u32(64) : __ilog2_u64(64) )', {}, "6"),
    ('"%d %d", __ilog2_u32(REC->a), __ilog2_u64(REC->a) + __order_base_2(5)', {"int a": -2}, "31 66"),
    ('"%d %d %d", __ilog2_u32(REC->a), __builtin_ffs(REC->a), __builtin_ffsll(12)', {"int a": 0}, "-1 0 3"),
    ('"%d %d %d", __builtin_clz(REC->a), __builtin_ctz(REC->a), __builtin_popcount(REC->a)', {"int a": 40}, "26 3 2"),
    ('"%d", ({ __auto_type x = (REC->a); __auto_type y = (10); do { __attribute__((__noreturn__)) extern void '
     '__compiletime_assert_7(void) __attribute__((__error__("min""(""REC->a"", ""10"") signedness error"))); if '
     '(!(!(!(((((typeof(x))(-1)) < ( typeof(x))1) ? 2 : 1 + 2 * (sizeof(x) < 4)) & 3)))) __compiletime_assert_7(); } '
     'while (0); ((x) < (y) ? (x) : (y)); })', {"int a": -12}, "-12"),
    ('"%d", __builtin_constant_p(REC->a) ? 1 : 2', {"int a": 4}, "2"),
    ('"%d", __builtin_types_compatible_p(typeof(REC->a), int)', {"int a": 4}, "1"),
    ('"%d", __builtin_expect(!!(REC->a), 0) ? 5 : 6', {"int a": 0}, "6"),
    ('"%s %s %s", str_on_off(REC->a), str_write_read(REC->b), str_enable_disable(!(REC->b))', {"int a": 4, "bool b": 0},
     "on read enable"),
    ('"%d bit%s %d byte%s", REC->a, str_plural(REC->a), REC->b, str_plural(REC->b)', {"int a": 1, "u64 b": 8},
     "1 bit 8 bytes"),
    ('"%d", min(REC->a, 3) + max(REC->a, 3) + min_t(u8, REC->a, 255)', {"int a": 256}, "259"),
    ('"%d", (typeof(REC->b))REC->a', {"int a": 300, "u8 b": 0}, "44"),
    ('"%d", __builtin_constant_p((u16)(REC->a)) ? 1 : __fswab16((u16)(REC->a))', {"u16 a": 0x1234}, str(0x3412)),
    ('"%d", ntohs(htons(REC->a))', {"u16 a": 0x1234}, str(0x1234)),
    ('"%s", ((char *)REC->s)[0] ? "text" : "empty"', {"char s[4]": b""}, "empty"),
    ('"%d", true + false', {}, "1"),
    ('"%d %d", REC->ent.pid, REC->common_pid', {}, "42 42"),
]  # fmt: skip


@pytest.mark.parametrize("abi", ALL, ids=str)
@pytest.mark.parametrize(("print_fmt", "fields", "expected"), CASES)
def test_expression(print_fmt: str, fields: dict[str, Any], expected: str, abi: Abi) -> None:
    if abi.long_size == 4 and "1UL << 40" in print_fmt:
        pytest.skip("shifts out of a 32-bit long")
    assert render(print_fmt, fields, abi=abi) == expected


def test_long_is_32_bits_on_a_32_bit_abi() -> None:
    fields = {"unsigned long a": 0xFFFFFFFF, "int b": -1}
    assert render('"%d %lu", REC->a == REC->b, REC->a + 1', fields, abi=LE32) == "1 0"
    assert render('"%d %lu", REC->a == REC->b, REC->a + 1', fields, abi=LE64) == "0 4294967296"


def test_pointers_count_in_elements() -> None:
    fields = {"unsigned long pfn": 3}
    known = {"variables": {"the struct page of frame 0": 0x1000}}
    text = '"%p %p", (((struct page *)vmemmap_base) + (REC->pfn)), ((void *)16 + 1)'
    assert render(text, fields, **known) == f"{0x1000 + 3 * 64:016x} {17:016x}"
    assert render(text, fields, abi=LE32, **known) == f"{0x1000 + 3 * 32:08x} {17:08x}"


ARRAYS_OF_PAGES = [
    "((struct page *)0x9 - (memstart_addr >> 12)) + REC->pfn",
    "(vmemmap + (REC->pfn))",
    "(((struct page *)vmemmap_base) + (REC->pfn))",
    "(mem_map + ((REC->pfn) - (__pv_phys_pfn_offset)))",
    "(mem_map + (REC->pfn - ((0x80000000UL) >> 12)))",
    "(((struct page *)((kernel_map.page_offset - (((1UL) << (pgtable_l5_enabled ? 48 : 39)) / sizeof(pgd_t))) "
    "- (1UL << __order_base_2(sizeof(struct page))))) - vmemmap_start_pfn) + (REC->pfn)",
]


@pytest.mark.parametrize("array", ARRAYS_OF_PAGES)
def test_pages_by_their_frame(array: str) -> None:
    fields = {"unsigned long pfn": 3}
    known = {"variables": {PAGE_BASE: 0x1000, PAGE_SIZE: 36}}
    assert render(f'"%p", {array}', fields, **known) == f"{0x1000 + 3 * 36:016x}"
    assert render(f'"%p", {array}', fields, abi=LE32, **known) == f"{0x1000 + 3 * 36:08x}"
    assert render(f'"%p", {array}', fields) == "vmemmap_base+0xc0"
    assert render(f'"%p", {array}', fields, abi=LE32) == "pfn_to_page(0x3)"


@pytest.mark.parametrize("other", ["nobody + REC->pfn", "vmemmap + 1", "(struct page *)nobody"])
def test_what_is_no_page_of_a_frame(other: str) -> None:
    with pytest.raises(UnsupportedPrintFmt):
        render(f'"%p", {other}', {"unsigned long pfn": 3}, variables={PAGE_BASE: 0x1000})


def test_a_page_whose_base_is_unknown_is_shown_relative_to_it() -> None:
    text = '"page=%p pfn=%lu", REC->pfn != -1UL ? (((struct page *)vmemmap_base) + (REC->pfn)) : ((void *)0), REC->pfn'
    fields = {"unsigned long pfn": 3}
    assert render(text, fields) == "page=vmemmap_base+0xc0 pfn=3"
    event = Event(text, fields)
    assert "shown relative to it" in compile_print_fmt(event.format, event.facts()).notes[0]
    known = event.facts(variables={"the struct page of frame 0": 0})
    assert compile_print_fmt(event.format, known).notes == ()


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_byte_orders(abi: Abi) -> None:
    order = abi.byteorder
    stored = int.from_bytes(b"\x12\x34", order)
    assert render('"%x", be16_to_cpu(REC->p)', {"__be16 p": stored}, abi=abi) == "1234"
    assert render('"%x", __le32_to_cpu(REC->p)', {"__le32 p": 1}, abi=abi) == ("1" if order == "little" else "1000000")
    fields = {"__data_loc u8[] f": b"\x34\x12\xff\xff"}
    assert render('"%.2x", __le16_to_cpup((__le16 *)__get_dynamic_array(f))', fields, abi=abi) == "1234"


@pytest.mark.parametrize(
    ("print_fmt", "reason"),
    [
        ('"%d", SOME_ENUMERATOR', "the value of SOME_ENUMERATOR is not known"),
        ('"%s", dev_name(REC->a)', "the function dev_name() of the kernel is not known"),
        # enum req_op was numbered anew twice since 6.12, also in stable kernels: only types of the kernel tell
        ('"%s", blk_op_str(REC->a)', "the values of REQ_OP_READ, REQ_OP_WRITE, ... are not known"),
        # what only kernels before 6.12 write
        ('"%s", ftrace_print_flags_seq(p, "|", { 1, "A" })', "the function ftrace_print_flags_seq() of the kernel"),
        ('"%d", __entry->a', "the layout of the structure that has the member 'a' is not known"),
        ('"%lld", ((ktime_t) { .tv64 = REC->a }).tv64', "an operand expected at column"),
        ('"%d", WB_REASON_SYNC', "the value of WB_REASON_SYNC is not known"),
        ('"%d", p + REC->a', "the value of p is not known"),
        ('"%d", REC->nothing', "the event has no field 'nothing'"),
        ('"%d", *REC->ptr', "memory of the kernel behind a pointer is read"),
        ('"%d %d", REC->a', "more conversions than arguments"),
        ('"%p", REC->arr', "where the trace buffer of the kernel holds arr"),
        ('"%d", REC->a +', "an operand expected at column"),
        ('"%d", (REC->a', "')' expected"),
        ('"%d" REC->a', "',' or the end expected"),
        ("REC->a", "does not begin with a string"),
        ('"%d", @', "is no C token"),
        ('"%d", REC->a /* and no end', "'/* and no en' at column 13 is no C token"),
        ('"%d", sizeof(struct unheard_of)', "the size of struct unheard_of is not known"),
        ('"%n", REC->a', "no conversion"),
        ('"%d", ' + "(" * 400 + "1" + ")" * 400, "nested too deeply"),
        ('"%d", ' + "~" * 4000 + "1", "nested too deeply"),
        ('"%s", jiffies_to_msecs(REC->a)', "CONFIG_HZ is not known"),
        ('"%s", REC->a', "%s is given an integer"),
    ],
)
def test_what_cannot_be_rendered_says_why(print_fmt: str, reason: str) -> None:
    event = Event(print_fmt, {"int a": 0, "int * ptr": 0, "u8 arr[4]": b""})
    with pytest.raises(UnsupportedPrintFmt) as raised:
        event.render([])
    assert reason in str(raised.value)


def test_short_names_of_unsigned_types() -> None:
    lsn = {"s64 lsn": 0xFFFFFFFE_FFFFFFFF - (1 << 64)}
    assert render('"%u/%u", ((uint)((REC->lsn)>>32)), ((uint)(REC->lsn))', lsn) == "4294967294/4294967295"
    assert render('"%d", ((ushort)(REC->lsn))', lsn) == "65535"


def test_enumerators_come_from_the_kernel_first() -> None:
    known = {"SOME_ENUMERATOR": 7, "HRTIMER_MODE_REL": 9}
    asked = set()

    def constant(name: str, event: tuple[str, str]) -> int | None:
        asked.add(event)
        return known.get(name)

    assert render('"%d %d", SOME_ENUMERATOR, HRTIMER_MODE_REL', constant=constant) == "7 9"
    assert asked == {("test", "ev")}


@pytest.mark.parametrize(
    ("value", "printed"),
    [(-1, "4 1"), (1 << 31, "4 0"), (1 << 40, "8 0"), (-(1 << 40), "8 1"), (1 << 63, "8 0"), ((1 << 64) - 1, "8 0")],
)
def test_enumerators_have_the_first_type_that_holds_them(value: int, printed: str) -> None:
    print_fmt = '"%zu %d", sizeof(SOME_ENUMERATOR), SOME_ENUMERATOR < 0'
    assert render(print_fmt, constant=lambda name, event: value) == printed
    assert render('"%d", HRTIMER_MODE_REL') == "1"


# a model of the C machine: every node is (value, size, signed)

TYPES = {"s8": (1, True), "u8": (1, False), "short": (2, True), "u16": (2, False), "int": (4, True), "u32": (4, False),
         "s64": (8, True), "u64": (8, False)}  # fmt: skip
Typed = tuple[int, int, bool]


def wrapped(value: int, size: int, signed: bool) -> Typed:
    value &= (1 << 8 * size) - 1
    return (value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value), size, signed


def promote(a: Typed) -> Typed:
    return wrapped(a[0], 4, True) if a[1] < 4 else a


def balance(a: Typed, b: Typed) -> tuple[Typed, Typed, int, bool]:
    a, b = promote(a), promote(b)
    size = max(a[1], b[1])
    signed = all(x[2] for x in (a, b) if x[1] == size)
    return wrapped(a[0], size, signed), wrapped(b[0], size, signed), size, signed


def model(op: str, a: Typed, b: Typed) -> Typed:
    if op in ("<<", ">>"):
        left, count = promote(a), promote(b)[0]
        if not 0 <= count < 8 * left[1]:
            return 0, left[1], left[2]
        return wrapped(left[0] << count if op == "<<" else left[0] >> count, left[1], left[2])
    x, y, size, signed = balance(a, b)
    i, j = x[0], y[0]
    if op in ("<", ">", "<=", ">=", "==", "!="):
        return int({"<": i < j, ">": i > j, "<=": i <= j, ">=": i >= j, "==": i == j, "!=": i != j}[op]), 4, True
    if op in ("/", "%"):
        quotient = 0 if not j else abs(i) // abs(j) * (1 if (i < 0) == (j < 0) else -1)
        return wrapped(quotient if op == "/" else i - quotient * j if j else 0, size, signed)
    return wrapped({"+": i + j, "-": i - j, "*": i * j, "&": i & j, "|": i | j, "^": i ^ j}[op], size, signed)


EDGES = (0, 1, 2, 7, 31, 33, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
values = st.one_of(st.sampled_from(EDGES), st.sampled_from(EDGES).map(lambda v: -v), st.integers(-(2**63), 2**64 - 1))
operators = st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "==", "!="])


@settings(max_examples=120, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(TYPES)), min_size=3, max_size=3),
    numbers=st.lists(st.tuples(values, values, values), min_size=1, max_size=4),
    ops=st.tuples(operators, operators),
    constant=st.booleans(),
    abi=st.sampled_from(ALL),
)
def test_integers_are_those_of_c(
    kinds: list[str], numbers: list[tuple[int, int, int]], ops: tuple[str, str], constant: bool, abi: Abi
) -> None:
    typed = [[wrapped(v, *TYPES[k]) for v, k in zip(row, kinds, strict=True)] for row in numbers]
    third = f"(({kinds[2]})({typed[0][2][0]}LL))" if constant else "REC->c"
    text = f'"%lld", (long long)((REC->a {ops[0]} REC->b) {ops[1]} {third})'
    fields = [{f"{k} {n}": v[0] for k, n, v in zip(kinds, "abc", row, strict=True)} for row in typed]
    expected = []
    for row in typed:
        inner = model(ops[0], row[0], row[1])
        result = model(ops[1], inner, typed[0][2] if constant else row[2])
        expected.append(str(wrapped(result[0], 8, True)[0]))
    assert Event(text, fields[0], abi=abi).render(fields) == expected


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(TYPES)), min_size=2, max_size=2), row=st.tuples(values, values))
def test_constants_are_folded_as_columns_are_computed(kinds: list[str], row: tuple[int, int]) -> None:
    typed = [wrapped(v, *TYPES[k]) for v, k in zip(row, kinds, strict=True)]
    # -2^63 cannot be written as one literal
    a, b = (
        f"(({k})({v[0]}LL))" if v[0] >= -(2**62) else f"(({k})(-1LL << 62) * 2)"
        for k, v in zip(kinds, typed, strict=True)
    )
    typed = [v if v[0] >= -(2**62) else wrapped(-(2**63), 8, True) for v in typed]
    for op in ["+", "-", "*", "/", "%", "&", "|", "^", "<", ">=", "=="]:
        expected = wrapped(model(op, typed[0], typed[1])[0], 8, True)[0]
        assert render(f'"%lld", (long long)({a} {op} {b})') == str(expected), (op, a, b)


def test_be64_reads_its_own_order() -> None:
    assert render('"%llx", REC->a', {"u64 a": 0x0102030405060708}, abi=BE64) == "102030405060708"


@pytest.mark.parametrize("text", ['"%d", sizeof', '"%d", (sizeof)', '"%d", (__extension__, 1)', '"%d" /* a */ @'])
def test_what_lacks_an_operand_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedPrintFmt, match=r"an operand expected|'@' at column 13 is no C token"):
        parse_print_fmt(text, TypeTable(LE64))
