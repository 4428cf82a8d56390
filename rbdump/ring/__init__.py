# SPDX-License-Identifier: Apache-2.0
"""Bytes to records: the region, its sub-buffers and the walk. Mirrors kernel/trace/ring_buffer.c, knows no event."""

from __future__ import annotations

from rbdump.ring.decode import show_records, walk_region
from rbdump.ring.find import find_regions
from rbdump.ring.open import MAX_OTHER_REGIONS, open_region
from rbdump.ring.records import RecordState, RecordTable
from rbdump.ring.region import CpuBuffer, Region, ScratchModule
from rbdump.ring.strict import POLICIES, Policy, default_policy
from rbdump.ring.subbufs import Subbufs, SubbufState
from rbdump.ring.sweep import Sweep, sweep
from rbdump.ring.uncommitted import walk_uncommitted

__all__ = [
    "MAX_OTHER_REGIONS",
    "POLICIES",
    "CpuBuffer",
    "Policy",
    "RecordState",
    "RecordTable",
    "Region",
    "ScratchModule",
    "SubbufState",
    "Subbufs",
    "Sweep",
    "default_policy",
    "find_regions",
    "open_region",
    "show_records",
    "sweep",
    "walk_region",
    "walk_uncommitted",
]
