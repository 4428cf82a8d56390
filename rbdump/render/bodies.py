# SPDX-License-Identifier: Apache-2.0
"""Bodies of all events of a slice: rows are grouped by event id, each group is rendered as a whole and put back.

Mirrors print_trace_fmt() (kernel/trace/trace.c), which picks the printer of an event. What has no format is said with
its bytes; what has a format that cannot be rendered is printed as its fields, and a finding says why, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.errors import SourceError
from rbdump.events.catalog import Catalog
from rbdump.events.comms import unknown_task
from rbdump.events.entries import Entries
from rbdump.events.facts import Facts
from rbdump.events.format import USER_SYSTEMS, EventFormat
from rbdump.events.printfmt import UnsupportedPrintFmt, compile_print_fmt
from rbdump.events.rows import Memory, Rows
from rbdump.findings import Finding, Severity, first_of
from rbdump.render import devices, funcgraph, function, latency, prints, stacks, switches
from rbdump.render.dynamic import eprobe_renderer, is_eprobe, is_gone, probe_renderer, synthetic_renderer
from rbdump.render.fields import RawStyle, fields_renderer
from rbdump.render.group import Group, MissingField, Renderer, bounded, payloads, render_by_event
from rbdump.render.reader import Reader, reader_facts, stale_facts
from rbdump.render.style import Style
from rbdump.render.syscalls import syscall_renderer
from rbdump.ring.records import TRACE_ENTRY_SIZE

__all__ = ["Bodies", "LastBoot", "unknown_events"]

_IDS_SAID = 12
_MESSAGE_LIMIT = 400


@dataclass(frozen=True, slots=True)
class LastBoot:
    """Print as the kernel prints the buffer of a last boot: fields, and addresses moved to where it lies itself."""

    text_delta: int = 0
    """`_text` of the reading kernel less that of the dead one; 0 prints the addresses that the dead kernel had."""
    moved: bool = True
    """The reading kernel lies elsewhere: only then it prints fields, for a print fmt would follow stale pointers."""
    told: bool = True
    """The region tells where the dead kernel was: else the reading kernel takes addresses, and print fmts, as if it
    lay there itself."""
    modules: Sequence[int] = ()
    """Addresses of the modules in the scratch."""


def unknown_events(entries: Entries, catalog: Catalog) -> list[Finding]:
    """Which event ids of a table have no format and why, one finding for each reason."""
    counts = entries.counts()
    reasons: dict[str, list[tuple[int, int]]] = {}
    for event_id in np.flatnonzero(counts).tolist():
        if catalog.get(event_id) is None:
            reasons.setdefault(catalog.why_unknown(event_id), []).append((event_id, int(counts[event_id])))
    findings = []
    for why, events in reasons.items():
        shown = first_of([str(event_id) for event_id, _ in events], _IDS_SAID)
        total = sum(count for _, count in events)
        findings.append(Finding(Severity.WARNING, "unknown-event", f"{total} events with the ids {shown}: {why}"))
    return findings


def _unmoved(addr: int) -> int:
    return addr


class Bodies:
    """Renders event bodies; keeps one compiled renderer for each event id."""

    def __init__(
        self,
        catalog: Catalog,
        facts: Facts,
        style: Style,
        memory: Memory,
        *,
        nr_cpus: int = 1,
        last_boot: LastBoot | None = None,
        comm_of: Callable[[int], str] = unknown_task,
    ) -> None:
        """``nr_cpus``: possible CPUs of the dead kernel; ``last_boot``: print fields as the next kernel would;
        ``comm_of``: a task's name by pid, for events that name another task than their own.
        """
        self.said: dict[tuple[int, str], Finding] = {}
        """What could not be rendered as the kernel would have, by event id and code: each is said once."""
        self._catalog = catalog
        self._style = style
        self._memory = memory
        self._nr_cpus = nr_cpus
        self._last_boot = last_boot
        self._comm_of = comm_of
        self._facts = self._stale = facts
        reader = None
        if last_boot is not None:
            reader = Reader(
                facts,
                text_delta=last_boot.text_delta,
                moved=last_boot.moved,
                told=last_boot.told,
                modules=last_boot.modules,
                selective=style.selective,
            )
            self._facts, self._stale = reader_facts(facts, reader), stale_facts(facts, reader)
        adjust = reader.adjust if reader is not None else _unmoved
        self._raw_style = RawStyle(adjust if style.adjusted_fields else None, style.hex_strings)
        self._renderers: dict[int, tuple[Renderer, int]] = {}

    @property
    def findings(self) -> list[Finding]:
        """What could not be rendered as the kernel would have, in the order in which it was found."""
        return list(self.said.values())

    def render(self, entries: Entries, leaf: npt.NDArray[np.int64] | None = None) -> list[str]:
        """The body of each row with its newline, in row order; ``leaf`` as `funcgraph.fold_funcgraph` gives it."""
        return render_by_event(entries.id, lambda event_id, index: self._group(event_id, entries, index, leaf))

    def fitting(self, event_id: int, head: str, body: str) -> str:
        """What the kernel can print of ``body`` behind ``head``, which is all else that it prints of the event."""
        fmt = self._catalog.get(event_id)
        if fmt is None or (fmt.system, fmt.name) != ("ftrace", "raw_data"):
            return body
        return prints.fitting_raw_data(head, body, self._facts.abi)

    def _group(
        self, event_id: int, entries: Entries, index: npt.NDArray[np.intp], leaf: npt.NDArray[np.int64] | None
    ) -> list[str]:
        group = Group(entries.rows(self._memory, index), entries, index, leaf)
        try:
            found = self._renderers.get(event_id)
            if found is None:
                found = self._renderers[event_id] = self._choose(event_id, group.rows)
            renderer, least = found
            return self._rendered(event_id, renderer, least, group)
        except (SourceError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # the rest of the trace must not suffer from one format that nobody thought of
            fmt = self._catalog.get(event_id)
            if fmt is None:
                raise
            words = str(error) if isinstance(error, SourceError) else f"its renderer fails ({error!r})"
            self._say(fmt, "renderer-failed", f"{words}; such records are printed as fields")
            return fields_renderer(fmt, self._facts, self._raw_style)(group)  # others do not depend on who came first

    def _rendered(self, event_id: int, renderer: Renderer, least: int, group: Group) -> list[str]:
        if group.rows.length.min() >= least:
            return renderer(group)
        short: npt.NDArray[np.bool_] = group.rows.length < least
        self._say_short(event_id, least, group, short)
        texts = np.empty(len(group), object)
        fmt = self._catalog.get(event_id)
        assert fmt is not None
        safe = fields_renderer(fmt, self._facts, self._raw_style)
        texts[short] = safe(group.select(short))
        if not short.all():
            texts[~short] = renderer(group.select(~short))
        result: list[str] = texts.tolist()
        return result

    # -- which renderer --------------------------------------------------------------------------------------------

    def _choose(self, event_id: int, rows: Rows) -> tuple[Renderer, int]:
        """The renderer of an id, of which ``rows`` come first, and the bytes that a record must have for it."""
        fmt = self._catalog.get(event_id)
        if fmt is None or (self._last_boot is not None and is_gone(fmt, self._facts)):
            return self._unknown(event_id), 0
        try:
            if fmt.system == "ftrace":
                chosen = self._builtin(fmt)
                return (self._unknown(event_id), 0) if chosen is None else (chosen, _fixed_size(fmt))
            if fmt.system in USER_SYSTEMS or self._prints_fields(fmt):
                return fields_renderer(fmt, self._facts, self._raw_style), 0
            return self._own(fmt, rows), _fixed_size(fmt)
        except (UnsupportedPrintFmt, MissingField) as error:
            self._say(fmt, "print-fmt-unsupported", f"{error}; it is printed as its fields")
            return fields_renderer(fmt, self._facts, self._raw_style), 0

    def _prints_fields(self, fmt: EventFormat) -> bool:
        if self._last_boot is None or not (self._last_boot.moved and self._last_boot.told):
            return False
        if fmt.system == "syscalls" and not self._style.syscall_fields:
            return False
        return fmt.id > self._catalog.numbering  # the first of all others is taken for one of ftrace's own

    def _own(self, fmt: EventFormat, rows: Rows) -> Renderer:
        special: Renderer | None = None
        if fmt.system == "syscalls":
            special = syscall_renderer(fmt, self._style.syscalls)
        elif fmt.system == "synthetic":
            special = synthetic_renderer(fmt, self._facts, self._catalog, faulty=self._style.synthetic_faults)
        else:
            special = probe_renderer(fmt, self._facts) or eprobe_renderer(fmt, self._facts)
        if special is not None:
            return special
        if is_eprobe(fmt, self._facts):
            self._say(fmt, "eprobe-unknown", "the event it is attached to is not known (dynamic_events of tracefs)")
        compiled = compile_print_fmt(fmt, self._stale, rows)
        if compiled.notes:
            self._say(fmt, "print-fmt-incomplete", "; ".join(compiled.notes))
        return lambda group: bounded(compiled, group.rows)

    def _builtin(self, fmt: EventFormat) -> Renderer | None:
        """The printer of one of ftrace's own events; None for those that the kernel has none for."""
        facts = self._facts
        columns, nr_cpus = self._style.graph_columns, self._nr_cpus
        match fmt.name:
            case "function":
                return function.function_renderer(fmt, facts)
            case "func_repeats":
                return function.func_repeats_renderer(fmt, facts)
            case "funcgraph_entry" | "fgraph_retaddr_entry":
                exit_fmt = self._catalog.by_name("ftrace:funcgraph_exit")
                return funcgraph.entry_renderer(fmt, exit_fmt, facts, columns=columns, nr_cpus=nr_cpus)
            case "funcgraph_exit":
                return funcgraph.exit_renderer(fmt, facts, columns=columns, nr_cpus=nr_cpus)
            case "kernel_stack":
                return stacks.kernel_stack_renderer(fmt, facts)
            case "user_stack":
                return stacks.user_stack_renderer(fmt, facts)
            case "print":
                return prints.print_renderer(fmt, facts)
            case "bprint":
                return prints.bprint_renderer(fmt, self._stale)
            case "bputs":
                return prints.bputs_renderer(fmt, self._stale)
            case "raw_data":
                return prints.raw_data_renderer(fmt)
            case "context_switch" | "wakeup":
                return switches.switch_renderer(fmt, self._comm_of)
            case "hwlat":
                return latency.hwlat_renderer(fmt)
            case "osnoise":
                return latency.osnoise_renderer(fmt)
            case "timerlat":
                return latency.timerlat_renderer(fmt)
            case "branch":
                return devices.branch_renderer(fmt)
            case "mmiotrace_rw" if self._last_boot is None:
                return devices.mmio_rw_renderer(fmt)
            case "mmiotrace_map" if self._last_boot is None:
                return devices.mmio_map_renderer(fmt)
        return None

    def _unknown(self, event_id: int) -> Renderer:
        if self._last_boot is not None:
            return lambda group: [f"Unknown type {event_id}\n"] * len(group)
        return lambda group: [f"id={event_id} (no format) raw={raw.hex()}\n" for raw in payloads(group.rows)]

    # -- findings --------------------------------------------------------------------------------------------------

    def _say(self, fmt: EventFormat, code: str, message: str, **where: Any) -> None:
        if (fmt.id, code) not in self.said:
            if len(message) > _MESSAGE_LIMIT:  # it may quote the format
                message = f"{message[: _MESSAGE_LIMIT // 2]} ... {message[-_MESSAGE_LIMIT // 2 :]}"
            text = f"{fmt.system}:{fmt.name}: {message}"
            self.said[fmt.id, code] = Finding(Severity.WARNING, code, text, **where)

    def _say_short(self, event_id: int, least: int, group: Group, short: npt.NDArray[np.bool_]) -> None:
        fmt = self._catalog.get(event_id)
        assert fmt is not None
        first = int(np.flatnonzero(short)[0])
        records, row = group.entries.records, int(group.index[first])
        self._say(
            fmt,
            "record-shorter-than-format",
            f"a record of {int(records.length[row])} bytes, and the format has fields up to byte {least}; "
            "such records are printed as fields",
            cpu=int(records.cpu[row]),
            subbuf=int(records.subbuf[row]),
            offset=int(records.offset[row]),
        )


def _fixed_size(fmt: EventFormat) -> int:
    """Bytes that every record of an event has. A kernel stack may be shorter than the array in its format."""
    fields = [field for field in fmt.fields if not (fmt.name == "kernel_stack" and field.name == "caller")]
    return max((field.offset + field.size for field in fields), default=TRACE_ENTRY_SIZE)
