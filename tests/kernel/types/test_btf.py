# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.errors import SourceError
from rbdump.kernel.types.btf import Btf
from tests.btfwriter import BtfWriter

ENDIANS = pytest.mark.parametrize("endian", ["<", ">"])


def kernel_types(endian: str) -> BtfWriter:
    out = BtfWriter(endian)
    number, byte = out.int("int", 4, signed=True), out.int("unsigned char", 1)
    word = out.int("unsigned long", 8)
    const = out.add("const", "", word)
    alias = out.add("typedef", "size_t", const)
    comm = out.array(byte, 16)
    inner = out.struct("", 8, [("left", number, 0), ("right", number, 4)], kind="union")
    task = out.struct("task", 40, [("flags", number, 0), ("", inner, 8), ("comm", comm, 16), ("size", alias, 32)])
    out.struct("bits", 4, [("low", number, 0, 7), ("high", number, 7, 1), ("rest", byte, 8, 0)])
    state = out.enum("state", {"RUNNING": 0, "DEAD": -1}, signed=True)
    out.enum64("wide", {"HUGE": 1 << 40, "MINUS": -(1 << 40)}, signed=True)
    out.func("do_it", [("task", out.ptr(task)), ("count", alias), ("state", state), ("fd", number), ("", 0)])
    return out


@ENDIANS
def test_struct_members_are_found_by_name(endian: str) -> None:
    task = Btf(kernel_types(endian).build()).struct("task")
    assert task is not None
    assert task.size == 40
    assert {name: (m.offset, m.size) for name, m in task.members.items()} == {
        "flags": (0, 4),
        "comm": (16, 16),
        "size": (32, 8),
        "left": (8, 4),
        "right": (12, 4),
    }


@ENDIANS
def test_bit_fields_keep_their_place(endian: str) -> None:
    bits = Btf(kernel_types(endian).build()).struct("bits")
    assert bits is not None
    assert [(m.bit_offset, m.bits) for m in bits.members.values()] == [(0, 7), (7, 1), (8, 0)]


@ENDIANS
def test_constants_have_their_sign_and_width(endian: str) -> None:
    btf = Btf(kernel_types(endian).build())
    assert btf.enum("state") == {"RUNNING": 0, "DEAD": -1}
    assert btf.constant("DEAD") == -1
    assert btf.constant("HUGE") == 1 << 40
    assert btf.constant("MINUS") == -(1 << 40)
    assert btf.constant("task") is None
    assert btf.constant("ABSENT") is None
    assert btf.constants(["MINUS", "task", "ABSENT", "RUNNING", "left"]) == {"RUNNING": 0, "MINUS": -(1 << 40)}
    assert btf.enum("task") == {}


@ENDIANS
def test_function_parameters(endian: str) -> None:
    proto = Btf(kernel_types(endian).build()).function("do_it")
    assert proto is not None
    assert [(p.name, p.kind, p.type_name, p.size, p.signed) for p in proto.parameters] == [
        ("task", "ptr", "", 0, False),
        ("count", "int", "unsigned long", 8, False),
        ("state", "enum", "state", 4, True),
        ("fd", "int", "int", 4, True),
        ("", "", "", 0, False),
    ]
    assert proto.parameters[2].constants == {0: "RUNNING", -1: "DEAD"}
    assert Btf(kernel_types(endian).build()).function("task") is None


def test_of_two_structures_the_one_with_the_members_is_taken() -> None:
    out = BtfWriter()
    number = out.int("int", 4)
    out.struct("pair", 4, [("a", number, 0)])
    out.struct("pair", 8, [("a", number, 0), ("b", number, 4)])
    btf = Btf(out.build())
    wanted = btf.struct("pair", "b")
    first = btf.struct("pair")
    assert wanted is not None
    assert first is not None
    assert (wanted.size, first.size) == (8, 4)
    assert btf.struct("pair", "c") is None


def test_newer_blobs_describe_kinds_of_types_that_are_unknown() -> None:
    out = BtfWriter()
    out.add(25, "novelty", 0, bytes(4 + 2 * 8), vlen=2)
    out.struct("behind", 4, [("a", out.int("int", 4), 0)])
    assert Btf(out.build(layout={25: (4, 8)})).struct("behind") is not None
    with pytest.raises(SourceError, match="does not know"):
        Btf(out.build())


def test_anonymous_structures_that_contain_themselves_end() -> None:
    out = BtfWriter()
    out.struct("loop", 8, [("", 2, 0), ("", 2, 0)])
    out.struct("", 8, [("", 2, 0), ("", 2, 0), ("a", 3, 4)])
    out.add("typedef", "round", 4)
    out.add("typedef", "and_round", 3)
    layout = Btf(out.build()).struct("loop")
    assert layout is not None
    assert set(layout.members) == {"a"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "BTF magic"),
        (b"\x7fELF" + bytes(60), "BTF magic"),
        (kernel_types("<").build()[:-1], "cut short"),
        (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 8, 0, 0, 0, 0), "cut short"),
        (
            struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 1) + struct.pack("<4I", 0, 4 << 24 | 9, 4, 0) + b"\0",
            "damaged",
        ),
    ],
)
def test_what_is_no_btf_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        Btf(data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_btf_never_raises_anything_else(data: st.DataObject) -> None:
    blob = bytearray(kernel_types(data.draw(st.sampled_from("<>"))).build())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(4, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = Btf(bytes(blob))
    except SourceError:
        return
    for name in ("task", "bits", "state", "do_it"):
        btf.struct(name)
        btf.enum(name)
        btf.function(name)
    btf.constant("DEAD")
    btf.constant("HUGE")


def test_many_names_in_many_enumerators_take_no_time() -> None:
    out = BtfWriter()
    names = [f"NAME_{number}" for number in range(3000)]
    for _ in range(30):
        out.enum("", {name: number for number, name in enumerate(names)})
    btf = Btf(out.build())
    began = time.process_time()
    assert [btf.constant(name) for name in names] == list(range(3000))
    assert time.process_time() - began < 2
