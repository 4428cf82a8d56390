# SPDX-License-Identifier: Apache-2.0
"""Every event of a kernel image as its tracefs ``format`` file, from nothing but the image.

Mirrors kernel/trace/trace_events.c: the pointers between ``__start_ftrace_events`` and ``__stop_ftrace_events`` in
link order (`event_trace_enable`), ids as `register_trace_event` hands them out, fields as `event_define_fields` lays
them out, text as `f_show` prints it. Offsets inside the kernel's structures come from the image's own BTF or DWARF.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.findings import Finding, Severity
from rbdump.kernel.events.evalmaps import EvalMaps, read_eval_maps
from rbdump.kernel.events.eventtable import EventCall, EventTable, RawField
from rbdump.kernel.events.printed import PRINTED
from rbdump.kernel.events.printk import read_printk_formats
from rbdump.kernel.events.syscalls import EXIT_PRINT_FMT, Syscall, Syscalls, read_syscalls
from rbdump.kernel.image import KernelImage
from rbdump.kernel.types.imagetypes import image_types
from rbdump.kernel.types.inferred import InferredTypes
from rbdump.kernel.types.structs import Memory, pointer_table
from rbdump.kernel.types.typeinfo import TypeSource

__all__ = ["ImageEvent", "ImageFormats", "image_formats", "read_formats"]

MAX_EVENT_ID = 65535
CACHE_NAME = "formats-4.json"
"""Raise the number with every change of what `ImageFormats.to_bytes` says."""
NAME = re.compile(r'"(?:[^"\\]|\\.)*"|(?:->|\.)\s*\w+|__get_\w+\(\s*\w+|\b([A-Za-z_]\w*)\b(?!\s*\()', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageEvent:
    """One event of an image or a module."""

    system: str
    name: str
    id: int
    """As the booting kernel assigns it; -1 for a module's event, whose id depends on the order of loading."""
    text: str
    """The tracefs ``format`` file."""


@dataclass(frozen=True, slots=True)
class ImageFormats:
    """What an image says of its events."""

    events: list[ImageEvent]
    """In link order."""
    printk_formats: dict[int, str]
    """Link-time address -> string: trace_printk() formats and tracepoint strings."""
    next_id: int
    """The id that the first event of a module or a dynamic event gets."""
    constants: dict[str, int] = field(default_factory=dict)
    """Enumeration constants that print fmts name and the kernel leaves unresolved, by name, and those that functions in
    print fmts print.
    """
    findings: list[Finding] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """For the cache; `from_bytes` is the inverse."""
        return json.dumps(
            {
                "events": [[event.system, event.name, event.id, event.text] for event in self.events],
                "printk_formats": list(self.printk_formats.items()),
                "next_id": self.next_id,
                "constants": self.constants,
                "findings": [[str(item.severity), item.code, item.message] for item in self.findings],
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageFormats:
        """What `to_bytes` wrote.

        :raises ValueError: it is something else.
        """
        try:
            stored = json.loads(data)
            return cls(
                [ImageEvent(*event) for event in stored["events"]],
                dict(stored["printk_formats"]),
                stored["next_id"],
                stored["constants"],
                [Finding(Severity(severity), code, message) for severity, code, message in stored["findings"]],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a cached ImageFormats") from error


def event_text(call: EventCall, event_id: int, table: EventTable, maps: EvalMaps) -> str:
    """The format file of an ordinary event, eval maps applied."""
    kind = call.event_class
    fields = [
        RawField(maps.field_type(kind.system_addr, f.type), f.name, f.offset, f.size, f.signed, f.length)
        for f in kind.fields
    ]
    return call.text(event_id, table.common, fields, maps.print_fmt(kind.system_addr, call.print_fmt))


def syscall_text(call: EventCall, event_id: int, table: EventTable, entry: Syscall, abi: Abi, machine: str) -> str:
    """The format file of a ``syscalls:*`` event."""
    if call.addr != entry.enter_call:
        return call.text(event_id, table.common, call.event_class.fields, EXIT_PRINT_FMT)
    fields = list(call.event_class.fields)
    for type_name, name, offset, size in entry.enter_fields(abi, table.syscall_args):
        fields.append(RawField(type_name, name, offset, size, False, 0))
    return call.text(event_id, table.common, fields, entry.enter_print_fmt(abi, machine))


def image_formats(image: KernelImage) -> ImageFormats:
    """All events of a kernel image, from the image's cache when they were read before.

    :raises SourceError: the image lacks what is needed; the sentence says what, and what would help.
    """
    stored = image.cache.load(CACHE_NAME)
    if stored is not None:
        with contextlib.suppress(ValueError):
            return ImageFormats.from_bytes(stored)
    types = image_types(image)
    formats = read_formats(image, types, image.machine)
    if isinstance(types, InferredTypes):
        formats.findings.append(_inferred(image.path))
    image.cache.store(CACHE_NAME, formats.to_bytes())
    return formats


def read_formats(memory: Memory, types: TypeSource, machine: str) -> ImageFormats:
    """All events of a kernel image.

    :param machine: the image's architecture, as `KernelImage.machine` names it.
    :raises SourceError: the tables are missing or make no sense.
    """
    pointers = pointer_table(memory, "__start_ftrace_events", "__stop_ftrace_events")
    if not pointers:
        raise SourceError(
            "the symbols of the kernel image do not name __start_ftrace_events: its kallsyms hold functions only "
            "(CONFIG_KALLSYMS_ALL is off) or it was built without tracing; give its System.map or a copy of tracefs"
        )
    last_type = types.enum("trace_type").get("__TRACE_LAST_TYPE") or types.constant("__TRACE_LAST_TYPE")
    if last_type is None:
        raise SourceError(
            f"the kernel's {types.origin} does not describe enum trace_type, on which every event id depends: "
            "give a debug file of this kernel or a copy of tracefs"
        )
    table = EventTable(memory, types)
    maps = read_eval_maps(memory, types)
    syscalls = read_syscalls(memory, types, machine)
    events, findings, next_id = _events(pointers, table, maps, syscalls, last_type, memory.abi, machine)
    if not events:
        raise SourceError(
            f"none of the {len(pointers)} entries at __start_ftrace_events is an event: the symbols or the types are "
            "not this image's"
        )
    constants = _constants(events, types)
    return ImageFormats(events, read_printk_formats(memory), next_id, constants, findings)


def _events(
    pointers: list[int],
    table: EventTable,
    maps: EvalMaps,
    syscalls: Syscalls,
    next_id: int,
    abi: Abi,
    machine: str,
) -> tuple[list[ImageEvent], list[Finding], int]:
    events: list[ImageEvent] = []
    findings: list[Finding] = []
    for addr in pointers:
        call = table.call(addr)
        if call is None:
            # It would have got an id or not: no id behind it can be trusted.
            findings.append(_broken(addr, len(events), len(pointers)))
            break
        kind = call.event_class
        entry, mapped = syscalls.by_call.get(addr, (None, True))
        if not mapped:
            continue
        event_id = call.static_id
        if kind.has_raw_init:
            event_id, next_id = next_id, next_id + 1
        if event_id > MAX_EVENT_ID:
            break
        if entry is not None:
            text = syscall_text(call, event_id, table, entry, abi, machine)
        else:
            text = event_text(call, event_id, table, maps)
            if kind.fields_by_function:
                findings.append(_by_function(kind.system, call.name))
        events.append(ImageEvent(kind.system, call.name, event_id, text))
    return events, findings, next_id


def _inferred(path: str) -> Finding:
    return Finding(
        Severity.INFO,
        "layouts-inferred",
        f"{path}: has neither BTF nor DWARF; the layout of its event structures was inferred from its tables",
    )


def _broken(addr: int, position: int, count: int) -> Finding:
    return Finding(
        Severity.WARNING,
        "event-table-broken",
        f"event {position} of {count} of the image (its trace_event_call at {addr:#x}) cannot be read; "
        "the ids of all events behind it are unknown and they are left out",
    )


def _by_function(system: str, name: str) -> Finding:
    return Finding(
        Severity.WARNING,
        "fields-by-function",
        f"{system}:{name}: a function of the kernel defines its fields at boot; those are missing from its format",
    )


def _constants(events: list[ImageEvent], types: TypeSource) -> dict[str, int]:
    """Names in print fmts that are enumeration constants the kernel did not replace, and those of its functions."""
    names: dict[str, None] = dict.fromkeys(PRINTED)
    for event in events:
        begin = event.text.rfind("\nprint fmt: ") + len("\nprint fmt: ")
        names.update(dict.fromkeys(name for name in NAME.findall(event.text, begin) if name))
    return types.constants(names)
