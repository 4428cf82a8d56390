# SPDX-License-Identifier: Apache-2.0
"""Function tracer events and stacks."""

from __future__ import annotations

import struct

import pytest

from rbdump.abi import Abi
from rbdump.kernel.types.typeinfo import FunctionProto, Parameter
from tests.events.records import LE64, Rec
from tests.render.scene import BASE, MODULE, NEW, render

FUNCTION, STACK, USER_STACK, REPEATS = 1, 4, 12, 19
BE32 = Abi("big", 4)


def words(*values: int, abi: Abi = LE64) -> bytes:
    return struct.pack(f"{abi.endian}{len(values)}{'Q' if abi.long_size == 8 else 'I'}", *values)


def test_function_and_its_caller() -> None:
    calls = [(BASE + 0x104, BASE + 0x310), (MODULE + 0x44, BASE + 0x200), (BASE + 0x100, 0), (0x1234, 0x99)]
    got = render([Rec(FUNCTION, 1, words(*call)) for call in calls])
    assert got == [
        "vfs_read <-ksys_read\n",
        "br_exit <-vfs_write\n",
        "vfs_read\n",
        "0x00001234 <-0x00000099\n",
    ]


def with_arguments(*values: int) -> Rec:
    return Rec(FUNCTION, 1, words(BASE + 0x100, BASE + 0x300, *values))


def test_arguments_without_types_of_the_kernel_are_bare_words() -> None:
    without = Rec(FUNCTION, 1, words(BASE + 0x100, BASE + 0x300))
    got = render([with_arguments(1, 2, 3, 4, 5, 2**64 - 1), without], style=NEW, numbering=21)
    assert got == ["vfs_read(0x1, 0x2, 0x3, 0x4, 0x5, 0xffffffffffffffff) <-ksys_read\n", "vfs_read <-ksys_read\n"]


def test_a_function_that_the_types_do_not_know_has_empty_brackets() -> None:
    got = render([with_arguments(1, 2, 3, 4, 5, 6)], style=NEW, numbering=21, prototypes=lambda: lambda name: None)
    assert got == ["vfs_read() <-ksys_read\n"]


def test_arguments_are_spelled_by_the_prototype() -> None:
    parameters = (
        Parameter("file", "ptr", "", 0, False),
        Parameter("nr", "int", "int", 4, True),
        Parameter("count", "int", "unsigned long", 8, False),
        Parameter("mode", "enum", "modes", 4, False, {2: "BLOCK"}),
        Parameter("pair", "struct", "pair", 16, False),
        Parameter("late", "int", "int", 4, True),
    )
    asked = []

    def prototype(name: str) -> FunctionProto:
        asked.append(name)
        return FunctionProto(name, parameters)

    got = render([with_arguments(0xB, 2**64 - 100, 16, 2, 7, 8)], style=NEW, numbering=21, prototypes=lambda: prototype)
    assert got == ["vfs_read(file=0xb, nr=-100, count=0x10, mode=2 [BLOCK], pair=(STRUCT)[0x7:0x8], ...) <-ksys_read\n"]
    assert asked == ["vfs_read"]


def test_an_argument_whose_type_is_not_known_is_a_number_all_the_same() -> None:
    proto = FunctionProto("vfs_read", (Parameter("", "", "", 0, False), Parameter("", "ptr", "", 0, False)))
    got = render([with_arguments(11, 12, 0, 0, 0, 0)], style=NEW, numbering=21, prototypes=lambda: lambda name: proto)
    assert got == ["vfs_read(?0xb, 0xc) <-ksys_read\n"]


@pytest.mark.parametrize(
    ("release", "text"),
    [
        ("6.15.0-rc3", "-4096"),
        ("6.16.3-cloud-amd64", "-4096"),
        ("6.17.13+deb14-amd64", "0xfffffffffffff000"),
        ("7.0.1", "0xfffffffffffff000"),
        (None, "0xfffffffffffff000"),
        ("next", "0xfffffffffffff000"),
    ],
)
def test_unsigned_arguments_were_signed_decimals_before_6_17(release: str | None, text: str) -> None:
    proto = FunctionProto("vfs_read", (Parameter("count", "int", "unsigned long", 8, False),))
    rec = with_arguments(2**64 - 4096, 0, 0, 0, 0, 0)
    got = render([rec], style=NEW, numbering=21, prototypes=lambda: lambda name: proto, release=release)
    assert got == [f"vfs_read(count={text}) <-ksys_read\n"]


def test_repeats() -> None:
    body = words(BASE + 0x100, BASE + 0x300) + struct.pack("<HHI", 7, 1, 500)
    got = render([Rec(REPEATS, 1, body, ts=(1 << 32) + 2_000_500)])
    assert got == ["vfs_read <-ksys_read (repeats: 7, last_ts:     0.002000)\n"]


def test_kernel_stacks_end_at_the_mark_or_with_the_record() -> None:
    size = struct.pack("<ii", 3, 0)
    callers = [BASE + 0x110, 0x7FFFFFFF, BASE + 0x210]
    whole = Rec(STACK, 1, size + words(*callers))
    marked = Rec(STACK, 1, size + words(*callers[:1], 2**64 - 1, *callers[2:]))
    empty = Rec(STACK, 1, size)
    got = render([whole, marked, empty])
    assert got == [
        "<stack trace>\n => vfs_read\n => [FTRACE TRAMPOLINE]\n => vfs_write\n",
        "<stack trace>\n => vfs_read\n",
        "<stack trace>\n",
    ]


def test_kernel_stack_of_32_bit_big_endian() -> None:
    body = struct.pack(">i", 2) + words(0xC0001234, 0x10, abi=BE32)
    assert render([Rec(STACK, 1, body)], abi=BE32) == ["<stack trace>\n => 0xc0001234\n => 0x00000010\n"]


def test_user_stacks_end_at_zero() -> None:
    body = struct.pack("<II", 150, 0) + words(0x401000, 0x7F0000001234, 0, 5, 0, 0, 0, 0)
    got = render([Rec(USER_STACK, 150, body)])
    assert got == ["<user stack trace>\n =>  <0000000000401000>\n =>  <00007f0000001234>\n"]
