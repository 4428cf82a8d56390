# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rbdump.columns import distinct, look_up


@pytest.mark.parametrize("values", [[], [3], [3, 1, 3, 2**63], [[2, 1], [1, 2]]])
def test_the_values_of_np_unique(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    assert distinct(column).tolist() == np.unique(column).tolist()
    assert distinct(column).dtype == np.uint64


def test_it_does_not_import_masked_arrays() -> None:
    code = "import sys, numpy; before = 'numpy.ma' in sys.modules; "  # of numpy 1.26 it is a part
    code += "from rbdump.columns import distinct; distinct(numpy.arange(3)); "
    code += "raise SystemExit(before != ('numpy.ma' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("rows", [0, 1, 65_536, 200_001])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64])
def test_looked_up_row_by_row(rows: int, kind: type[np.integer]) -> None:
    table = np.array([7, 5, 3], np.int16)
    index = (np.arange(rows) % 3).astype(kind)
    found = look_up(table, index)
    assert found.dtype == table.dtype
    assert np.array_equal(found, table[index])


def test_an_index_outside_takes_what_is_next_to_it() -> None:
    table = np.array([7, 5, 3])
    assert look_up(table, np.array([-(2**31), -1, 0, 3, 2**31 - 1], np.int32)).tolist() == [7, 7, 7, 3, 3]
    with pytest.raises(IndexError):
        look_up(table[:0], np.zeros(1, np.int32))
