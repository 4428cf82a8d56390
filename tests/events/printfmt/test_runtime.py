# SPDX-License-Identifier: Apache-2.0
"""What compiled print fmts read of records that lie."""

from __future__ import annotations

import numpy as np

from rbdump.events.printfmt.runtime import blobs, load
from rbdump.events.rows import Memory, Rows
from tests.events.printfmt.rendering import LE64

DATA = np.arange(20, dtype=np.uint8)
ROWS = Rows(Memory(DATA, LE64), np.array([0, 8, 16]), np.array([8, 8, 4], np.int32))


def word(begin: int) -> int:
    return int.from_bytes(bytes(range(begin, begin + 8)), "little")


def test_integers_that_are_not_all_inside_the_record_are_zero() -> None:
    assert load(ROWS, 0, 8, False, 8).tolist() == [word(0), word(8), 0]
    assert load(ROWS, np.array([0, 1, -1]), 4, False, 8).tolist() == [0x03020100, 0x0C0B0A09, 0]
    assert load(ROWS, 0, 4, False, np.array([4, 3, 4])).tolist() == [0x03020100, 0, 0x13121110]
    assert load(ROWS, np.array([4, 5, 0]), 4, True, 99).tolist() == [0x07060504, 0, 0x13121110]
    assert load(ROWS.select(np.array([0, 1])), 0, 8, False, 8).tolist() == [word(0), word(8)]


def test_bytes_that_are_not_all_inside_the_record_are_none() -> None:
    assert blobs(ROWS, 2, 2, 9) == [bytes([2, 3]), bytes([10, 11]), bytes([18, 19])]
    assert blobs(ROWS, np.array([0, 6, 3]), np.array([8, 3, 1]), 9) == [bytes(range(8)), None, bytes([19])]
    assert blobs(ROWS, np.array([-1, 0, 0]), np.array([1, -1, 5]), 9) == [None, None, None]
    assert blobs(ROWS, 0, 1, np.array([0, -1, 1])) == [b"\0", None, b"\x10"]
