# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from rbdump.kernel.events.evalmaps import EvalMap, EvalMaps, replace_in_print_fmt, replace_in_type, sanitize_type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FOO", "7"),
        ("REC->x == FOO ? 1 : 0", "REC->x == 7 ? 1 : 0"),
        ('{ FOO, "FOO" }', '{ 7, "FOO" }'),
        ('"a \\" FOO" , FOO', '"a \\" FOO" , 7'),
        ("FOO_BAR FOOD XFOO FOO", "FOO_BAR FOOD XFOO 7"),
        ("0xFOO 1FOO FOO", "0xFOO 1FOO 7"),
        ("REC->FOO a.FOO FOO", "REC->FOO a.FOO 7"),
        ("(FOO)(FOO)", "(7)(7)"),
        ("FOO,FOO,FOO", "7,7,7"),
        # The character behind a name is never looked at, be it a quote: the string begins unseen.
        ('x"FOO" FOO', 'x"7" 7'),
        ("a FOO", "a 7"),
        ("", ""),
    ],
)
def test_names_outside_of_strings_are_replaced(text: str, expected: str) -> None:
    assert replace_in_print_fmt(text, EvalMap(0, "FOO", 7)) == expected


def test_sizeof_terms_are_replaced_whole() -> None:
    entry = EvalMap(0, "sizeof(struct foo)", 24)
    assert replace_in_print_fmt("REC->n / sizeof(struct foo), sizeof(struct food)", entry) == (
        "REC->n / 24, sizeof(struct food)"
    )


def test_a_value_longer_than_its_name_stays_a_name() -> None:
    assert replace_in_print_fmt("A + A", EvalMap(0, "A", -1)) == "A + A"
    assert replace_in_print_fmt("AB + 1", EvalMap(0, "AB", -1)) == "-1 + 1"


def test_maps_apply_in_turn_and_to_their_own_system_only() -> None:
    maps = EvalMaps([EvalMap(1, "FOO", 1), EvalMap(2, "FOO", 2), EvalMap(1, "FOO", 9), EvalMap(1, "BAR", 3)])
    assert maps.print_fmt(1, "FOO BAR") == "1 3"
    assert maps.print_fmt(2, "FOO BAR") == "2 BAR"
    assert maps.print_fmt(3, "FOO BAR") == "FOO BAR"


def test_array_lengths_are_replaced_in_field_types() -> None:
    assert replace_in_type("char[TASK_COMM_LEN]", EvalMap(0, "TASK_COMM_LEN", 16)) == "char[16]"
    assert replace_in_type("char[16]", EvalMap(0, "TASK_COMM_LEN", 16)) == "char[16]"
    assert replace_in_type("TASK_COMM_LEN", EvalMap(0, "TASK_COMM_LEN", 16)) == "TASK_COMM_LEN"
    # The kernel compares the beginning only.
    assert replace_in_type("char[LENGTH]", EvalMap(0, "LEN", 16)) == "char[16GTH]"
    assert EvalMaps([EvalMap(1, "LEN", 8)]).field_type(1, "u8[LEN]") == "u8[8]"
    assert EvalMaps([EvalMap(1, "LEN", 8)]).field_type(2, "u8[LEN]") == "u8[LEN]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("const char *", "const char *"),
        ('const char __attribute__((btf_type_tag("user"))) *', "const char *"),
        ("int __attribute__((x)) __attribute__((y((z)))) *", "int *"),
        ("my__attribute__(x)", "my__attribute__(x)"),
        ("int __attribute__((x)", "int __attribute__((x)"),
    ],
)
def test_attributes_vanish_from_types(text: str, expected: str) -> None:
    assert sanitize_type(text) == expected
