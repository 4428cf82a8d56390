# SPDX-License-Identifier: Apache-2.0
"""Bodies are rendered of some rows at a time; each row gets one."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.events.rows import Memory, Rows
from rbdump.render.group import bounded


@pytest.mark.parametrize("number", [0, 1, 4096, 4097, 20_000])
@pytest.mark.parametrize("width", [10, 9000])
def test_every_row_is_rendered_once(number: int, width: int) -> None:
    memory = Memory(np.zeros(4 * 20_000, np.uint8), Abi("little", 8))
    rows = Rows(memory, 4 * np.arange(number), np.full(number, 4, np.int32))

    def render(some: Rows) -> list[str]:
        return [f"{offset:>{width}}\n" for offset in some.offset.tolist()]

    texts = bounded(render, rows)
    assert len(texts) == number
    if width < 100:
        assert texts == render(rows)
    else:
        assert all(text.endswith("[LINE TOO BIG]\n") for text in texts)
