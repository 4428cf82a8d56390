# SPDX-License-Identifier: Apache-2.0
"""What the user wants to see, as words; `choose` of the events floor does the choosing."""

from __future__ import annotations

from dataclasses import dataclass

from rbdump.errors import UsageError
from rbdump.events.catalog import Catalog
from rbdump.events.choose import Choice, choose_cpus, choose_events, parse_pids, parse_time

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events to show; everything left empty chooses all. Several conditions must all hold."""

    cpus: tuple[str, ...] = ()
    """CPU lists: ``0,2-3``."""
    events: tuple[str, ...] = ()
    """Names or globs: ``sched_switch``, ``sched:*``."""
    pids: tuple[str, ...] = ()
    """Lists of process ids: ``1,42``."""
    since: str | None = None
    """A time as printed, or from the end: ``-5s``."""
    until: str | None = None
    last: int | None = None
    """How many events, counted from the end, of those that the rest leaves."""
    filter: str | None = None
    """An expression of the kernel's event filter grammar."""
    boot: str = "0"
    """``0`` is the last boot, ``1`` the one before it; ``all``."""

    def epoch(self) -> int | None:
        """Which boot's records are meant, None for all. UsageError when `boot` is neither a number nor ``all``."""
        if self.boot == "all":
            return None
        if not (self.boot.isascii() and self.boot.isdigit()):
            raise UsageError(f"--boot {self.boot!r}: give 0 for the last boot, 1 for the one before it, or all")
        return int(self.boot)

    def choice(self, catalog: Catalog, *, nr_cpus: int, in_ns: bool) -> Choice:
        """The words understood, for a region of ``nr_cpus``. UsageError, one sentence, when one makes no sense."""
        wanted = None
        if self.filter is not None:
            from rbdump.events.filter import parse_filter  # slow to import, and most runs have none

            wanted = parse_filter(self.filter)
        return Choice(
            cpus=choose_cpus(self.cpus, nr_cpus) if self.cpus else None,
            events=choose_events(self.events, catalog) if self.events else None,
            pids=frozenset().union(*map(parse_pids, self.pids)) if self.pids else None,
            since=parse_time(self.since, in_ns=in_ns, role="since") if self.since is not None else None,
            until=parse_time(self.until, in_ns=in_ns, role="until") if self.until is not None else None,
            filter=wanted,
            last=self.last,
        )
