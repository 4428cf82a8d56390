# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.types.dwarf import Dwarf
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
    events.add(8, "FLAG", 0x7F)
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
    assert types.enum("absent") == {}


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
