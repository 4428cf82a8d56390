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


def test_outliers() -> None:
    assert outliers(stamps(1, 2, 900, 3, 4)).tolist() == [False, False, True, False, False]
    assert outliers(stamps(1, 2, 0, 3, 4)).tolist() == [False, False, True, False, False]
    assert not outliers(stamps(1, 1, 2)).any()
    assert not outliers(stamps()).any()
