# SPDX-License-Identifier: Apache-2.0
"""Event id to format, over several sources: which one is asked first, and why an id is unknown.

Ids from __TRACE_LAST_TYPE on are given out at boot and by every module and dynamic event after it, so the same id means
another event in another kernel: only sources of the kernel that wrote the region may be put together.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from rbdump.events.format import EventFormat, FormatError
from rbdump.events.texts import BUILT_IN, FormatTexts
from rbdump.findings import Finding, Severity
from rbdump.numbers import parse_number

__all__ = ["Catalog"]


class Catalog:
    """Formats by event id; the first source that has an id decides."""

    def __init__(self, sources: Sequence[FormatTexts], numbering: int = 21) -> None:
        """``sources`` in order of precedence, ftrace's built-in events last; ``numbering`` is the first dynamic id."""
        self.sources = tuple(sources)
        self.numbering = numbering
        self.findings: list[Finding] = []
        """Broken formats, each said once, when it was first asked for."""
        self._formats: dict[int, EventFormat | None] = {}
        self._ids: dict[tuple[str, str], int] = {}
        taken: set[int] = set()
        for source in self.sources:
            for key, event_id in source.names().items():
                # A name counts only where its id is not another event of a source before.
                if event_id not in taken:
                    self._ids.setdefault(key, event_id)
            taken.update(source)
        self._reasons: dict[int, str] = {}

    def get(self, event_id: int) -> EventFormat | None:
        """The format of an id; None when no source has it, or all that have it are broken (then `findings` tell)."""
        try:
            return self._formats[event_id]
        except KeyError:
            pass
        found: EventFormat | None = None
        for source in self.sources:
            if event_id not in source:
                continue
            try:
                found = source[event_id]
                break
            except FormatError as error:
                self._reasons[event_id] = str(error)
                self.findings.append(Finding(Severity.WARNING, "broken-format", str(error)))
        self._formats[event_id] = found
        return found

    def names(self) -> dict[tuple[str, str], int]:
        """Event id by (system, name), over all sources; nothing is parsed."""
        return self._ids

    def by_name(self, name: str) -> EventFormat | None:
        """The event ``system:name``, or the only or first one of that ``name`` in any system."""
        system, colon, event = name.rpartition(":")
        for (its_system, its_name), event_id in self._ids.items():
            if its_name == event and (not colon or its_system == system):
                return self.get(event_id)
        return None

    def ids(self, pattern: str) -> list[int]:
        """Ids of the events that a pattern names, as set_event of tracefs takes it: ``system:event``, ``system:*``,
        ``system:``, or one word for an event or a whole system; ``*``, ``?`` and ``[]`` as in a shell; or a number.
        """
        number = parse_number(pattern)
        if number is not None:
            return [number] if number <= 0xFFFF else []
        system, colon, event = pattern.partition(":")
        if colon:
            wanted = (system or "*", event or "*")
            return [
                event_id
                for (its_system, its_name), event_id in self._ids.items()
                if fnmatch.fnmatchcase(its_system, wanted[0]) and fnmatch.fnmatchcase(its_name, wanted[1])
            ]
        return [
            event_id
            for (its_system, its_name), event_id in self._ids.items()
            if fnmatch.fnmatchcase(its_name, pattern) or its_system == pattern
        ]

    def near(self, name: str) -> list[str]:
        """Up to three names that a mistyped one may have meant."""
        import difflib  # slow to import, for a case that seldom is

        candidates = {f"{system}:{event}" for system, event in self._ids} | {event for _, event in self._ids}
        candidates |= {f"{system}:*" for system, _ in self._ids}
        return difflib.get_close_matches(name, sorted(candidates), 3, 0.6)

    def why_unknown(self, event_id: int) -> str:
        """For people: why `get` has nothing for an id."""
        if event_id in self._reasons:
            return self._reasons[event_id]
        if event_id == 0:
            return "no event has the id 0, and it is given to records that are too short to hold one"
        if event_id < self.numbering:
            return "ids of this range are ftrace's own, and none of its events has this one"
        others = [source for source in self.sources if source.origin != BUILT_IN and len(source)]
        if not others:
            return "nothing was given that tells the formats of this kernel (a copy of tracefs, a kernel image)"
        if event_id > max(max(source) for source in others):
            return (
                "the id lies behind those of all known events: an event of a module, or one made at run time "
                "(a kprobe, a synthetic or a user event)"
            )
        return f"{' and '.join(source.origin for source in others)} does not list it"

    def parsed(self, event_ids: Iterable[int]) -> dict[int, EventFormat]:
        """The formats of those ids that are known."""
        return {event_id: fmt for event_id in event_ids if (fmt := self.get(event_id)) is not None}
