# SPDX-License-Identifier: Apache-2.0
"""The structures that describe trace events in an image's memory: calls, classes and fields.

Mirrors kernel/trace/trace_events.c: fields as `event_define_fields` lays them out, lines as `f_show` prints them.
A trace_event_call names its trace_event_class, which names an array of trace_event_fields that ends with an entry
without a type. Offsets inside these come from the image's own BTF or DWARF.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rbdump.kernel.types.structs import Memory, StructReader, layout_of
from rbdump.kernel.types.typeinfo import StructLayout, TypeSource

__all__ = ["EventCall", "EventClass", "EventTable", "RawField"]

MAX_FIELDS = 512
"""Fields of one event; a list without an end is garbage."""
COMMON_TYPES = {"type": "unsigned short", "flags": "unsigned char", "preempt_count": "unsigned char", "pid": "int"}


@dataclass(frozen=True, slots=True)
class RawField:
    """One field as `trace_define_field` stores it."""

    type: str
    name: str
    offset: int
    size: int
    signed: bool
    length: int
    align: int = 1

    def line(self) -> str:
        """The line of the format file (`f_show`): array brackets move behind the name."""
        bracket = -1 if self.type.startswith("__data_loc") else self.type.find("[")
        if bracket < 0:
            spelled = f"{self.type} {self.name}"
        else:
            spelled = f"{self.type[:bracket]} {self.name}[{self.length or ''}]"
        return f"\tfield:{spelled};\toffset:{self.offset};\tsize:{self.size};\tsigned:{int(self.signed)};\n"


@dataclass(frozen=True, slots=True)
class EventClass:
    """What a trace_event_class says."""

    system: str
    system_addr: int
    has_raw_init: bool
    """Without one the event keeps the id that the image gives it: ftrace's own events."""
    fields: list[RawField]
    fields_by_function: bool


@dataclass(frozen=True, slots=True)
class EventCall:
    """What a trace_event_call says."""

    addr: int
    name: str
    event_class: EventClass
    static_id: int
    print_fmt: str

    def text(self, event_id: int, common: str, fields: Iterable[RawField], print_fmt: str) -> str:
        """The tracefs format file."""
        lines = "".join(item.line() for item in fields)
        return f"name: {self.name}\nID: {event_id}\nformat:\n{common}\n{lines}\nprint fmt: {print_fmt}\n"


class EventTable:
    """Reads trace_event_calls out of an image's or a module's memory."""

    def __init__(self, memory: Memory, types: TypeSource) -> None:
        self._memory = memory
        self._call = StructReader(
            memory, layout_of(types, "trace_event_call", ("class", "name", "event", "print_fmt", "flags"))
        )
        self._class = StructReader(
            memory, layout_of(types, "trace_event_class", ("system", "fields_array", "raw_init"))
        )
        self._field = StructReader(
            memory,
            layout_of(types, "trace_event_fields", ("type", "name", "size", "align", "is_signed", "len")),
        )
        event = layout_of(types, "trace_event", ("type",))
        self._type_offset = self._call.layout.members["event"].offset + event.members["type"].offset
        self._tracepoint_flag = types.constant("TRACE_EVENT_FL_TRACEPOINT") or 0
        self._custom_flag = types.constant("TRACE_EVENT_FL_CUSTOM") or 0
        tracepoint = types.struct("tracepoint", "name")
        self._tracepoint_name = tracepoint.members["name"].offset if tracepoint else 0
        entry = layout_of(types, "trace_entry", ("type", "flags", "pid"))
        self.entry_size = entry.size
        self.common = "".join(_common_lines(entry))
        self._strings: dict[int, str | None] = {}
        self._classes: dict[int, EventClass | None] = {}
        enter = types.struct("syscall_trace_enter", "args")
        self.syscall_args = enter.members["args"].offset if enter else _align(entry.size + 4, memory.abi.long_size)

    def string(self, addr: int) -> str | None:
        """A string of the image; most type and field names are used many times."""
        if addr not in self._strings:
            self._strings[addr] = self._memory.cstring(addr)
        return self._strings[addr]

    def call(self, addr: int) -> EventCall | None:
        """The trace_event_call at ``addr``; None when the image does not hold all of it."""
        data = self._call.fetch(addr)
        if data is None:
            return None
        get = self._call.value
        flags, name_addr = get(data, "flags"), get(data, "name")
        if flags & self._tracepoint_flag and not flags & self._custom_flag:
            word = self._memory.abi.long_size
            pointer = self._memory.read(name_addr + self._tracepoint_name, word)
            name_addr = int.from_bytes(pointer, self._memory.abi.byteorder)
        name, kind = self.string(name_addr), self._event_class(get(data, "class"))
        if name is None or kind is None:
            return None
        begin = self._type_offset
        static_id = int.from_bytes(data[begin : begin + 4], self._memory.abi.byteorder, signed=True)
        return EventCall(addr, name, kind, static_id, self._memory.cstring(get(data, "print_fmt")) or "")

    def _event_class(self, addr: int) -> EventClass | None:
        if addr not in self._classes:
            data = self._class.fetch(addr)
            system_addr = self._class.value(data, "system") if data else 0
            system = self.string(system_addr) if data else None
            if data is None or system is None:
                self._classes[addr] = None
            else:
                fields, by_function = self._fields(self._class.value(data, "fields_array"))
                raw_init = self._class.value(data, "raw_init")
                self._classes[addr] = EventClass(system, system_addr, bool(raw_init), fields, by_function)
        return self._classes[addr]

    def _fields(self, addr: int) -> tuple[list[RawField], bool]:
        """The fields of a class (`event_define_fields`), and whether a function defines more of them."""
        function_type = self._memory.abi.long_mask
        get, offset = self._field.value, self.entry_size
        fields: list[RawField] = []
        for index in range(MAX_FIELDS):
            data = self._field.fetch(addr + index * self._field.layout.size)
            kind = get(data, "type") if data else 0
            if data is None or not kind:
                break
            if kind == function_type:
                return fields, True
            align, size = get(data, "align"), get(data, "size")
            offset = _align(offset, align)
            fields.append(
                RawField(
                    self.string(kind) or "",
                    self.string(get(data, "name")) or "",
                    offset,
                    size,
                    bool(get(data, "is_signed")),
                    get(data, "len", signed=True),
                    align,
                )
            )
            offset += size
        return fields, False


def _common_lines(entry: StructLayout) -> Iterator[str]:
    for member in entry.members.values():
        spelled = COMMON_TYPES.get(member.name, "unsigned char")
        yield RawField(spelled, f"common_{member.name}", member.offset, member.size, spelled == "int", 0).line()


def _align(offset: int, align: int) -> int:
    return offset + -offset % align if align else offset
