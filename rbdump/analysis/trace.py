# SPDX-License-Identifier: Apache-2.0
"""One region with its sources: what `rbdump.open` returns, and what every command works on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.analysis.child import write_all
from rbdump.analysis.jobs import write_slices
from rbdump.analysis.knowledge import Knowledge, choose_clock, clock_counts_ns, gather_knowledge
from rbdump.analysis.selection import Selection
from rbdump.analysis.sources import SourceFiles, Sources, read_files
from rbdump.analysis.walking import Walk
from rbdump.errors import UsageError
from rbdump.events.choose import choose
from rbdump.events.comms import TaskNames, task_names, unknown_task
from rbdump.events.entries import Entries
from rbdump.events.rows import Memory
from rbdump.findings import Finding, Severity
from rbdump.render.bodies import Bodies, LastBoot, unknown_events
from rbdump.render.funcgraph import fold_funcgraph
from rbdump.render.jsonl import JsonRenderer
from rbdump.render.prefix import PrefixRenderer
from rbdump.render.style import Style, style_of
from rbdump.render.trace import Origin, TraceRenderer, encode, header
from rbdump.ring import RecordState

__all__ = ["Event", "Trace"]

SLICE = 1 << 15
"""Rows that are rendered at a time: bounds the memory, and is what workers take in turn."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as `Trace.events` yields it and as `rbdump parse --jsonl` prints it."""

    ts: int
    """Nanoseconds, or the raw value of a trace clock that does not count them."""
    cpu: int
    pid: int
    comm: str
    """Name of the task; ``<...>`` when nobody knows it."""
    flags: str
    """The five latency characters."""
    event: str | None
    """``system:name``; None when no format is known."""
    fields: dict[str, Any]
    """Values by name, without the common fields: int, bool, str, or a list of int."""
    text: str
    """What the kernel prints behind the time stamp."""
    offset: int
    """Byte offset of the record's payload in the (decompressed) input."""
    lost: int | None = 0
    """Events that were lost just before this one; None when nobody counted them."""
    boot: int = 0
    """How many boots before the last one it was recorded."""
    state: str = "live"
    """``live``, ``consumed``, ``uncommitted`` or ``stray``."""


@dataclass(frozen=True, slots=True)
class _View:
    """The rows that a selection leaves, ready to render."""

    entries: Entries
    names: npt.NDArray[np.int32]
    leaf: npt.NDArray[np.int64]

    def part(self, rows: slice) -> tuple[Entries, npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        return self.entries.select(rows), self.names[rows], self.leaf[rows]

    def slices(self) -> list[tuple[slice, str]]:
        """The rows in slices of a bounded size that hold records of one kind, and the line that introduces each kind.

        Boots are kept apart, and what was not committed; the records of the last boot alone need no introduction.
        """
        records = self.entries.records
        kind = records.epoch.astype(np.int16) * 2 + (records.state != RecordState.UNCOMMITTED)
        bounds = [0, *(np.flatnonzero(kind[1:] != kind[:-1]) + 1).tolist(), len(kind)]
        found: list[tuple[slice, str]] = []
        for begin, end in pairwise(bounds):
            title = _title(*divmod(int(kind[begin]), 2)) if len(bounds) > 2 and end > begin else ""
            cuts = range(begin, end, SLICE)
            found += [(slice(at, min(at + SLICE, end)), title if at == begin else "") for at in cuts]
        return found


def _title(epoch: int, committed: int) -> str:
    if not committed:
        return "# rbdump: behind the last commit: what was being written when the machine died, or older bytes\n"
    return f"# rbdump: boot={epoch}{' (the last one)' if not epoch else ''}\n"


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
        return gather_knowledge(self._walk, self.entries, self.memory, self.sources, self._source_files)

    @cached_property
    def names(self) -> TaskNames:
        """The task name of each of `entries`."""
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

        digest = hashlib.sha256(self.region.data.data).hexdigest()
        return summarize(self.region, self.findings, name=self.source.name, sha256=digest, clock=self.clock)

    def lines(self, selection: Selection | None = None, *, raw_fields: bool = False) -> Iterator[str]:
        """The lines of the trace without the ``#`` lines on top; an event may have several (a stack)."""
        view = self._view(selection or Selection())
        renderer, bodies = self._text_renderer(raw_fields)
        for rows, _ in view.slices():
            text = renderer.render(*view.part(rows)).decode("utf-8", "surrogateescape")
            yield from text.removesuffix("\n").split("\n")
        self._found += bodies.findings

    def events(self, selection: Selection | None = None) -> Iterator[Event]:
        """The events one by one, with typed fields."""
        view = self._view(selection or Selection(), fold=False)
        renderer, bodies = self._json_renderer(raw_fields=False)
        for rows, _ in view.slices():
            entries, names, _ = view.part(rows)
            for line in renderer.render(entries, names).splitlines():
                yield Event(**json.loads(line))
        self._found += bodies.findings

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
        view = self._view(selection or Selection(), fold=not jsonl)
        slices = view.slices()
        if jsonl:
            json_renderer, bodies = self._json_renderer(raw_fields)

            def render(index: int) -> bytes:
                entries, names, _ = view.part(slices[index][0])
                return json_renderer.render(entries, names)
        else:
            text_renderer, bodies = self._text_renderer(raw_fields)
            write_all(fd, encode(self._header(len(view.entries))))

            def render(index: int) -> bytes:
                rows, title = slices[index]
                return title.encode() + text_renderer.render(*view.part(rows))

        self._found += write_slices(fd, len(slices), render, lambda: bodies.findings, jobs)

    def _view(self, selection: Selection, *, fold: bool = True) -> _View:
        known, entries = self.knowledge, self.entries
        choice = selection.choice(known.catalog, in_ns=known.facts.in_ns)
        entry_fmts = [known.catalog.by_name(f"ftrace:{name}") for name in ("funcgraph_entry", "fgraph_retaddr_entry")]
        exit_fmt = known.catalog.by_name("ftrace:funcgraph_exit") if fold else None
        folded = fold_funcgraph(entries, self.memory, [fmt for fmt in entry_fmts if fmt is not None], exit_fmt)
        keep = folded.keep
        epoch = selection.epoch()
        if epoch is not None:
            boots = int(entries.records.epoch.max(initial=0)) + 1
            if epoch >= boots:
                raise UsageError(f"--boot {epoch}: the buffer holds {boots} boot{'s' * (boots > 1)}, and 0 is the last")
            keep = keep & (entries.records.epoch == epoch)
        if keep.all():
            rows: npt.NDArray[np.int64] | slice = slice(None)
        else:
            rows = np.flatnonzero(keep)
            entries = entries.select(rows)
        names = self.names.index[rows]
        leaf = folded.leaf[rows]
        chosen, findings = choose(
            entries,
            choice,
            known.catalog,
            self.memory,
            lambda: TaskNames(self.names.names, names),
            string_at=known.facts.string_at,
            function_range=self._function_range,
        )
        entries = entries.select(chosen)
        self._found += findings + unknown_events(entries, known.catalog)
        return _View(entries, names[chosen], leaf[chosen])

    def _function_range(self, name: str) -> tuple[int, int] | None:
        """First address, and the one behind the last, of a function by name or by any address inside it."""
        table = self.knowledge.table
        if table is None:
            return None
        addr = int(name, 16) if name.startswith("0x") else table.addr(name)
        if addr is None:
            return None
        index, offset, size = table.nearest(np.array([addr], np.uint64))
        if index[0] < 0:
            return None
        start = addr - int(offset[0])
        return start, start + int(size[0])

    @cached_property
    def _style(self) -> Style:
        return style_of(self.region.layout.name, self.knowledge.catalog)

    def _bodies(self, raw_fields: bool) -> Bodies:
        known = self.knowledge
        self._check_clock()
        return Bodies(
            known.catalog,
            known.facts,
            self._style,
            self.memory,
            nr_cpus=len(self.region.cpus),
            last_boot=self._last_boot() if raw_fields else None,
            comm_of=self._comm_of,
        )

    def _last_boot(self) -> LastBoot:
        known = self.knowledge
        delta = self.sources.text_delta
        moved = delta != 0 if delta is not None else known.table is None or known.table.mentions("kaslr")
        return LastBoot(delta or 0, moved, [module.addr for module in self.region.modules])

    def _check_clock(self) -> None:
        known = self.knowledge
        if known.clock is None:
            text = "the region does not store its trace clock: local is assumed (--clock names another)"
            self._found.append(Finding(Severity.INFO, "clock-assumed", text))

    def _comm_of(self, pid: int) -> str:
        return self._comms_by_pid.get(pid, unknown_task(pid))

    @cached_property
    def _comms_by_pid(self) -> dict[int, str]:
        pids, first = np.unique(self.entries.pid, return_index=True)
        seen = self.names.index[first].tolist()
        return {pid: self.names.names[name] for pid, name in zip(pids.tolist(), seen, strict=True)} | dict(
            self.knowledge.saved_cmdlines
        )

    def _text_renderer(self, raw_fields: bool) -> tuple[TraceRenderer, Bodies]:
        known, bodies = self.knowledge, self._bodies(raw_fields)
        prefix = PrefixRenderer(self.names.names, lazy=self._style.lazy, in_ns=known.facts.in_ns)
        return TraceRenderer(prefix, bodies), bodies

    def _json_renderer(self, raw_fields: bool) -> tuple[JsonRenderer, Bodies]:
        known, bodies = self.knowledge, self._bodies(raw_fields)
        return JsonRenderer(known.catalog, bodies, self.memory, self.names.names, lazy=self._style.lazy), bodies

    def _header(self, shown: int) -> str:
        region = self.region
        origin = Origin(
            region.layout.name,
            region.abi,
            self.knowledge.clock or "local",
            region.text_addr,
            region.data_addr,
            region.kaslr_offset,
            tuple((module.name, module.addr) for module in region.modules),
        )
        return header(shown, len(self.records), sum(cpu.online for cpu in region.cpus), origin)
