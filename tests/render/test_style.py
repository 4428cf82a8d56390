# SPDX-License-Identifier: Apache-2.0
"""What the formats at hand tell of the spellings of a kernel."""

from __future__ import annotations

import pytest

from rbdump.render.style import style_of
from tests.events.records import format_text
from tests.render.scene import catalog

ARM_EVENT = format_text("arm_event", 300, ("u64 mpidr", 8, 8, 0))
MENDED = format_text("arm_event", 300, ("u64 mpidr", 8, 8, 0), ("__data_loc u8[] pei_buf", 16, 4, 0))
OF_6_18 = format_text("dma_map_phys", 301, ("u64 addr", 8, 8, 0))


@pytest.mark.parametrize(
    ("layout", "events", "faults"),
    [
        ("B", [("ras", ARM_EVENT)], True),
        ("B", [("ras", MENDED)], False),
        ("B", [], False),
        ("C2", [], True),
        ("C2", [("ras", MENDED)], True),  # 6.17.13
        ("C2", [("dma", OF_6_18)], False),
    ],
)
def test_kernels_whose_synthetic_events_print_efault(layout: str, events: list[tuple[str, str]], faults: bool) -> None:
    assert style_of(layout, catalog(events)).synthetic_faults is faults
