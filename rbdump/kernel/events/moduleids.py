# SPDX-License-Identifier: Apache-2.0
"""Ids of module events, inferred from the records that a region holds.

A module's events get the lowest free ids when it is loaded, in the order of its table, so they form one block as long
as nothing that was registered before has gone (`alloc_trace_event_type` in kernel/trace/trace_output.c). Nothing
records where the block begins. Two kinds of evidence place it: the order of loading, when every module is known and
nothing else registered events; and the records, which must have the length of their event, strings that end, and
dynamic data inside. What both leave open is left open.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rbdump.abi import Abi
from rbdump.findings import Finding, Severity
from rbdump.kernel.events.formats import ImageEvent
from rbdump.kernel.events.modules import KernelModule, ModuleEvent

__all__ = ["InferredIds", "UnknownEvent", "infer_module_ids"]

RECORD_ALIGNMENT = 4
"""RB_ALIGNMENT: records are padded to multiples of it."""
MAX_ID = 65535
MAX_UNKNOWN = 256
"""More unknown ids than this are damage; comparing all of them with all events would take for ever."""
MIN_EXPLAINED = 2
"""A block is placed by its shape only when it explains as many ids; any record fits some event."""


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An id of a region that no format has."""

    id: int
    lengths: tuple[int, ...]
    """The different lengths of its records in bytes, common fields and the ring buffer's padding included."""
    samples: tuple[bytes, ...] = ()
    """Some of its records, padding included."""


@dataclass(frozen=True, slots=True)
class InferredIds:
    """What could be inferred."""

    events: dict[int, ImageEvent]
    """Id -> event, the id filled in. All of them are inferences, to be marked as such wherever they are shown."""
    findings: list[Finding] = field(default_factory=list)


def infer_module_ids(
    modules: Sequence[KernelModule],
    unknown: Sequence[UnknownEvent],
    *,
    first_id: int,
    abi: Abi,
    complete: bool,
) -> InferredIds:
    """Place the events of modules on the ids of a region that no format explains.

    :param modules: in the order of the scratch.
    :param first_id: the first id behind the kernel's own events (`ImageFormats.next_id`).
    :param complete: every module of the dead kernel is among ``modules``.
    """
    unknown = [event for event in unknown if first_id <= event.id <= MAX_ID]
    with_events = [module for module in modules if module.events]
    if not unknown:
        return InferredIds({})
    fits = _Fits({event.id: event for event in unknown}, abi)
    bases = _by_order(with_events, first_id, fits) if complete else None
    how = "the order of loading"
    if bases is None and len(unknown) > MAX_UNKNOWN:
        return InferredIds({}, [_too_many(len(unknown))])
    if bases is None:
        how = "the shape of their records"
        bases = _by_shape(with_events, first_id, fits)
    placed: dict[int, ImageEvent] = {}
    for module in with_events:
        if (base := bases.get(id(module))) is not None:
            for index, event in enumerate(module.events):
                placed[base + index] = _with_id(event.event, base + index)
    still_open = [event.id for event in unknown if event.id not in placed]
    return InferredIds(placed, _report(placed, still_open, unknown, how))


class _Fits:
    """Whether an event can be the one with an id, by the records of that id."""

    def __init__(self, unknown: dict[int, UnknownEvent], abi: Abi) -> None:
        self.unknown = unknown
        self._ids = sorted(unknown)
        self._abi = abi
        self._memo: dict[tuple[int, int], bool] = {}

    def __call__(self, event_id: int, event: ModuleEvent) -> bool:
        key = (event_id, id(event))
        if key not in self._memo:
            seen = self.unknown[event_id]
            self._memo[key] = all(self._length(event, size) for size in seen.lengths) and all(
                self._record(event, record) for record in seen.samples
            )
        return self._memo[key]

    def block(self, base: int, events: Sequence[ModuleEvent]) -> int:
        """How many of the unknown ids a block of events at ``base`` explains; -1 when one contradicts it."""
        first, last = bisect_left(self._ids, base), bisect_left(self._ids, base + len(events))
        inside = self._ids[first:last]
        return len(inside) if all(self(event_id, events[event_id - base]) for event_id in inside) else -1

    def _length(self, event: ModuleEvent, length: int) -> bool:
        """A record holds its structure, rounded up to the structure's alignment and to the ring buffer's."""
        if event.data_locs or event.rel_locs:
            return length >= event.size
        longest = event.size + -event.size % event.align
        return event.size <= length <= longest + -longest % RECORD_ALIGNMENT

    def _record(self, event: ModuleEvent, record: bytes) -> bool:
        order = self._abi.byteorder
        for offset in (*event.data_locs, *event.rel_locs):
            word = int.from_bytes(record[offset : offset + 4], order)
            size, begin = word >> 16, word & 0xFFFF
            if offset in event.rel_locs:
                begin += offset + 4
            if size and not event.size <= begin <= begin + size <= len(record):
                return False
        return all(b"\0" in record[offset : offset + size] for offset, size in event.strings)


def _by_order(modules: Sequence[KernelModule], first_id: int, fits: _Fits) -> dict[int, int] | None:
    """Blocks one behind the other; None unless one order only explains every unknown id and contradicts none."""
    found: dict[int, int] | None = None
    for order in _orders(modules):
        bases = _lay_out(order, first_id, fits)
        if bases is None:
            continue
        if found is not None and any(
            fits.block(bases[id(module)], module.events) and bases[id(module)] != found[id(module)] for module in order
        ):
            return None
        found = found or bases
    return found


def _orders(modules: Sequence[KernelModule]) -> Iterator[list[KernelModule]]:
    """The orders in which the modules of a scratch can have been loaded: when the kernel begins to write a region it
    lists those that are there, the newest first, and each one that comes later behind (`save_mod` of
    kernel/trace/trace.c).
    """
    for number in range(1, max(len(modules), 1) + 1):
        yield [*modules[:number][::-1], *modules[number:]]


def _lay_out(modules: Sequence[KernelModule], first_id: int, fits: _Fits) -> dict[int, int] | None:
    bases: dict[int, int] = {}
    base, explained = first_id, 0
    for module in modules:
        found = fits.block(base, module.events)
        if found < 0:
            return None
        bases[id(module)] = base
        explained += found
        base += len(module.events)
    return bases if explained == len(fits.unknown) else None


def _by_shape(modules: Sequence[KernelModule], first_id: int, fits: _Fits) -> dict[int, int]:
    """The modules whose block fits best at one place only, and whose place no other module claims."""
    claims: dict[int, list[KernelModule]] = {}
    bases: dict[int, int] = {}
    for module in modules:
        places = _best_places(module.events, first_id, fits)
        if len(places) == 1:
            bases[id(module)] = places[0]
        for base in places:
            for event_id in range(base, base + len(module.events)):
                if event_id in fits.unknown:
                    claims.setdefault(event_id, []).append(module)
    disputed = {id(module) for owners in claims.values() if len(set(map(id, owners))) > 1 for module in owners}
    return {module: base for module, base in bases.items() if module not in disputed}


def _best_places(events: Sequence[ModuleEvent], first_id: int, fits: _Fits) -> list[int]:
    """Where a block explains the most ids."""
    bases = {
        event_id - index
        for event_id in fits.unknown
        for index, event in enumerate(events)
        if event_id - index >= first_id and fits(event_id, event)
    }
    scores = {base: fits.block(base, events) for base in bases}
    best = max(scores.values(), default=0)
    return sorted(base for base, score in scores.items() if score == best and score >= MIN_EXPLAINED)


def _with_id(event: ImageEvent, event_id: int) -> ImageEvent:
    text = event.text.replace("\nID: -1\n", f"\nID: {event_id}\n", 1)
    return ImageEvent(event.system, event.name, event_id, text)


def _too_many(count: int) -> Finding:
    message = f"{count} event ids have no format, more than modules explain; their records are shown raw"
    return Finding(Severity.WARNING, "module-ids-unknown", message)


def _report(
    placed: dict[int, ImageEvent],
    still_open: Sequence[int],
    unknown: Sequence[UnknownEvent],
    how: str,
) -> list[Finding]:
    findings = []
    names = [f"{placed[event.id].system}:{placed[event.id].name}" for event in unknown if event.id in placed]
    if names:
        message = f"{len(names)} ids of module events are inferred from {how}: {', '.join(names[:8])}"
        findings.append(Finding(Severity.WARNING, "module-ids-inferred", message + (", ..." if names[8:] else "")))
    if still_open:
        listed = ", ".join(map(str, sorted(still_open)[:8])) + (", ..." if len(still_open) > 8 else "")
        message = (
            f"{len(still_open)} ids belong to events of modules or to dynamic events, and no single event fits them: "
            f"{listed}; their records are shown raw"
        )
        findings.append(Finding(Severity.WARNING, "module-ids-unknown", message))
    return findings
