# SPDX-License-Identifier: Apache-2.0
"""Which boot wrote a sub-buffer, going by time stamps, and which time stamps are damage."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.ring.epochs import assign_epochs, outliers


def stamps(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ([1, 2, 3], [0, 0, 0]),
        ([], []),
        ([500, 510, 520, 10, 20, 30], [1, 1, 1, 0, 0, 0]),
        ([500, 510, 70, 80, 10, 20], [2, 2, 1, 1, 0, 0]),
        ([10, 20, 1 << 60, 40, 50], [0, 0, 0, 0, 0]),
        ([10, 20, 1 << 60, 1 << 61, 40, 50], [0, 0, 0, 0, 0, 0]),
        ([10, 20, 1 << 61, 1 << 60, 1 << 62, 40, 50], [0, 0, 0, 0, 0, 0, 0]),
        ([10, 20, 30, 40, 25, 26], [1, 1, 1, 1, 0, 0]),
        ([10, 20, 3, 40, 50], [0, 0, 0, 0, 0]),
        ([1 << 60, 20, 30], [1, 0, 0]),
        ([10, 10, 10], [0, 0, 0]),
    ],
)
def test_one_cpu(values: list[int], epochs: list[int]) -> None:
    assert assign_epochs([stamps(*values)])[0].tolist() == epochs


def test_cpus_are_aligned_by_counting_from_the_end() -> None:
    found = assign_epochs([stamps(500, 510, 10, 20), stamps(15, 25)])
    assert [epochs.tolist() for epochs in found] == [[1, 1, 0, 0], [0, 0]]


def test_a_single_subbuf_needs_another_cpu_to_agree() -> None:
    alone = assign_epochs([stamps(500, 510, 10), stamps(500, 515, 520)])
    assert alone[0].tolist() == [0, 0, 0]
    agreed = assign_epochs([stamps(500, 510, 10), stamps(500, 515, 12, 20)])
    assert agreed[0].tolist() == [1, 1, 0]


def test_a_single_subbuf_is_of_the_boot_that_another_cpu_has_alone() -> None:
    found = assign_epochs([stamps(10, 20, 30), stamps(200, 210, 220, 15), stamps()])
    assert [epochs.tolist() for epochs in found] == [[0, 0, 0], [1, 1, 1, 0], []]
    for other in (stamps(20, 30), stamps(10, 20, 205)):
        found = assign_epochs([other, stamps(200, 210, 220, 15)])
        assert not any(epochs.any() for epochs in found)


def test_outliers() -> None:
    assert outliers(stamps(1, 2, 900, 3, 4)).tolist() == [False, False, True, False, False]
    assert outliers(stamps(1, 2, 0, 3, 4)).tolist() == [False, False, True, False, False]
    assert not outliers(stamps(1, 1, 2)).any()
    assert not outliers(stamps()).any()


@pytest.mark.parametrize(
    "cpus",
    [
        # two sub-buffers of neighbouring places overwritten by older or later ones, and another one
        [[10, 20, 30, 3, 7, 40, 50, 45, 60], [5, 15, 25]],
        [[10, 20, 60, 70, 30, 40, 35, 50, 55, 80, 90], [5, 15, 25]],
        # sub-buffers exchanged: within a CPU, between CPUs, at the ends of both
        [[0, 10, 70, 30, 40, 50, 60, 20, 80], [5, 15, 25, 35]],
        [[0, 10, 20, 590, 680, 463, 606, 637, 657, 669, 592, 686, 690], [3, 48, 598, 476, 484, 614]],
        [[0, 33, 50, 55, 56, 51, 52, 53, 54, 58, 57, 59, 57], [1, 12, 41, 50, 52]],
        [[507, 175, 255, 267, 275, 282, 150, 326], [7, 143, 350, 366, 0]],
    ],
)
def test_exchanged_sub_buffers_are_no_boots(cpus: list[list[int]]) -> None:
    assert [epochs.tolist() for epochs in assign_epochs([stamps(*cpu) for cpu in cpus])] == [[0] * len(c) for c in cpus]


@pytest.mark.parametrize("seed", range(20))
def test_boots_are_found_in_spite_of_damage(seed: int) -> None:
    rnd = np.random.default_rng(seed)
    last = int(rnd.integers(5, 20))
    wanted = [[1] * 25 + [0] * last, [1] * 18 + [0] * 2 * last]
    cpus = []
    for cpu, epochs in enumerate(wanted):
        older, newer = (
            np.arange(begin + cpu, begin + 400, 10)[: epochs.count(boot)] for boot, begin in ((1, 5000), (0, 20))
        )
        cpus.append(np.concatenate([older, newer]).astype(np.uint64) * np.uint64(10**6))
    for place in (int(rnd.integers(2, 12)), int(rnd.integers(15, 24))):
        cpus[0][place] ^= np.uint64(1 << int(rnd.integers(10, 60)))
    assert [epochs.tolist() for epochs in assign_epochs(cpus)] == wanted


@pytest.mark.parametrize(
    ("cpus", "epochs"),
    [
        # the last boot outlives the one before it, and has few sub-buffers below its end
        ([[25, 26, 27, 28, 29, 30, 31, 32, 2, 12, 24, 36, 48]] * 2, [[1] * 8 + [0] * 5] * 2),
        ([[5, 300, 310, 320, 10, 40, 80, 120, 360]] * 2, [[1] * 4 + [0] * 5] * 2),
        # two short boots, and damage along the CPU that shows one
        (
            [[50, 51, 52, 53, 54, 1, 2], [50, 51, 52, 53, 54, 1, 2], [50, 53, 52, 51, 57, 55, 56]],
            [[1] * 5 + [0] * 2] * 2 + [[0] * 7],
        ),
    ],
)
def test_short_boots(cpus: list[list[int]], epochs: list[list[int]]) -> None:
    assert [found.tolist() for found in assign_epochs([stamps(*cpu) for cpu in cpus])] == epochs
