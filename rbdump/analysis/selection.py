# SPDX-License-Identifier: Apache-2.0
"""What the user wants to see, as words; `choose` of the events floor does the choosing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbdump.errors import UsageError
from rbdump.events.catalog import Catalog
from rbdump.events.choose import Choice, choose_cpus, choose_events, parse_pids, parse_time

__all__ = ["Selection"]

Words = str | int | Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events to show; everything left empty chooses all. Several conditions must all hold.

    ``cpus``: CPU lists (``"0,2-3"``) or numbers; ``events``: names or globs (``"sched_switch"``, ``"sched:*"``);
    ``pids``: process ids (``"1,42"`` or numbers); each is one of them or a sequence. ``since``, ``until``: a time as
    printed (seconds, raw units for clocks that count no time), or from the end (``"-5s"``); ``last``: how many events,
    counted from the end; ``filter``: an expression of the kernel's event filter grammar; ``boot``: 0 is the last one, 1
    the one before it, or ``"all"``. What makes no sense is a UsageError where the selection is used.
    """

    cpus: Words = ()
    events: str | Sequence[str] = ()
    pids: Words = ()
    since: str | float | None = None
    until: str | float | None = None
    last: int | None = None
    filter: str | None = None
    boot: str | int = "0"

    def epoch(self) -> int | None:
        """Which boot's records are meant, None for all. UsageError when `boot` is neither a number nor ``all``."""
        boot = str(self.boot)
        if boot == "all":
            return None
        if not (boot.isascii() and boot.isdigit()):
            raise UsageError(f"--boot {boot!r}: give 0 for the last boot, 1 for the one before it, or all")
        return int(boot)

    def choice(self, catalog: Catalog, *, nr_cpus: int, in_ns: bool) -> Choice:
        """The words understood, for a region of ``nr_cpus``. UsageError, one sentence, when one makes no sense."""
        wanted = None
        if self.filter is not None:
            from rbdump.events.filter import parse_filter  # slow to import, and most runs have none

            wanted = parse_filter(self.filter)
        if self.last is not None and self.last < 1:
            raise UsageError(f"--last {self.last}: give how many events, 1 or more")
        cpus, events, pids = map(_words, (self.cpus, self.events, self.pids))
        since, until = map(_time_text, (self.since, self.until))
        return Choice(
            cpus=choose_cpus(cpus, nr_cpus) if cpus else None,
            events=choose_events(events, catalog) if events else None,
            pids=frozenset().union(*map(parse_pids, pids)) if pids else None,
            since=parse_time(since, in_ns=in_ns, role="since") if since is not None else None,
            until=parse_time(until, in_ns=in_ns, role="until") if until is not None else None,
            filter=wanted,
            last=self.last,
        )


def _time_text(time: str | float | None) -> str | None:
    if isinstance(time, float):  # str() would spell a small one 5e-05
        return f"{time:.9f}".rstrip("0").rstrip(".")
    return None if time is None else str(time)


def _words(given: Words) -> list[str]:
    return [str(word) for word in ([given] if isinstance(given, str | int) else given)]
