# SPDX-License-Identifier: Apache-2.0
"""Do these formats describe these bytes? Event ids shift from kernel to kernel, so a wrong source decodes as well.

Every record is held against the format that a source has for its id. What must hold (trace_event_raw_* and the
macros of include/trace/stages/, ring_buffer_lock_reserve()):

* the payload is as long as the structure, rounded up as the ring buffer does; with dynamic data at least as long;
* a ``__data_loc`` points behind the fixed fields and ends inside the payload, a string there ends with a NUL; a
  ``char`` array that the print fmt takes by ``__get_dynamic_array`` is bytes (``regmap_bulk_write``, SCSI commands);
* a task name is terminated and printable; a bool is 0 or 1; pids, priorities and CPU numbers are in range;
* a pointer is canonical.

Values that a print fmt has no name for (`__print_symbolic`) say nothing: right kernels have them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.columns import look_up
from rbdump.errors import WrongImageError
from rbdump.events.entries import PID_MAX_LIMIT, Entries
from rbdump.events.format import USER_SYSTEMS, EventFormat, Field
from rbdump.events.rows import Memory, Rows
from rbdump.events.strings import location
from rbdump.findings import Finding, Severity

__all__ = ["EventFit", "FormatFit", "require_fit", "score_event", "score_formats"]

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

_SAMPLE = 200
"""Records of one event that are looked at, evenly spread; more of them say the same."""
_MIN_SAMPLE = 100
"""An event that has fewer among `_ROWS` evenly spread records is looked for among all."""
_ROWS = 1 << 17
_FTRACE = "ftrace"
_MAX_CPU = 8192
_MAX_TASK_NAME = 64
_MAX_PRIO = 140
_MAX_PADDING = 12
"""Bytes between the dynamic data and the end of the payload: padding of the structure, and of the ring buffer."""
_GOOD_SCORE = 0.95
_MIN_SCORE = 0.75
"""The formats of the right kernel score 1.00, those of another one of the same series 0.3 to 0.7."""
_MIN_SHARE = 0.9
_MIN_RECORDS = 20
_LOOSE = frozenset({"syscalls", "synthetic", *USER_SYSTEMS})
"""Systems whose dynamic data need neither fill the record nor end with a NUL; probes are such too."""


@dataclass(frozen=True, slots=True)
class EventFit:
    """The records of one event held against one format."""

    id: int
    name: str
    """``system:name``; empty when the source has no event of this id."""
    records: int
    """In the region, all of them."""
    share: float
    """Of the records that were looked at, how many fit; 0..1."""
    misfits: tuple[tuple[str, int], ...] = ()
    """What did not hold and for how many of the records that were looked at, most frequent first."""


@dataclass(frozen=True, slots=True)
class FormatFit:
    """How well one source describes the records of a region."""

    origin: str
    events: tuple[EventFit, ...]
    """One for each event id, ftrace's own (which are the same everywhere) left out; most records first."""

    @property
    def score(self) -> float:
        """0..1; the mean over the event ids, each weighted by the square root of its records. 1 without any."""
        weights = [event.records**0.5 for event in self.events]
        total = sum(weights)
        return sum(w * event.share for w, event in zip(weights, self.events, strict=True)) / total if total else 1.0

    @property
    def known_score(self) -> float:
        """The score of those events that the source has: modules and dynamic events may well be missing in it."""
        return FormatFit(self.origin, tuple(event for event in self.events if event.name)).score

    @property
    def unknown(self) -> int:
        """Records whose id the source does not have."""
        return sum(event.records for event in self.events if not event.name)

    @property
    def records(self) -> int:
        """All records that were scored."""
        return sum(event.records for event in self.events)

    def __str__(self) -> str:
        unknown = f", {self.unknown} of unknown events" if self.unknown else ""
        return f"{self.origin}: {self.score:.3f} ({self.records} records of {len(self.events)} events{unknown})"


def score_formats(
    get: Callable[[int], EventFormat | None], entries: Entries, memory: Memory, *, origin: str = ""
) -> FormatFit:
    """Score a source: ``get`` gives its format of an id, ``entries`` are the records, of all events.

    Ids below the first dynamic one are ftrace's own and are not scored.
    """
    counts = entries.counts()
    sample = _sample(entries)
    ends = np.cumsum(np.bincount(entries.id[sample], minlength=len(counts)))
    events = []
    for event_id in np.flatnonzero(counts).tolist():
        number = int(counts[event_id])
        fmt = get(event_id)
        if event_id < 20 or (fmt is not None and fmt.system == _FTRACE):
            continue
        if fmt is None:
            events.append(EventFit(event_id, "", number, 0.0))
            continue
        its = sample[int(ends[event_id - 1]) : int(ends[event_id])]
        rows = entries.rows(memory, its[:: -(-len(its) // _SAMPLE)])
        events.append(score_event(fmt, rows, number))
    events.sort(key=lambda event: (-event.records, event.id))
    return FormatFit(origin, tuple(events))


def _sample(entries: Entries) -> npt.NDArray[np.intp]:
    """Some rows of each event that there is, event by event in the order of their ids: to sort all rows takes long."""
    step = -(-len(entries) // _ROWS) or 1
    some = entries.id[::step]
    wanted = look_up(np.bincount(some, minlength=1 << 16) < _MIN_SAMPLE, entries.id)
    wanted[::step] = True
    rows = np.flatnonzero(wanted)
    return rows[np.argsort(entries.id[rows], kind="stable")]


def require_fit(fit: FormatFit, *, force: bool = False) -> list[Finding]:
    """Refuse formats that do not describe the records: WrongImageError with the figures, or a finding if ``force``.

    Unknown ids do not count. Formats that describe most records but not all are used, and a finding says so.
    """
    known = [event for event in fit.events if event.name]
    worst = [event for event in known if event.share < _MIN_SHARE]
    if fit.known_score >= _GOOD_SCORE or sum(event.records for event in known) < _MIN_RECORDS:
        return []
    sample = ", ".join(f"{event.name} ({event.misfits[0][0]})" for event in worst[:3] if event.misfits)
    message = (
        f"{fit.origin}: its formats describe {fit.known_score:.0%} of the records; {len(worst)} of {len(known)} events"
        f" do not fit{': ' + sample if sample else ''}"
    )
    if fit.known_score < _MIN_SCORE and not force:
        raise WrongImageError(f"{message}: they are of another kernel (--force uses them all the same)")
    severity = Severity.ERROR if fit.known_score < _MIN_SCORE else Severity.WARNING
    return [Finding(severity, "formats-do-not-fit", message)]


def score_event(fmt: EventFormat, rows: Rows, records: int | None = None) -> EventFit:
    """Hold ``rows``, all of one event, against its format; ``records`` is how many there are if it is a sample."""
    end = max((field.offset + field.size for field in (*fmt.common_fields, *fmt.fields)), default=0)
    whole = np.flatnonzero(rows.length >= end)
    misfits = Counter({"too short": len(rows) - len(whole)} if len(whole) < len(rows) else {})
    checked = rows.select(whole)
    good = np.ones(len(whole), np.bool_)
    for what, fits in _checks(fmt, checked, end) if len(whole) else ():
        wrong = len(fits) - int(np.count_nonzero(fits))
        if wrong:
            misfits[what] += wrong
            good &= fits
    share = float(np.count_nonzero(good)) / len(rows) if len(rows) else 1.0
    name = f"{fmt.system}:{fmt.name}"
    return EventFit(fmt.id, name, len(rows) if records is None else records, share, tuple(misfits.most_common()))


def _checks(fmt: EventFormat, rows: Rows, end: int) -> Iterator[tuple[str, Bools]]:
    probe = any(field.name.startswith("__probe_") for field in fmt.fields)
    loose = probe or fmt.system in _LOOSE
    dynamic = [field for field in fmt.fields if field.is_dynamic]
    if not dynamic and not any(field.size == 0 for field in fmt.fields):
        first, *others = _payload_lengths(end)
        fits = rows.length == first
        for length in others:
            fits |= rows.length == length
        yield "length", fits
    data_end = np.full(len(rows), end, np.int64)
    for field in dynamic:
        begin, size = _location(field, rows)
        used = (begin != 0) | (size != 0)
        fits = ~used | ((begin >= end) & (begin + size <= rows.length))
        yield f"{field.name} outside the record", fits
        data_end = np.maximum(data_end, begin + size)
        if "char" in field.type and not loose and f"_dynamic_array({field.name}" not in fmt.print_fmt:
            terminated = fits & used & (size > 0)
            last = rows.offset[terminated] + (begin + size)[terminated] - 1
            fits = np.ones(len(rows), np.bool_)
            fits[terminated] = rows.memory.integers(last, 1, signed=False) == 0
            yield f"{field.name} without its NUL", fits
    if dynamic and not loose:  # nothing lies behind the dynamic data but padding
        yield "length", (data_end > rows.length) | (rows.length - data_end <= _MAX_PADDING)
    for field in fmt.fields:
        yield from _field_checks(fmt, field, rows)


def _payload_lengths(size: int) -> list[int]:
    """What ring_buffer_event_length() can give for a structure whose last field ends at ``size``."""
    # The structure may be padded up to the alignment of a 64-bit member.
    lengths = {-(-size // align) * align for align in (4, 8)}
    if 8 in lengths:
        lengths.add(12)  # room for a time extend in case it is discarded, but with RB_FORCE_8BYTE_ALIGNMENT
    return sorted(lengths)


def _location(field: Field, rows: Rows) -> tuple[Integers, Integers]:
    """Where a dynamic array lies; (0, 0) where the word is 0."""
    begin, size = location(rows, field.offset, relative=field.is_rel_loc)
    if field.is_rel_loc:
        begin[(size == 0) & (begin == field.offset + 4)] = 0
    return begin, size


def _values(field: Field, rows: Rows) -> Integers:
    return rows.integers(field.offset, field.size, signed=field.signed).astype(np.int64)


def _field_checks(fmt: EventFormat, field: Field, rows: Rows) -> Iterator[tuple[str, Bools]]:
    name = field.name
    if field.array_length is not None:
        if field.type.startswith("char[") and "comm" in name and 0 < field.size <= _MAX_TASK_NAME:
            yield f"{name} is no task name", _is_task_name(rows, field)
        return
    if field.is_dynamic or fmt.system == "syscalls":
        return
    if field.type == "bool" and field.size == 1:
        yield f"{name} is no bool", _values(field, rows) <= 1
    elif field.type.endswith("*") and field.size == 8:
        yield f"{name} is no pointer", _is_canonical(rows.integers(field.offset, 8, signed=False))
    elif field.size == 4:
        value = rows.integers(field.offset, 4, signed=True).astype(np.int64)
        if name == "pid" or name.endswith("_pid"):
            yield f"{name} out of range", (value >= -1) & (value <= PID_MAX_LIMIT)
        elif name == "cpu" or name.endswith("_cpu"):
            yield f"{name} out of range", (value >= -1) & (value <= _MAX_CPU)
        elif fmt.system == "sched" and (name == "prio" or name.endswith("prio")):
            yield f"{name} out of range", (value >= -1) & (value <= _MAX_PRIO)


def _is_task_name(rows: Rows, field: Field) -> Bools:
    """A NUL within the array and no control character before it."""
    octets = np.stack([rows.integers(field.offset + i, 1, signed=False) for i in range(field.size)], axis=1)
    ended = np.cumsum(octets == 0, axis=1) > 0
    printable = (octets >= 0x20) & (octets != 0x7F)
    fits: Bools = ended[:, -1] & (ended | printable).all(axis=1)
    return fits


def _is_canonical(value: npt.NDArray[np.generic]) -> Bools:
    """Whether an address can exist on a 64-bit machine: in the kernel's upper half, or low; arm64 may tag the top byte.

    Where in the upper half differs: 0xff... on most, 0xc000... to 0xc00c... on powerpc, 0x9000... on loongarch.
    """
    top = value.astype(np.uint64) >> np.uint64(48)
    fits: Bools = (top == 0) | (top >= 0x8000) | ((top & np.uint64(0xFF)) == 0xFF)
    return fits
