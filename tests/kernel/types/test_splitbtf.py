# SPDX-License-Identifier: Apache-2.0
"""Split BTF of modules, with its base, with another kernel's, and without one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.errors import SourceError
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.splitbtf import SplitBtf
from tests.btfwriter import BtfWriter

ENDIANS = pytest.mark.parametrize("endian", ["<", ">"])


def kernel(endian: str = "<") -> BtfWriter:
    out = BtfWriter(endian)
    out.int("int", 4, signed=True)
    out.struct("task", 8, [("flags", 1, 0), ("state", 1, 4)])
    out.enum("state", {"RUNNING": 0, "DEAD": -1}, signed=True)
    return out


def module(base: BtfWriter) -> BtfWriter:
    out = BtfWriter(base.endian, base)
    # the first string is the first byte, and RUNNING is a string of the base
    out.enum("toy_state", {"TOY_OPEN": 1, "TOY_SHUT": -1, "RUNNING": 7}, signed=True)
    out.enum64("", {"TOY_HUGE": 1 << 40})
    out.enum("one", {"TOY_TWICE": 1})
    out.enum("two", {"TOY_TWICE": 2})
    out.struct("toy", 16, [("task", out.ptr(2), 0), ("count", 1, 8), ("both", out.array(2, 2), 0)])
    out.func("toy_open", [("toy", out.ptr(out.first_type)), ("state", 3), ("own", out.first_type), ("fd", 1)])
    return out


@ENDIANS
def test_types_and_names_continue_those_of_the_base(endian: str) -> None:
    base = kernel(endian)
    btf = SplitBtf(module(base).build(), Btf(base.build()))
    assert btf.enum("toy_state") == {"TOY_OPEN": 1, "TOY_SHUT": -1, "RUNNING": 7}
    assert btf.constants(["TOY_SHUT", "TOY_HUGE", "RUNNING", "DEAD", "flags", ""]) == {
        "TOY_SHUT": -1,
        "TOY_HUGE": 1 << 40,
        "RUNNING": 7,
    }
    toy = btf.struct("toy", "both")
    assert toy is not None
    assert {name: (m.offset, m.size) for name, m in toy.members.items()} == {
        "task": (0, 0),
        "count": (8, 4),
        "both": (0, 16),
    }
    proto = btf.function("toy_open")
    assert proto is not None
    assert [(p.name, p.kind, p.type_name, p.signed) for p in proto.parameters] == [
        ("toy", "ptr", "", False),
        ("state", "enum", "state", True),
        ("own", "enum", "toy_state", True),
        ("fd", "int", "int", True),
    ]
    assert [p.constants.get(-1) for p in proto.parameters] == [None, "DEAD", "TOY_SHUT", None]


def test_a_constant_with_two_values_is_none() -> None:
    base = kernel()
    assert SplitBtf(module(base).build(), Btf(base.build())).constant("TOY_TWICE") is None


@ENDIANS
def test_without_the_base_there_are_the_names_of_its_own(endian: str) -> None:
    btf = SplitBtf(module(kernel(endian)).build(), None)
    assert btf.constants(["TOY_SHUT", "TOY_HUGE", "RUNNING"]) == {"TOY_SHUT": -1, "TOY_HUGE": 1 << 40}
    proto = btf.function("toy_open")
    assert proto is None or not any(p.kind for p in proto.parameters if p.name != "own")


@pytest.mark.parametrize("more", ["MORE", "M" * 10000])
def test_the_types_of_another_kernel_are_no_base(more: str) -> None:
    other = kernel()
    other.enum("more", {more: 5})
    btf = SplitBtf(module(kernel()).build(), Btf(other.build()))
    assert btf.constants(["TOY_OPEN", "RUNNING", more]) == {"TOY_OPEN": 1}


def test_a_module_that_does_not_tell_its_names_is_refused() -> None:
    few = BtfWriter(base=kernel())
    few.enum("toy_state", {"TOY_OPEN": 1})
    with pytest.raises(SourceError, match="another kernel"):
        SplitBtf(few.build(), None)
    unnamed = module(kernel())
    for number in range(8):
        unnamed.string(f"nobody's {number}")
    unnamed.enum("last", {"LAST": 1})
    with pytest.raises(SourceError, match="another kernel"):
        SplitBtf(unnamed.build(), None)
    with pytest.raises(SourceError, match="another kernel"):
        SplitBtf(BtfWriter(base=kernel()).build(), None)
    assert SplitBtf(few.build(), Btf(kernel().build())).constant("TOY_OPEN") == 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_types_of_modules_never_raise_anything_else(data: st.DataObject) -> None:
    base = kernel(data.draw(st.sampled_from("<>")))
    blob = bytearray(module(base).build())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(4, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = SplitBtf(bytes(blob), data.draw(st.sampled_from([None, Btf(base.build())])))
    except SourceError:
        return
    btf.constants(["TOY_OPEN", "TOY_TWICE", "RUNNING", "TOY_HUGE"])
    btf.function("toy_open")
    btf.struct("toy")
    btf.enum("toy_state")
