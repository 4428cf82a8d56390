# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.events.formats import read_formats
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.dwarf import Dwarf
from tests.eventwriter import FLAG_CUSTOM, FLAG_TRACEPOINT, EventWriter
from tests.typeswriter import Unit, dwarf_file

ABIS = pytest.mark.parametrize("abi", [Abi("little", 8), Abi("big", 8), Abi("little", 4), Abi("big", 4)])


def units(*, inline: bool = False) -> list[Unit]:
    stranger = Unit("kernel/sched/core.c")
    stranger.add(2, "stranger", 4)
    stranger.end()
    events = Unit("/build/kernel/trace/trace_events.c", inline)
    number = events.add(5, "int", 4)
    alias = events.add(11, "pid_t", number)
    pointer = events.add(6, 8)
    text = events.add(12, number)
    events.add(13, 3)
    events.end()
    either = events.add(9, 8)
    events.add(3, "left", number, 0)
    events.add(3, "right", pointer, 0)
    events.end()
    events.add(2, "call", 48)
    events.add(3, "pid", alias, 0)
    events.add(10, either, 8)
    events.add(3, "text", text, 16)
    events.add(4, "low", number, 7, 256)
    events.add(4, "high", number, 1, 263)
    events.end()
    events.add(7, "trace_type", 4)
    events.add(8, "TRACE_FN", 1)
    events.add(8, "__TRACE_LAST_TYPE", 21)
    events.end()
    events.add(14, 4)
    events.add(8, "FLAG", -1)
    events.end()
    other = Unit("kernel/trace/trace.c")
    other.add(2, "call", 4)
    other.end()
    return [stranger, other, events]


def dwarf_of(abi: Abi, written: list[Unit]) -> Dwarf:
    return Dwarf(np.frombuffer(dwarf_file(abi, written), np.uint8), "vmlinux")


@ABIS
@pytest.mark.parametrize("inline", [False, True])
def test_structures_and_constants(abi: Abi, inline: bool) -> None:
    types = dwarf_of(abi, units(inline=inline))
    call = types.struct("call")
    assert call is not None
    assert call.size == 48
    assert {name: (m.offset, m.size, m.bit_offset, m.bits) for name, m in call.members.items()} == {
        "pid": (0, 4, 0, 0),
        "left": (8, 4, 64, 0),
        "right": (8, abi.long_size, 64, 0),
        "text": (16, 16, 128, 0),
        "low": (32, 4, 256, 7),
        "high": (32, 4, 263, 1),
    }
    assert types.enum("trace_type") == {"TRACE_FN": 1, "__TRACE_LAST_TYPE": 21}
    assert types.constant("FLAG") == -1
    assert types.constant("ABSENT") is None
    assert types.constants(["ABSENT", "FLAG"]) == {"FLAG": -1}
    assert types.enum("absent") == {}


@ABIS
def test_bit_fields_and_arrays_as_gcc_writes_them_before_dwarf_5(abi: Abi) -> None:
    unit = Unit("kernel/trace/trace_events.c")
    number = unit.add(5, "int", 4)
    arrays = []
    for bound in ((13, 6), (17, 7), (18,)):
        arrays.append(unit.add(12, number))
        unit.add(*bound)
        unit.end()
    unit.add(2, "call", 100)
    for name, at, bits in (("low", 0, 7), ("high", 7, 1)):
        unit.add(16, name, number, 4, bits, at if abi.byteorder == "big" else 32 - at - bits, 8)
    for index, array in enumerate(arrays):
        unit.add(3, f"array{index}", array, 12 + 28 * index)
    unit.end()
    call = dwarf_of(abi, [unit]).struct("call")
    assert call is not None
    assert {name: (m.offset, m.size, m.bit_offset, m.bits) for name, m in call.members.items()} == {
        "low": (8, 4, 64, 7),
        "high": (8, 4, 71, 1),
        "array0": (12, 28, 96, 0),
        "array1": (40, 28, 320, 0),
        "array2": (68, 0, 544, 0),
    }


def described(out: EventWriter) -> Unit:
    """The types of the writer's memory."""
    unit = Unit("kernel/trace/trace_events.c")
    types = {size: unit.add(5, "unsigned", size) for size in (1, 2, 4, 8)}
    types[16] = unit.add(2, "list_head", 16)
    unit.end()
    inner = 0
    for name, members in out.offsets.items():
        struct = unit.add(2, name, out.sizes[name])
        inner = struct if name == "trace_event" else inner
        for member, (offset, size) in members.items():
            if member == "bits":
                skip = 31 if out.abi.byteorder == "little" else 0
                unit.add(16, "is_signed", types[4], 4, 1, skip, offset)
            else:
                unit.add(3, member, inner if member == "event" else types[size], offset)
        unit.end()
    unit.add(2, "trace_entry", 8)
    for member, offset, size in (("type", 0, 2), ("flags", 2, 1), ("preempt_count", 3, 1), ("pid", 4, 4)):
        unit.add(3, member, types[size], offset)
    unit.end()
    for name, values in (
        ("flags", {"TRACE_EVENT_FL_TRACEPOINT": FLAG_TRACEPOINT, "TRACE_EVENT_FL_CUSTOM": FLAG_CUSTOM}),
        ("trace_type", {"__TRACE_LAST_TYPE": out.last_type}),
    ):
        unit.add(7, name, 4)
        for word, value in values.items():
            unit.add(8, word, value)
        unit.end()
    return unit


@pytest.mark.parametrize("abi", [Abi("little", 8), Abi("big", 8)])
def test_formats_are_those_that_btf_gives(abi: Abi) -> None:
    out = EventWriter(abi)
    out.event("x", "one", [("int", "a", 4, 4, True, 0), ("u8", "b", 1, 1, False, 0), ("char[8]", "c", 8, 1, False, 8)])
    out.event("x", "two", [("s64", "d", 8, 8, True, 0)], '"%lld %d", REC->d, STATE')
    out.eval_map("x", "STATE", 7)
    image = out.build()
    assert image.btf is not None
    formats = read_formats(image, dwarf_of(abi, [described(out)]), image.machine)
    assert formats == read_formats(image, Btf(image.btf), image.machine)
    assert [event.name for event in formats.events] == ["one", "two"]


def test_the_unit_that_knows_events_comes_first_and_others_are_not_read() -> None:
    types = dwarf_of(Abi("little", 8), units())
    without = types.struct("call")
    assert without is not None
    assert without.size == 48
    assert types.struct("call", "absent") is None
    assert types.struct("stranger") is None


def test_a_file_without_units_of_tracing_knows_nothing() -> None:
    types = dwarf_of(Abi("little", 8), units()[:1])
    assert types.struct("stranger") is None


def test_what_is_no_elf_is_refused() -> None:
    with pytest.raises(SourceError, match="DWARF cannot be read"):
        Dwarf(np.zeros(4096, np.uint8), "vmlinux")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_damaged_dwarf_never_raises_anything_else(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(dwarf_file(Abi("little", 8), units()))
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(64, len(data))] = rng.randrange(256)
    try:
        types = Dwarf(np.frombuffer(bytes(data), np.uint8), "vmlinux")
        types.struct("call", "absent")
        types.enum("trace_type")
        types.constant("ABSENT")
    except SourceError:
        return
