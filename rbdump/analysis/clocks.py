# SPDX-License-Identifier: Apache-2.0
"""The trace clock of a region: who names it, and what it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbdump.errors import UsageError
from rbdump.ring import Region
from rbdump.ring.region import CLOCKS

if TYPE_CHECKING:
    from rbdump.events.tracefs import Tracefs

__all__ = ["choose_clock", "clock_counts_ns"]

NOT_IN_NS = frozenset({"counter", "uptime", "x86-tsc", "ppc-tb"})
"""Trace clocks that count something else than nanoseconds (trace_clocks[] in kernel/trace/trace.c)."""


def clock_counts_ns(clock: str | None) -> bool:
    """Whether time stamps of that trace clock are nanoseconds; an unknown clock is taken for one that does."""
    return clock not in NOT_IN_NS


def choose_clock(region: Region, given: str | None, tracefs: Sequence[Tracefs]) -> str | None:
    """The trace clock's name. UsageError if the user's is none."""
    known = {*CLOCKS, *NOT_IN_NS}
    if given is not None and given not in known:
        raise UsageError(f"--clock {given!r} is no trace clock; there are {', '.join(sorted(known))}")
    return given or region.clock_name or next((source.clock for source in tracefs if source.clock), None)
