# SPDX-License-Identifier: Apache-2.0
"""Run-time values of the dead kernel, inferred from events that show both sides of an equation."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.events.variables import JIFFIES, PAGE_BASE, PAGE_SIZE, infer_variables
from tests.events.printfmt.rendering import LE32, LE64, Event
from tests.events.records import Rec, pack

BASE = 0xFFCB3B9AC0000000


def inserted(pairs: list[tuple[int, int]], *, abi: object = LE64) -> tuple[Event, list[Rec]]:
    event = Event('""', {"struct folio * folio": 0, "unsigned long pfn": 0}, abi=abi)  # type: ignore[arg-type]
    return event, [Rec(100, 1, event.pack({"struct folio * folio": a, "unsigned long pfn": p})) for a, p in pairs]


@pytest.mark.parametrize("size", [64, 56, 96])
def test_the_base_of_struct_pages(size: int) -> None:
    event, records = inserted([(BASE + size * pfn, pfn) for pfn in (3, 7, 4096, 77)])
    entries, memory = pack(records)
    found = infer_variables(entries, memory, {100: event.format}.get)
    assert found == {PAGE_BASE: BASE, PAGE_SIZE: size}


@pytest.mark.parametrize("size", [32, 36, 40])
def test_32_bits_wrap(size: int) -> None:
    base = (0xC0000000 - size * 0x80000) & 0xFFFFFFFF
    pairs = [((base + size * pfn) & 0xFFFFFFFF, pfn) for pfn in (0x80001, 0x80100)]
    event, records = inserted(pairs, abi=LE32)
    entries, memory = pack(records, LE32)
    found = infer_variables(entries, memory, {100: event.format}.get)
    assert found == {PAGE_BASE: base, PAGE_SIZE: size}


def test_some_pairs_may_be_damaged() -> None:
    pairs = [(BASE + 64 * pfn, pfn ^ (0x100 if pfn % 5 == 1 else 0)) for pfn in range(1, 41)]
    event, records = inserted(pairs)
    entries, memory = pack(records)
    assert infer_variables(entries, memory, {100: event.format}.get) == {PAGE_BASE: BASE, PAGE_SIZE: 64}


def test_the_base_is_that_of_the_last_boot() -> None:
    older = BASE - 0x40000000
    event, records = inserted([(older + 64 * pfn, pfn) for pfn in range(1, 60)] + [(BASE + 64, 1), (BASE + 128, 2)])
    entries, memory = pack(records)
    entries.records.epoch = np.array([1] * 59 + [0] * 2, np.uint8)
    assert infer_variables(entries, memory, {100: event.format}.get) == {PAGE_BASE: BASE, PAGE_SIZE: 64}


def test_nothing_is_guessed_from_disagreement() -> None:
    for pairs in (
        [(BASE + 64, 1)],
        [(BASE + 64, 1), (BASE + 999, 2), (BASE + 5, 3)],
        [(0, 1), (0, 2)],
        [(BASE + 64, 1)] * 9 + [(BASE + 777, 2)],
    ):
        event, records = inserted(pairs)
        entries, memory = pack(records)
        assert infer_variables(entries, memory, {100: event.format}.get) == {}


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
def test_jiffies_against_the_clock(hz: int) -> None:
    event = Event('""', {"void * timer": 0, "unsigned long now": 0})
    fmt = event.format
    named = type(fmt)(fmt.system, "timer_expire_entry", 100, fmt.common_fields, fmt.fields, "")
    start = 2**64 - 3

    def entries_of(seconds: list[float]) -> dict[str, int]:
        records = [
            Rec(100, 1, event.pack({"void * timer": 1, "unsigned long now": (start + int(s * hz)) % 2**64}),
                ts=int(s * 1e9)) for s in seconds
        ]  # fmt: skip
        entries, memory = pack([*records, Rec(101, 1, ts=12 * 10**9)])
        return infer_variables(entries, memory, {100: named}.get)

    assert entries_of([1.0, 2.5, 9.0]) == {"HZ": hz, JIFFIES: start + 12 * hz - 2**64}
    assert entries_of([1.0, 1.1]) == {}  # too short to tell
    assert entries_of([1.0]) == {}
