# SPDX-License-Identifier: Apache-2.0
"""The format texts of one source by event id, each parsed when it is first asked for.

A kernel has some 1600 events and a region holds a few dozen of them; finding the ``ID:`` line of a text costs a
hundredth of parsing it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from rbdump.events.format import EventFormat, FormatError, parse_format
from rbdump.events.recorded import as_recorded

__all__ = ["BUILT_IN", "FormatTexts", "TextEvent"]

BUILT_IN = "built in"
"""The origin of formats that rbdump brings along."""

_ID_LINE = re.compile(rb"\nID:[ \t]*(\d{1,5})[ \t\r]*\n")
_ID_WITHIN = 1024


class TextEvent(Protocol):
    """An event whose format a source spells as tracefs would."""

    @property
    def system(self) -> str:
        """The folder under ``events/``."""

    @property
    def name(self) -> str:
        """The folder under that."""

    @property
    def id(self) -> int:
        """The number in trace_entry.type."""

    @property
    def text(self) -> str:
        """The text of the tracefs ``format`` file."""


class FormatTexts(Mapping[int, EventFormat]):
    """Event formats by id; ``texts[id]`` raises FormatError when that text is broken, KeyError when there is none."""

    def __init__(self, origin: str, long_size: int = 8) -> None:
        self.origin = origin
        """Which source this is, for people: a path, ``built in``."""
        self.long_size = long_size
        """Bytes of an ``unsigned long`` of the kernel that the formats are of."""
        self._texts: dict[int, tuple[str, str, bytes | str]] = {}
        self._parsed: dict[int, EventFormat] = {}
        self._ids: dict[tuple[str, str], int] = {}

    @classmethod
    def of_events(cls, events: Iterable[TextEvent], origin: str, long_size: int) -> FormatTexts:
        """The formats of a source that knows its events' ids, as a kernel image does."""
        texts = cls(origin, long_size)
        for event in events:
            texts.add(event.system, event.name, event.text, event.id)
        return texts

    def add(self, system: str, name: str, text: bytes | str, event_id: int | None = None) -> bool:
        """Takes one format text in; the id is read from it unless given. False when it has none or another has it."""
        if event_id is None:
            raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            match = _ID_LINE.search(raw, 0, _ID_WITHIN)
            event_id = int(match[1]) if match else -1
        if not 0 <= event_id <= 0xFFFF or event_id in self._texts:
            return False
        self._texts[event_id] = (system, name, text)
        self._ids[system, name] = event_id
        return True

    def without(self, event_ids: Collection[int]) -> FormatTexts:
        """The same source without some of its events."""
        rest = FormatTexts(self.origin, self.long_size)
        rest._texts = {event_id: text for event_id, text in self._texts.items() if event_id not in event_ids}
        rest._ids = {name: event_id for name, event_id in self._ids.items() if event_id not in event_ids}
        return rest

    def __getitem__(self, event_id: int) -> EventFormat:
        parsed = self._parsed.get(event_id)
        if parsed is None:
            system, name, text = self._texts[event_id]
            words = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
            parsed = parse_format(words, system, self.origin, name=name, long_size=self.long_size)
            if parsed.id != event_id:
                raise FormatError(
                    f"{self.origin}: format of {system}:{name}: ID {parsed.id}, where {event_id} is meant"
                )
            parsed = self._parsed[event_id] = as_recorded(parsed)
        return parsed

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._texts

    def __iter__(self) -> Iterator[int]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def names(self) -> dict[tuple[str, str], int]:
        """Event id by (system, name), nothing parsed."""
        return self._ids

    def name_of(self, event_id: int) -> tuple[str, str]:
        """(system, name) of an id, nothing parsed. KeyError when there is none."""
        return self._texts[event_id][:2]
