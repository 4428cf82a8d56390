# SPDX-License-Identifier: Apache-2.0
"""Which rows are wanted: by CPU, event, pid, time, filter and count, all on columns, before anything is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rbdump.columns import look_up
from rbdump.errors import UsageError
from rbdump.events.catalog import Catalog
from rbdump.events.comms import TaskNames
from rbdump.events.cpulist import parse_cpulist
from rbdump.events.entries import Entries
from rbdump.events.format import EventFormat
from rbdump.events.rows import Memory
from rbdump.findings import Finding, Severity, first_of
from rbdump.numbers import parse_number

if TYPE_CHECKING:
    from rbdump.events.filter import Filter

__all__ = ["Choice", "Time", "choose", "choose_cpus", "choose_events", "parse_pids", "parse_time"]

_TIME = re.compile(r"(?P<minus>-?)(?P<whole>\d{1,20})(?:\.(?P<fraction>\d{1,12}))?\s*(?P<unit>s|ms|us|ns)?", re.ASCII)
_UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_PID_LIMIT = 1 << 31

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Time:
    """A point in the trace, in units of the trace clock."""

    value: int
    from_end: bool
    """Counted back from the last record of the trace."""
    slack: int = 0
    """Half a unit of the last digit that was given: text rounds time stamps to microseconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What `choose` is to keep; None and empty keep everything."""

    cpus: frozenset[int] | None = None
    events: frozenset[int] | None = None
    """Event ids."""
    pids: frozenset[int] | None = None
    since: Time | None = None
    until: Time | None = None
    filter: Filter | None = None
    last: int | None = None
    """Keep this many of the rows that all others leave, the last ones."""


def choose_cpus(lists: Sequence[str], count: int) -> frozenset[int]:
    """The CPUs that lists like ``0-3,5`` name, of a region that has ``count``.

    UsageError when one of their numbers and ranges names none that there is.
    """
    wanted: set[int] = set()
    for item in (item.strip() for text in lists for item in text.split(",")):
        try:
            cpus = parse_cpulist(item)
        except UsageError as error:
            raise UsageError(f"--cpu {error}") from None
        if min(cpus) >= count:
            there = f"CPUs 0-{count - 1}" if count > 1 else "CPU 0 only"
            raise UsageError(f"--cpu {item}: there is no such CPU; the region has {there}")
        wanted |= cpus
    return frozenset(wanted)


def parse_pids(text: str) -> frozenset[int]:
    """Process ids, with commas between them. UsageError when one is none."""
    pids: set[int] = set()
    for item in text.split(","):
        pid = parse_number(item)
        if pid is None or pid >= _PID_LIMIT:
            raise UsageError(f"--pid {text!r} is no list of process ids like 1,42: {item.strip()!r} is none")
        pids.add(pid)
    return frozenset(pids)


def parse_time(text: str, *, in_ns: bool, role: Literal["since", "until"]) -> Time:
    """``12.345678`` (seconds as lines of text show them), ``1500ms``, or from the end ``-5s``, ``-20ms``, ``-5us``.

    With a clock that does not count nanoseconds: a number of its units, or ``-1000`` units from the end.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--{role} {text!r} is no time like 12.345678, -5s or -20ms")
    from_end = bool(match["minus"])
    whole, fraction = int(match["whole"]), match["fraction"] or ""
    if not in_ns:
        if fraction or match["unit"]:
            raise UsageError(
                f"--{role} {text!r}: this trace clock counts no seconds; give its own units, as 12345 or -100"
            )
        return Time(whole, from_end)
    exponent = _UNITS[match["unit"] or "s"]
    digits = (fraction + "0" * exponent)[:exponent]
    value = whole * 10**exponent + (int(digits) if digits else 0)
    slack = 500 if not from_end and exponent - len(fraction) >= 3 else 0
    return Time(value, from_end, slack)


def choose_events(patterns: Sequence[str], catalog: Catalog) -> frozenset[int] | None:
    """Ids of the events that any of the patterns names (each may hold several, with commas between).

    None, for all events, when one is ``*``: those without a format have no name. UsageError when one names nothing.
    """
    wanted: set[int] = set()
    named = [item.strip() for text in patterns for item in text.split(",")]
    for pattern in named:
        found = catalog.ids(pattern) if pattern else []
        if not found:
            near = catalog.near(pattern)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            if all(system == "ftrace" for system, _ in catalog.names()):
                hint = " among ftrace's own; --vmlinux or --tracefs tells the names of the others (or give the number)"
            raise UsageError(f"--event {pattern!r}: there is no such event{hint}")
        wanted.update(found)
    return None if "*" in named or "*:*" in named else frozenset(wanted)


def _within(entries: Entries, choice: Choice) -> npt.NDArray[np.bool_]:
    """Rows between the two times, both included; times from the end count from the last record of the last boot.

    That is the last row: damaged records may be as late as they like, and stand where their sub-buffer does.
    """
    low, high = 0, (1 << 64) - 1
    ts, epoch = entries.records.ts, entries.records.epoch
    end = int(ts[epoch == epoch.min()][-1]) if len(ts) else 0
    if choice.since:
        low = end - choice.since.value if choice.since.from_end else choice.since.value - choice.since.slack
    if choice.until:
        high = end - choice.until.value if choice.until.from_end else choice.until.value + choice.until.slack
        # A rounded microsecond stands for the nanoseconds from -500 to +499 around it.
        high -= bool(choice.until.slack)
    if high < 0 or low > high or low >= 1 << 64:
        return np.zeros(len(ts), bool)
    return np.asarray((ts >= np.uint64(max(low, 0))) & (ts <= np.uint64(min(high, (1 << 64) - 1))), bool)


def _member(values: npt.NDArray[Any], wanted: frozenset[int]) -> npt.NDArray[np.bool_]:
    if len(wanted) == 1:
        return np.asarray(values == next(iter(wanted)), bool)
    if values.dtype.itemsize <= 2:
        table = np.zeros(1 << 16, bool)
        table[[item for item in wanted if item < len(table)]] = True
        return look_up(table, values)
    return np.isin(values, np.array(sorted(wanted), np.int64))


Resolver = Callable[["Filter", EventFormat, Indices], npt.NDArray[np.bool_]]


def _filtered(
    entries: Entries, rows: Indices, wanted: Filter, event_ids: Iterable[int], catalog: Catalog, resolve: Resolver
) -> tuple[Indices, list[Finding]]:
    """The rows that a filter leaves, in order; events that cannot match are never looked into.

    ``event_ids`` are those that were chosen, in this region or not: UsageError when the filter can match none of them.
    """
    ids = entries.id[rows]
    keep = np.zeros(len(rows), bool)
    findings: list[Finding] = []
    left_out: dict[str, list[str]] = {}
    unknown = 0
    asked = False
    counts = np.bincount(ids, minlength=1)
    for event_id in np.flatnonzero(counts).tolist():
        fmt = catalog.get(event_id)
        if fmt is None:
            unknown += int(counts[event_id])
            continue
        problems = wanted.problems(fmt)
        if problems:
            left_out.setdefault(problems[0], []).append(f"{fmt.system}:{fmt.name}")
            continue
        asked = True
        at = np.flatnonzero(ids == event_id)
        keep[at] = resolve(wanted, fmt, rows[at])
    if unknown:
        text = f"{unknown} records of events without a format were left out, since a filter cannot look into them"
        findings.append(Finding(Severity.WARNING, "filter-unknown-event", text))
    for reason, events in left_out.items():
        text = f"the filter leaves out all records of {first_of(events, 4)}: {reason}"
        severity = Severity.INFO if asked else Severity.WARNING
        findings.append(Finding(severity, "filter-event-left-out", text))
    if left_out and not asked:
        _require_fields(wanted, [fmt for event_id in event_ids if (fmt := catalog.get(event_id)) is not None])
    return rows[keep], findings


def _require_fields(wanted: Filter, fmts: Sequence[EventFormat]) -> None:
    """UsageError when a filter asks what can be asked of none of these events."""
    import difflib  # slow to import, for a case that seldom is

    missing = wanted.never(fmts)
    if not missing:
        return
    names = sorted({field.name for fmt in fmts for field in fmt.fields})
    strange = [field for field in wanted.fields() if f"it has no field {field}" in missing]
    near = [name for field in strange for name in difflib.get_close_matches(field, names, 1, 0.7)]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UsageError(f"--filter {wanted.text!r} fits none of the events: {'; '.join(missing)}{hint}")


def choose(
    entries: Entries,
    choice: Choice,
    catalog: Catalog,
    memory: Memory,
    comms: Callable[[], TaskNames],
    *,
    string_at: Callable[[int], str | None] = lambda addr: None,
    function_range: Callable[[str], tuple[int, int] | None] = lambda name: None,
) -> tuple[Indices | slice, list[Finding]]:
    """The rows of ``entries`` to keep, in order (a slice when that says it), and what the filter left out.

    Cheap columns come first, the filter looks only at what they leave. ``comms`` gives the names of the tasks of all
    rows and is called only for a filter; `FilterContext` tells what the other two are. UsageError when no
    event suits the filter.
    """
    tests: list[npt.NDArray[np.bool_]] = []
    if choice.events is not None:
        tests.append(_member(entries.id, choice.events))
    if choice.cpus is not None:
        tests.append(_member(entries.records.cpu, choice.cpus))
    if choice.pids is not None:
        tests.append(_member(entries.pid, choice.pids))
    if choice.since or choice.until:
        tests.append(_within(entries, choice))
    if not tests and choice.filter is None:
        count = len(entries) if choice.last is None else min(choice.last, len(entries))
        return slice(len(entries) - count, len(entries)), []
    rows = np.flatnonzero(np.logical_and.reduce(tests)) if tests else np.arange(len(entries))
    findings: list[Finding] = []
    if choice.filter is not None:
        from rbdump.events.filter import FilterContext

        names = comms()

        def resolve(wanted: Filter, fmt: EventFormat, chosen: Indices) -> npt.NDArray[np.bool_]:
            cpu = entries.records.cpu[chosen]
            context = FilterContext(cpu, names.select(chosen), string_at, function_range)
            return wanted.mask(fmt, entries.rows(memory, chosen), context)

        event_ids = catalog.names().values() if choice.events is None else choice.events
        rows, findings = _filtered(entries, rows, choice.filter, event_ids, catalog, resolve)
    if choice.last is not None:
        rows = rows[max(0, len(rows) - choice.last) :]
    return rows, findings
