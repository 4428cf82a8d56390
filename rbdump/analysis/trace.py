# SPDX-License-Identifier: Apache-2.0
"""One region with its sources: what `rbdump.open` returns, and what every command works on.

What only printing needs is imported when it is asked for: it takes as long as to walk some megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from rbdump.analysis.clocks import choose_clock, clock_counts_ns
from rbdump.analysis.sources import SourceFiles, Sources, read_files
from rbdump.analysis.walking import Walk
from rbdump.events.entries import Entries
from rbdump.events.rows import Memory
from rbdump.findings import Finding

if TYPE_CHECKING:
    from rbdump.analysis.knowledge import Knowledge
    from rbdump.analysis.printing import Printer
    from rbdump.analysis.selection import Selection
    from rbdump.events.comms import TaskNames

__all__ = ["Event", "Trace"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as `Trace.events` yields it and as `rbdump parse --jsonl` prints it.

    ``ts`` in nanoseconds, or raw for a trace clock that counts something else; ``comm`` is ``<...>`` for a task
    whose name nobody knows; ``flags`` the five latency characters; ``event`` is ``system:name``, None when no
    format is known; ``fields`` its values by name, without the common ones (int, bool, str, list of int), without a
    format its ``id`` and ``raw`` (hex); ``text`` what the kernel prints behind the time stamp; ``offset`` of the
    record's payload in the decompressed input, in bytes; ``lost`` events just before this one, None when nobody
    counted them; ``boot``: how many boots before the last one; ``state``: ``live``, ``consumed``, ``uncommitted``
    or ``stray``.
    """

    ts: int
    cpu: int
    pid: int
    comm: str
    flags: str
    event: str | None
    fields: dict[str, Any]
    text: str
    offset: int
    lost: int | None = 0
    boot: int = 0
    state: str = "live"


class Trace:
    """A region, walked, and what is known of the kernel that wrote it."""

    def __init__(
        self,
        walk: Walk,
        sources: Sources,
        files: Callable[[], SourceFiles] | None = None,
    ) -> None:
        self._walk = walk
        self.source = walk.source
        self.region = walk.region
        self.records = walk.records
        self.sources = sources
        self.memory = Memory(walk.region.data, walk.region.abi)
        self._files = files or partial(read_files, sources)
        self._found: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """Everything found so far, each once: in the input, the region, the sources and while rendering."""
        known = self.__dict__.get("knowledge")
        parts = [*self.source.findings, *self.region.findings, *self._found]
        if known is not None:
            parts += [*known.findings, *known.catalog.findings]
        return list(dict.fromkeys(parts))

    @cached_property
    def entries(self) -> Entries:
        """All records with their event id, flags and pid."""
        entries, findings = self._walk.entries()
        self._found += findings
        return entries

    @cached_property
    def knowledge(self) -> Knowledge:
        """What the sources tell; opened when first asked for."""
        from rbdump.analysis.knowledge import gather_knowledge

        return gather_knowledge(self._walk, self.entries, self.memory, self.sources, self._source_files)

    @cached_property
    def names(self) -> TaskNames:
        """The task name of each of `entries`."""
        from rbdump.events.comms import task_names

        known = self.knowledge
        return task_names(self.entries, known.catalog, self.memory, known.saved_cmdlines)

    @cached_property
    def _source_files(self) -> SourceFiles:
        return self._files()

    @property
    def clock(self) -> str | None:
        """The trace clock as the user, the region or a copy of tracefs names it; None when nobody does."""
        return choose_clock(self.region, self.sources.clock, self._source_files.copies)

    @property
    def in_ns(self) -> bool:
        """Whether time stamps are nanoseconds."""
        return clock_counts_ns(self.clock)

    def summary(self) -> dict[str, Any]:
        """What `rbdump info --json` prints; see the README for the keys."""
        import hashlib  # these are slow to import, and only reports need them

        from rbdump.render.report import summarize

        digest = hashlib.sha256(self.source.data.data).hexdigest()
        return summarize(self.region, self.findings, name=self.source.name, sha256=digest, clock=self.clock)

    def lines(self, selection: Selection | None = None, *, raw_fields: bool = False) -> Iterator[str]:
        """The lines of the trace without the ``#`` lines on top; an event may have several (a stack).

        What is wrong with the sources or the selection is raised with the first line: SourceError, UsageError.
        """
        printer, chosen = self._printer(selection)
        yield from printer.lines(chosen, raw_fields=raw_fields)

    def events(self, selection: Selection | None = None) -> Iterator[Event]:
        """The events one by one, with typed fields. Raises as `lines` does, with the first event."""
        printer, chosen = self._printer(selection)
        for line in printer.json_lines(chosen):
            yield Event(**json.loads(line))

    def write(
        self,
        fd: int,
        selection: Selection | None = None,
        *,
        jsonl: bool = False,
        raw_fields: bool = False,
        jobs: int = 1,
    ) -> None:
        """Write the trace to a file descriptor as text, or as JSON lines; ``jobs`` processes share the rendering.

        ``raw_fields`` prints as the kernel prints the buffer of a last boot. OutputError when writing fails.
        """
        printer, chosen = self._printer(selection)
        printer.write(fd, chosen, jsonl=jsonl, raw_fields=raw_fields, jobs=jobs)

    def _printer(self, selection: Selection | None) -> tuple[Printer, Selection]:
        from rbdump.analysis.printing import Printer
        from rbdump.analysis.selection import Selection

        printer = Printer(
            self.region,
            self.entries,
            self.memory,
            self.knowledge,
            self.names,
            self._found,
            text_delta=self.sources.text_delta,
        )
        return printer, selection or Selection()
