# SPDX-License-Identifier: Apache-2.0
"""The repair of `buffers[]`, against many simulated histories of reader swaps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rbdump.ring.buffers import is_permutation, repair_buffers


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
    repaired = repair_buffers(stored)
    assert repaired is not None
    assert repaired.tolist() == true.tolist()


def test_a_permutation_is_kept() -> None:
    buffers = np.array([3, 1, 2, 0])
    assert repair_buffers(buffers) is buffers


def test_one_wild_entry_is_the_missing_one() -> None:
    repaired = repair_buffers(np.array([0, 1, 2000000, 3]))
    assert repaired is not None
    assert repaired.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("entries", [[0, -5, 2000, 3], [0, 0, 0, 0], [9, 9, 9, 9]])
def test_what_the_bug_does_not_explain_is_left(entries: list[int]) -> None:
    assert not is_permutation(np.array(entries))
    assert repair_buffers(np.array(entries)) is None
