# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from rbdump.abi import Abi
from rbdump.kernel.memory import ImageMemory, Segment


def test_behind_a_section_without_contents_the_segment_around_it_goes_on() -> None:
    around = Segment(0x1000, np.arange(256, dtype=np.uint8))
    memory = ImageMemory([around, Segment(0x1010, np.empty(0, np.uint8), 16)], Abi("little", 8))
    assert memory.read(0x100E, 2) == b"\x0e\x0f"
    assert memory.read(0x1010, 2) == b"\0\0"
    assert memory.read(0x1020, 2) == b"\x20\x21"
    assert memory.read(0x1100, 2) == b""
    assert memory.read(0xFFF, 2) == b""
