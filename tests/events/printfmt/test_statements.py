# SPDX-License-Identifier: Apache-2.0
"""What macros of the kernel leave in print fmts besides plain expressions: statements, casts and declarations."""

from __future__ import annotations

from typing import Any

import pytest

from rbdump.abi import Abi
from rbdump.events.printfmt import UnsupportedPrintFmt
from tests.events.printfmt.rendering import ALL, LE64, Event, render

FIELDS = {"int a": 2, "u8 b": 200, "u16 arr[2]": [5, 6], "char s[4]": b"abc", "gfp_t gfp": 1 << 31, "void * p": 0x1000}


@pytest.mark.parametrize("abi", ALL, ids=str)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('({ int x = 1, *y, z[2], w = 3; ; _Static_assert(1, "of min()"); x + w; })', "4"),
        ("({ int x; if (REC->a) x = 7; x; })", "7"),
        ("(__typeof__(u8))(REC->b + 100)", "44"),
        ("(int)(gfp_t)(REC->b + 100)", "300"),
        ("(s64)(gfp_t)-1", "4294967295"),
        ("(bool)(REC->a == 2) + (bool)7 + (bool)REC->b", "3"),
        ("+REC->b + (-REC->a) + (~REC->a)", "195"),
        ("(REC->s && REC->a) + !REC->s + !5", "1"),
        ("REC->a ? REC->b : REC->b", "200"),
        ('(int)sizeof("abc")', "4"),
        ("*(1 + REC->arr) + *&*REC->arr", "11"),
        ("(REC->s == ((void *)0)) + (((void *)0) != REC->arr)", "1"),
        ("(int)*(unsigned char *const)REC->s", "97"),
        ("htons(0x1234) == htons(REC->b) ? 1 : htons(1) == htons((u16)(REC->a - 1))", "1"),
    ],
)
def test_integers(expression: str, expected: str, abi: Abi) -> None:
    assert render(f'"%lld", (long long)({expression})', FIELDS, abi=abi) == expected


@pytest.mark.parametrize(
    ("print_fmt", "expected"),
    [
        ('"%s", REC->a ? "x" : "x"', "x"),
        ('"%s", (char *)"text"', "text"),
        ('"%s", (char *)((void *)0)', "(null)"),
        ('"%s", ({ static const char *names[] = { "zero", "one" }; names[1]; })', "one"),
        ('"%p", (some_t *)REC->p', "0000000000001000"),
        ('"%ph %3ph %*ph %*ph|", REC->s, REC->s, -1, REC->s, 0, REC->s', "61 61 62 63 61 |"),
        ('"%s", __print_symbolic(REC->a)', "0x2"),
    ],
)
def test_texts(print_fmt: str, expected: str) -> None:
    assert render(print_fmt, FIELDS) == expected


def test_seconds_and_nanoseconds_of_a_timespec64() -> None:
    stamp = (12).to_bytes(8, "little") + (34).to_bytes(8, "little")
    assert render('"%ptSp", &REC->when', {"struct timespec64 when[16]": stamp}) == "12.000000034"


def test_a_typedef_that_only_the_kernel_knows_has_the_size_of_its_field() -> None:
    event = Event('"%lld", (long long)(pid_t)REC->a', fields := {"u64 a": 1 << 32 | 5, "pid_t pid": 0})
    assert event.render([fields]) == ["5"]


def test_no_rows_are_no_lines() -> None:
    fields: dict[str, Any] = {"void * p": 0, "int a": 0, "char s[4]": b""}
    assert Event('"%p %px %d %s %5d", REC->p, REC->p, REC->a, REC->s, REC->a', fields, abi=LE64).render([]) == []


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("({ })", "a statement expression that has no value"),
        ("({ switch (REC->a) { case 1: if (REC->b) break; } 1; })", "a break inside an if"),
        ("({ switch (REC->a) { int x; } 1; })", "a case label expected"),
        ("REC->a = 1", "an assignment outside of a statement expression"),
        ("-REC->s", "unary - is applied to the address of s"),
        ('~"x"', "unary ~ is applied to a string"),
        ('"x" * 2', "* between a string and an integer"),
        ("REC->s * 2", "* is applied to the address of a part of the record"),
        ("(unknown)REC->a", "the type 'unknown' is not known"),
        ("(struct foo)REC->a", "an integer is cast to struct foo"),
        ("(void)REC->a + 1", "the value of a (void) expression is used"),
        ("(const)1", "a type expected"),
        ("(struct { int a;", "'}' expected"),
        ("REC->a[0]", "an element of something that is no array is read"),
        ("*(void *)REC->arr", "the size of what arr points to is not known"),
        ("*(REC->arr + 9)", "something outside of arr is read"),
        ("*(u64 *)(REC->arr)", "something outside of arr is read"),
        ("*(struct foo *)REC->arr + 1", "the size of struct foo is not known"),
        ("&REC->a[0]", "the address of something outside the record is taken"),
        ("(int)REC->s + 0 * (u8)REC->s", "is used as a number"),
        ("(void *)1 + (void *)2", "two pointers are added"),
        ("(struct foo *)1 + REC->a", "arithmetic on a pointer to struct foo whose size is not known"),
        ("min_t(1, 2, 3)", "min_t needs a type"),
        ("REC->.a", "a name expected"),
        ('({ static char *t[] = { REC->s, "x" }; t[REC->b]; })', "an element of a table is read whose number is not"),
        ('__print_flags(REC->a, REC->s, { 1, "x" })', "the delimiter of __print_flags is no string"),
        ("__print_symbolic(REC->a, 1)", "a table of { value, name } pairs is needed"),
        ("__print_symbolic(REC->a, { 1, REC->s })", "a table of { value, name } pairs is needed"),
        ("__print_hex(REC->p, 2)", "memory of the kernel behind a pointer is printed"),
        ("__get_str(1)", "a field name is needed"),
        ("__print_hex_dump(REC->s, 0, 16, 1, REC->s, 3, 0)", "the prefix of __print_hex_dump is no string"),
    ],
)
def test_what_is_not_understood_is_named(expression: str, reason: str) -> None:
    with pytest.raises(UnsupportedPrintFmt) as raised:
        Event(f'"%d", {expression}', FIELDS).render([])
    assert reason in str(raised.value)
