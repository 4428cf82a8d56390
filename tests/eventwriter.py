# SPDX-License-Identifier: Apache-2.0
"""Writes the memory of a kernel with trace events in it: calls, classes, fields, eval maps, system calls, strings.

Structure members are laid out in an order of the writer's own, so that a reader that does not take its offsets from
the types of the image cannot get anything right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.kernel.memory import ImageMemory, Segment
from rbdump.kernel.symboldata import Names, SymbolData
from tests.btfwriter import BtfWriter, MemberSpec

BASE = 0x80100000
FLAG_TRACEPOINT, FLAG_CUSTOM = 0x40, 0x80
# Members in the writer's order: p pointer, i int, l list head, h u16; e struct trace_event.
STRUCTS = {
    "trace_event_call": "flags:i data:p print_fmt:p event:e name:p class:p list:l",
    "trace_event_class": "reg:p raw_init:p fields_array:p system:p",
    "trace_event": "type:i node:l funcs:p",
    "trace_event_fields": "len:i name:p type:p size:i align:i bits:i",
    "trace_eval_map": "eval_value:p eval_string:p system:p",
    "syscall_metadata": "args:p types:p name:p counts:i syscall_nr:i exit_event:p enter_event:p",
    "tracepoint": "key:p name:p",
}
FieldSpec = tuple[str, str, int, int, bool, int]
"""``(type, name, size, align, signed, number of elements)``"""


@dataclass
class FakeImage:
    """As much of a KernelImage as reading formats needs."""

    memory: ImageMemory
    symbols: SymbolData
    btf: bytes | None
    abi: Abi
    machine: str
    path: str = "vmlinux"

    def addr(self, name: str) -> int | None:
        return self.symbols.addr(name)

    def read(self, addr: int, size: int) -> bytes:
        return self.memory.read(addr, size)

    def cstring(self, addr: int) -> str | None:
        return self.memory.cstring(addr)

    def array(self, addr: int, count: int, size: int) -> npt.NDArray[np.generic]:
        return self.memory.array(addr, count, size)


@dataclass
class EventWriter:
    """One kernel (or one module's share of one)."""

    abi: Abi = field(default_factory=lambda: Abi("little", 8))
    machine: str = "x86-64"
    last_type: int = 21
    user_args: bool = False
    base: int = BASE

    def __post_init__(self) -> None:
        self.data = bytearray(64)
        self.symbols: list[tuple[int, str]] = []
        self.tables: dict[str, list[int]] = {}
        self.strings: dict[str, int] = {}
        self.classes: dict[str, int] = {}
        self.functions: list[str] = []
        self.offsets: dict[str, dict[str, tuple[int, int]]] = {}
        self.sizes: dict[str, int] = {}
        for name in ("trace_event", *STRUCTS):
            self._lay_out(name)

    # -- memory -------------------------------------------------------------------------------------------------

    def put(self, data: bytes, align: int = 8) -> int:
        """Append bytes; their address."""
        self.data += bytes(-len(self.data) % align)
        addr = self.base + len(self.data)
        self.data += data
        return addr

    def number(self, value: int, size: int) -> bytes:
        return (value & ((1 << 8 * size) - 1)).to_bytes(size, self.abi.byteorder)

    def pointers(self, values: Sequence[int]) -> bytes:
        return b"".join(self.number(value, self.abi.long_size) for value in values)

    def string(self, text: str) -> int:
        if text not in self.strings:
            self.strings[text] = self.put(text.encode() + b"\0", 1)
        return self.strings[text]

    def struct(self, name: str, /, **values: int) -> bytes:
        data = bytearray(self.sizes[name])
        for member, value in values.items():
            offset, size = self.offsets[name][member]
            data[offset : offset + size] = self.number(value, size)
        return bytes(data)

    def _lay_out(self, name: str) -> None:
        word, offset = self.abi.long_size, 0
        members: dict[str, tuple[int, int]] = {}
        for spec in STRUCTS[name].split():
            member, kind = spec.split(":")
            size = {"p": word, "i": 4, "l": 2 * word, "e": self.sizes.get("trace_event", 0)}[kind]
            offset += -offset % min(size, word)
            members[member] = (offset, size)
            offset += size
        self.offsets[name] = members
        self.sizes[name] = offset + -offset % word

    # -- events -------------------------------------------------------------------------------------------------

    def event_class(
        self, system: str, fields: Sequence[FieldSpec], *, raw_init: bool = True, more: bool = False
    ) -> int:
        """A trace_event_class; ``more``: a function defines further fields."""
        table = b"".join(
            self.struct(
                "trace_event_fields",
                type=self.string(kind),
                name=self.string(name),
                size=size,
                align=align,
                bits=self._bits(signed),
                len=length,
            )
            for kind, name, size, align, signed, length in fields
        )
        if more:
            table += self.struct("trace_event_fields", type=-1)
        table += bytes(self.sizes["trace_event_fields"])
        return self.put(
            self.struct(
                "trace_event_class",
                system=self.string(system),
                fields_array=self.put(table),
                raw_init=self.base if raw_init else 0,
            )
        )

    def _bits(self, signed: bool) -> int:
        """``is_signed`` is the first of two one-bit fields: the lowest bit, or the highest of a big endian word."""
        return int(signed) if self.abi.byteorder == "little" else int(signed) << 31

    def event(
        self,
        system: str,
        name: str,
        fields: Sequence[FieldSpec] = (),
        print_fmt: str = '""',
        *,
        static_id: int = 0,
        event_class: int | None = None,
        tracepoint: bool = True,
        data: int = 0,
    ) -> int:
        """A trace_event_call and its entry in the table of all events; with a ``static_id`` one of ftrace's own."""
        named = self.string(name)
        if tracepoint and not static_id:
            named = self.put(self.struct("tracepoint", name=named))
        if event_class is None:
            event_class = self.event_class(system, fields, raw_init=not static_id)
        inner = self.struct("trace_event", type=static_id)
        call = bytearray(
            self.struct(
                "trace_event_call",
                flags=FLAG_TRACEPOINT if tracepoint and not static_id else 0,
                name=named,
                print_fmt=self.string(print_fmt),
                data=data,
                **{"class": event_class},
            )
        )
        offset, size = self.offsets["trace_event_call"]["event"]
        call[offset : offset + size] = inner
        addr = self.put(bytes(call))
        self.tables.setdefault("ftrace_events", []).append(addr)
        return addr

    def eval_map(self, system: str, text: str, value: int) -> int:
        addr = self.put(
            self.struct("trace_eval_map", system=self.string(system), eval_string=self.string(text), eval_value=value)
        )
        self.tables.setdefault("ftrace_eval_maps", []).append(addr)
        return addr

    def syscall(self, name: str, args: Sequence[tuple[str, str]], symbol: str | None) -> None:
        """A system call with both of its events; ``symbol`` is the function in sys_call_table, None for no slot."""
        number = ("int", "__syscall_nr", 4, 4, True, 0)
        if not self.classes:
            self.classes["enter"] = self.event_class("syscalls", [number], more=True)
            self.classes["exit"] = self.event_class(
                "syscalls", [number, ("long", "ret", self.abi.long_size, self.abi.long_size, True, 0)]
            )
        types = self.put(self.pointers([self.string(kind) for kind, _ in args]))
        names = self.put(self.pointers([self.string(arg) for _, arg in args]))
        bare = name.removeprefix("sys_")
        enter = self.event("syscalls", f"sys_enter_{bare}", event_class=self.classes["enter"], tracepoint=False)
        exits = self.event("syscalls", f"sys_exit_{bare}", event_class=self.classes["exit"], tracepoint=False)
        counts = len(args)
        if self.user_args and self.abi.byteorder == "big":
            counts = len(args) << 25
        meta = self.struct(
            "syscall_metadata",
            name=self.string(name),
            counts=counts,
            syscall_nr=-1,
            types=types,
            args=names,
            enter_event=enter,
            exit_event=exits,
        )
        self.tables.setdefault("syscalls_metadata", []).append(self.put(meta))
        if symbol is not None:
            self.functions.append(symbol)

    def printk(self, text: str, table: str = "__tracepoint_str") -> int:
        self.tables.setdefault(table, []).append(self.string(text))
        return self.string(text)

    # -- result -------------------------------------------------------------------------------------------------

    def btf(self, *, without: str = "") -> bytes:
        """The types, except for the structure or enumeration called ``without``."""
        return self.types(without=without).build()

    def types(self, *, without: str = "") -> BtfWriter:
        """The same, for split BTF to continue."""
        out = BtfWriter(self.abi.endian)
        number, word, small = out.int("int", 4, signed=True), out.int("unsigned long", self.abi.long_size), 0
        pointer = out.ptr()
        short, char = out.int("unsigned short", 2), out.int("unsigned char", 1)
        ids: dict[str, int] = {}
        head = out.struct("list_head", 2 * self.abi.long_size, [("next", pointer, 0), ("prev", pointer, 8)])
        for name in ("trace_event", *(key for key in STRUCTS if key != "trace_event")):
            members: list[MemberSpec] = []
            for member, (offset, size) in self.offsets[name].items():
                type_id = number if size == 4 and member not in ("name", "eval_value") else pointer
                type_id = {"list": head, "node": head, "event": ids.get("trace_event", 0)}.get(member, type_id)
                if member == "eval_value":
                    type_id = word
                if member == "bits":
                    members += [("is_signed", number, 8 * offset, 1), ("needs_test", number, 8 * offset + 1, 1)]
                elif member == "counts" and self.user_args:
                    members += [("nb_args", number, 8 * offset, 7), ("user_arg_is_str", number, 8 * offset + 7, 1)]
                    small = out.int("s8", 1, signed=True)
                    members += [("user_arg_size", small, 8 * offset + 8, 0), ("user_mask", short, 8 * offset + 16, 0)]
                else:
                    members.append(("nb_args" if member == "counts" else member, type_id, offset))
            if any(len(member) == 4 for member in members):
                members = [m if len(m) == 4 else (m[0], m[1], 8 * m[2], 0) for m in members]
            if name == without:
                continue
            ids[name] = out.struct(name, self.sizes[name], members)
        if without != "trace_entry":
            out.struct(
                "trace_entry",
                8,
                [("type", short, 0), ("flags", char, 2), ("preempt_count", char, 3), ("pid", number, 4)],
            )
        out.enum("", {"TRACE_EVENT_FL_TRACEPOINT": FLAG_TRACEPOINT, "TRACE_EVENT_FL_CUSTOM": FLAG_CUSTOM})
        if without != "trace_type":
            out.enum("trace_type", {"__TRACE_FIRST_TYPE": 0, "TRACE_FN": 1, "__TRACE_LAST_TYPE": self.last_type})
        out.enum("leftover", {"LEFT_OVER": -7}, signed=True)
        return out

    def build(self, *, without: str = "", btf: bool = True) -> FakeImage:
        """The image; ``without`` names a type that its BTF lacks."""
        names = dict(self.tables)
        for table, pointers in names.items():
            begin = self.put(self.pointers(pointers))
            self.symbols.append((begin, f"__start_{table}"))
            self.symbols.append((begin + len(pointers) * self.abi.long_size, f"__stop_{table}"))
        if self.functions:
            addrs = {symbol: self.put(bytes(16), 16) for symbol in self.functions}
            self.symbols += [(addr, symbol) for symbol, addr in addrs.items()]
            table_addr = self.put(self.pointers([addrs[symbol] for symbol in self.functions]))
            self.symbols += [(table_addr, "sys_call_table"), (self.put(b"\0"), "behind_the_table")]
        memory = ImageMemory([Segment(self.base, np.frombuffer(bytes(self.data), np.uint8))], self.abi)
        ordered = sorted(self.symbols, key=lambda item: item[0])
        symbols = SymbolData(
            np.array([addr for addr, _ in ordered], np.uint64),
            Names.from_list([name for _, name in ordered]),
            np.zeros(len(ordered), np.uint8),
            "symtab",
        )
        return FakeImage(memory, symbols, self.btf(without=without) if btf else None, self.abi, self.machine)
