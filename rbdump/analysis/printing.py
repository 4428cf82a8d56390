# SPDX-License-Identifier: Apache-2.0
"""The rows of a trace that a selection leaves, rendered: as lines, as JSON, to a file descriptor.

Rendering is slow to import, and a report of the region needs none of it: only `rbdump.analysis.trace` asks for this
module, and late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rbdump.analysis.child import write_all
from rbdump.analysis.jobs import write_slices
from rbdump.analysis.knowledge import Knowledge
from rbdump.analysis.selection import Selection
from rbdump.errors import UsageError
from rbdump.events.choose import choose
from rbdump.events.comms import TaskNames, unknown_task
from rbdump.events.entries import Entries
from rbdump.events.rows import Memory
from rbdump.findings import Finding, Severity
from rbdump.numbers import parse_number
from rbdump.render.bodies import Bodies, LastBoot, unknown_events
from rbdump.render.funcgraph import fold_funcgraph
from rbdump.render.prefix import PrefixRenderer
from rbdump.render.style import Style, style_of
from rbdump.render.trace import Origin, TraceRenderer, encode, header
from rbdump.ring import RecordState, Region

if TYPE_CHECKING:
    from rbdump.render.jsonl import JsonRenderer

__all__ = ["Printer"]

_ARM64_BITS = (36, 39, 42, 47, 48)
_NOT_MOVED = frozenset(
    {
        0xFFFF_FFFF_8100_0000,
        0xFFFF_FFFF_8000_2000,
        *(2**64 - 2 ** (bits - 1) + (2 << 30) for bits in _ARM64_BITS),
    }
)
"""Where ``_text`` lies without KASLR, which the next boot will not have either: on x86-64, on riscv64 behind the 8 KiB
of its entry, and on arm64, where 2 GiB of modules lie between the linear map and the kernel, by the bits of a virtual
address.
"""
SLICE = 1 << 15
"""Rows that are rendered at a time at most: bounds the memory, and is what the processes of --jobs take."""


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
            cuts = [*range(begin, end - 2 * SLICE, SLICE)]
            # shorter ones at the end: the processes of --jobs are done at nearly the same time
            cuts += [*range(cuts[-1] + SLICE if cuts else begin, end, SLICE // 4), end]
            found += [(slice(at, upto), title if at == begin else "") for at, upto in pairwise(cuts)]
        return found


def _title(epoch: int, committed: int) -> str:
    if not committed:
        return "# rbdump: behind the last commit: what was being written when the machine died, or older bytes\n"
    return f"# rbdump: boot={epoch}{' (the last one)' if not epoch else ''}\n"


class Printer:
    """Renders the events of one region. What is found on the way is appended to ``findings``."""

    def __init__(
        self,
        region: Region,
        entries: Entries,
        memory: Memory,
        known: Knowledge,
        names: TaskNames,
        findings: list[Finding],
        *,
        text_delta: int | None = None,
    ) -> None:
        self._region = region
        self._entries = entries
        self._memory = memory
        self._known = known
        self._names = names
        self._found = findings
        self._text_delta = text_delta

    def lines(self, selection: Selection, *, raw_fields: bool) -> Iterator[str]:
        """The lines of the trace without those on top."""
        self._known.verify()
        view = self._view(selection)
        renderer, bodies = self._text_renderer(raw_fields)
        for rows, _ in view.slices():
            text = renderer.render(*view.part(rows)).decode("utf-8", "surrogateescape")
            yield from text.removesuffix("\n").split("\n")
        self._found += bodies.findings

    def json_lines(self, selection: Selection) -> Iterator[bytes]:
        """One JSON object for each event."""
        self._known.verify()
        view = self._view(selection, fold=False)
        renderer, bodies = self._json_renderer(raw_fields=False)
        for rows, _ in view.slices():
            entries, names, _ = view.part(rows)
            yield from renderer.render(entries, names).splitlines()
        self._found += bodies.findings

    def write(self, fd: int, selection: Selection, *, jsonl: bool, raw_fields: bool, jobs: int) -> None:
        """Write the trace to a file descriptor. OutputError when that fails."""
        try:
            view = self._view(selection, fold=not jsonl)
        except UsageError:
            self._known.verify()  # of formats of another kernel nothing can be chosen
            raise
        slices = view.slices()
        if jsonl:
            json_renderer, bodies = self._json_renderer(raw_fields)
            head = b""

            def render(rows: slice, title: str) -> bytes:
                entries, names, _ = view.part(rows)
                return json_renderer.render(entries, names)
        else:
            text_renderer, bodies = self._text_renderer(raw_fields)
            head = encode(self._header(len(view.entries)))

            def render(rows: slice, title: str) -> bytes:
                return title.encode() + text_renderer.render(*view.part(rows))

        found: dict[tuple[int, str], tuple[int, Finding]] = {}

        def render_slice(index: int) -> bytes:
            data = render(*slices[index])
            for key, finding in bodies.said.items():
                found.setdefault(key, (index, finding))
            return data

        def begin() -> None:
            self._known.verify()
            write_all(fd, head)

        said = write_slices(fd, len(slices), render_slice, found.items, jobs, begin)
        # whichever process met what: said is what one process would have said
        first: dict[tuple[int, str], Finding] = {}
        for key, (_, finding) in sorted(said, key=lambda item: item[1][0]):
            first.setdefault(key, finding)
        self._found += first.values()

    def _view(self, selection: Selection, *, fold: bool = True) -> _View:
        known, entries = self._known, self._entries
        choice = selection.choice(known.catalog, nr_cpus=len(self._region.cpus), in_ns=known.facts.in_ns)
        entry_fmts = [known.catalog.by_name(f"ftrace:{name}") for name in ("funcgraph_entry", "fgraph_retaddr_entry")]
        exit_fmt = known.catalog.by_name("ftrace:funcgraph_exit") if fold else None
        folded = fold_funcgraph(entries, self._memory, [fmt for fmt in entry_fmts if fmt is not None], exit_fmt)
        keep = folded.keep
        epoch = selection.epoch()
        if epoch is not None:
            boots = int(entries.records.epoch.max(initial=0)) + 1
            if epoch >= boots:
                raise UsageError(f"--boot {epoch}: the buffer holds {boots} boot{'s' * (boots > 1)}, and 0 is the last")
            if boots > 1:
                keep = keep & (entries.records.epoch == epoch)
        if keep.all():
            rows: npt.NDArray[np.int64] | slice = slice(None)
        else:
            rows = np.flatnonzero(keep)
            entries = entries.select(rows)
        names = self._names.index[rows]
        leaf = folded.leaf[rows]
        chosen, findings = choose(
            entries,
            choice,
            known.catalog,
            self._memory,
            lambda: TaskNames(self._names.names, names),
            string_at=known.facts.string_at,
            function_range=self._function_range,
        )
        entries = entries.select(chosen)
        self._found += findings + unknown_events(entries, known.catalog)
        return _View(entries, names[chosen], leaf[chosen])

    def _function_range(self, name: str) -> tuple[int, int] | None:
        """First address, and the one behind the last, of a function by name or by any address inside it."""
        table = self._known.table
        if table is None:
            return None
        addr = parse_number(name) if name[:1].isdigit() else next(iter(table.addrs_named(name).tolist()), None)
        if addr is None or addr >= 1 << 64:
            return None
        index, offset, size = table.nearest(np.array([addr], np.uint64))
        if index[0] < 0:
            return None
        start = addr - int(offset[0])
        return start, start + int(size[0])

    @cached_property
    def _style(self) -> Style:
        return style_of(self._region.layout.name, self._known.catalog)

    def _bodies(self, raw_fields: bool) -> Bodies:
        known = self._known
        self._check_clock()
        return Bodies(
            known.catalog,
            known.facts,
            self._style,
            self._memory,
            nr_cpus=len(self._region.cpus),
            last_boot=self._last_boot() if raw_fields else None,
            comm_of=self._comm_of,
        )

    def _last_boot(self) -> LastBoot:
        region, table, delta = self._region, self._known.table, self._text_delta
        if delta is not None:
            moved = delta != 0
        elif table is None:
            moved = region.text_addr not in _NOT_MOVED
        else:  # whether the kernel can move itself, and whether it did
            moved = table.names.of_movable_kernel and table.addr("_text") not in _NOT_MOVED
        told = region.text_addr is not None or not region.layout.has_scratch
        return LastBoot(delta or 0, moved, told, [module.addr for module in region.modules])

    def _check_clock(self) -> None:
        known = self._known
        if known.clock is None:
            text = "the region does not store its trace clock: local is assumed (--clock names another)"
            self._found.append(Finding(Severity.INFO, "clock-assumed", text))

    def _comm_of(self, pid: int) -> str:
        return self._comms_by_pid.get(pid, unknown_task(pid))

    @cached_property
    def _comms_by_pid(self) -> dict[int, str]:
        pids, first = np.unique(self._entries.pid, return_index=True)
        seen = self._names.index[first].tolist()
        return {pid: self._names.names[name] for pid, name in zip(pids.tolist(), seen, strict=True)} | dict(
            self._known.saved_cmdlines
        )

    def _text_renderer(self, raw_fields: bool) -> tuple[TraceRenderer, Bodies]:
        known, bodies = self._known, self._bodies(raw_fields)
        prefix = PrefixRenderer(self._names.names, lazy=self._style.lazy, in_ns=known.facts.in_ns)
        return TraceRenderer(prefix, bodies), bodies

    def _json_renderer(self, raw_fields: bool) -> tuple[JsonRenderer, Bodies]:
        from rbdump.render.jsonl import JsonRenderer

        known, bodies = self._known, self._bodies(raw_fields)
        return JsonRenderer(known.catalog, bodies, self._memory, self._names.names, lazy=self._style.lazy), bodies

    def _header(self, shown: int) -> str:
        region = self._region
        origin = Origin(
            region.layout.name,
            region.abi,
            self._known.clock or "local",
            region.text_addr,
            region.data_addr,
            region.kaslr_offset,
            tuple((module.name, module.addr) for module in region.modules),
        )
        return header(shown, len(self._entries), sum(cpu.online for cpu in region.cpus), origin)
