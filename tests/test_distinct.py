# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rbdump.distinct import distinct


@pytest.mark.parametrize("values", [[], [3], [3, 1, 3, 2**63], [[2, 1], [1, 2]]])
def test_the_values_of_np_unique(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    assert distinct(column).tolist() == np.unique(column).tolist()
    assert distinct(column).dtype == np.uint64


def test_it_does_not_import_masked_arrays() -> None:
    code = "import sys, numpy; before = 'numpy.ma' in sys.modules; "  # of numpy 1.26 it is a part
    code += "from rbdump.distinct import distinct; distinct(numpy.arange(3)); "
    code += "raise SystemExit(before != ('numpy.ma' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
