# SPDX-License-Identifier: Apache-2.0
"""The repair of `buffers[]`, against many simulated histories of reader swaps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rbdump.ring import open_region
from rbdump.ring.buffers import is_permutation, repair_buffers
from rbdump.ring.geometry import are_swaps_shifted
from rbdump.ring.identify import Identity
from tests.ring.test_walk import load, steady
from tests.ringwriter import Consume, RegionWriter


def history(count: int, swaps: int, first: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(true, stored with the kernel's bug) after a reader has swapped ``swaps`` times, the writer jumping at times."""
    rnd = random.Random(seed)
    true, stored = list(range(count)), list(range(count))
    position = first
    for _ in range(swaps):
        true[0], true[position] = true[position], true[0]
        stored[0], stored[position] = true[0] + 1, true[position] + 1
        position = position + 1 if rnd.random() < 0.9 else position + rnd.randrange(1, count)
        position = (position - 1) % (count - 1) + 1
    return np.array(true), np.array(stored)


@pytest.mark.parametrize("seed", range(40))
def test_entries_one_too_large_are_recovered(seed: int) -> None:
    rnd = random.Random(seed)
    count = rnd.randrange(4, 60)
    true, stored = history(count, rnd.randrange(0, 3 * count), rnd.randrange(1, count), seed)
    repaired = repair_buffers(stored, np.zeros(count, np.uint64), None, None, shifted=True)
    assert repaired is not None
    assert repaired.tolist() == true.tolist()


def test_a_permutation_is_kept() -> None:
    buffers = np.array([3, 1, 2, 0])
    assert repair_buffers(buffers, np.zeros(4, np.uint64), None, None, shifted=True) is buffers


@pytest.mark.parametrize("shifted", [False, True])
def test_one_wild_entry_is_the_missing_one(shifted: bool) -> None:
    repaired = repair_buffers(np.array([0, 1, 2000000, 3]), np.zeros(4, np.uint64), None, None, shifted=shifted)
    assert repaired is not None
    assert repaired.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(40))
def test_one_entry_that_repeats_another(seed: int) -> None:
    """Which of the two it is time stamps tell."""
    rnd = random.Random(seed)
    count = rnd.randrange(5, 60)
    true, _ = history(count, rnd.randrange(0, 3 * count), rnd.randrange(1, count), seed)
    at = rnd.randrange(1, count)
    order = [true[0], *true[at:], *true[1:at]]
    stamps = np.zeros(count, np.uint64)
    stamps[order] = np.arange(1000, 1000 + count)
    for position, other in (rnd.sample(range(count), 2) for _ in range(5)):
        stored = true.copy()
        stored[position] = true[other]
        repaired = repair_buffers(stored, stamps, order[1], None, shifted=rnd.random() < 0.5)
        assert repaired is not None
        assert repaired.tolist() == true.tolist()


def test_one_entry_that_repeats_another_of_a_ring_that_was_never_written() -> None:
    for position in range(6):
        stored = np.arange(6)
        stored[position] = 5 - position
        repaired = repair_buffers(stored, np.zeros(6, np.uint64), 1, None, shifted=False)
        assert repaired is not None
        assert repaired.tolist() == [*range(6)]


@pytest.mark.parametrize("entries", [[0, -5, 2000, 3], [0, 0, 0, 0], [9, 9, 9, 9]])
def test_what_neither_explains_is_left(entries: list[int]) -> None:
    assert not is_permutation(np.array(entries))
    assert repair_buffers(np.array(entries), np.zeros(4, np.uint64), None, None, shifted=True) is None


@pytest.mark.parametrize(("layout", "counts"), [("B", (1010, 1011, 1024)), ("C2", (1016, 1017, 1024))])
def test_kernels_write_wrong_entries_for_some_numbers_only(layout: str, counts: tuple[int, int, int]) -> None:
    found = []
    for count in (8, *counts, 1025):
        items = [*steady(900), Consume(4)]
        region = open_region(load(RegionWriter([steady(9), items], layout=layout, nr_subbufs=count).region()))
        at, identity = region.cpus[1].offset, Identity(0, region.structs, region.cpus[0].offset, True)
        found.append(are_swaps_shifted(identity, at, 4096, count))
    assert found == [False, False, True, True, False]
