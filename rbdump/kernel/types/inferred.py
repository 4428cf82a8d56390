# SPDX-License-Identifier: Apache-2.0
"""Structure layouts from the shape of the tables themselves, for images with neither BTF nor DWARF.

Distributions build 32-bit kernels without BTF. What their tables hold is known well enough to see where each member
is: ftrace's own events have ids 1, 2, ... and names that are strings, all others are named through their tracepoint;
a print fmt begins with a quote; ``trace_event_raw_init`` is a symbol; a field ``char[16]`` has size 16 and length 16.
A member is taken only when one place, and no other, agrees with every entry of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise

from rbdump.errors import SourceError
from rbdump.kernel.types.structs import Memory, pointer_table
from rbdump.kernel.types.typeinfo import Member, StructLayout

__all__ = ["InferredTypes"]

IDENTIFIER = re.compile(r"[A-Za-z_]\w+", re.ASCII)
SYSTEM = re.compile(r"[A-Za-z_][\w-]+", re.ASCII)
"""A TRACE_SYSTEM may be defined as any word: ``spi-mem`` is one."""
FIXED_ARRAY = re.compile(r"(?!__data_loc|__rel_loc)(?:unsigned )?(?:char|u8|__u8)\[(\d+)\]")
MAX_WORDS = 40
"""Words of the largest structure, struct trace_event_call."""
MAX_FIELDS = 64
SIGNED = {"int", "pid_t", "s32", "s64", "long", "__s32"}
UNSIGNED = {"unsigned int", "u32", "u64", "unsigned long", "u8", "u16", "__u32", "size_t", "dev_t", "unsigned char"}
SCALARS = {"int": 4, "unsigned int": 4, "u32": 4, "u64": 8, "u8": 1, "u16": 2, "unsigned char": 1, "pid_t": 4, "s64": 8}
USER_COPY = ("trace_user_fault_init", "syscall_fault_buffer_enable")
"""Functions of kernels whose system call events hold user memory."""


class InferredTypes:
    """The layouts that formats need, as far as the tables show them.

    :raises SourceError: a table shows nothing, or two things.
    """

    origin = "the shape of its tables"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._word = memory.abi.long_size
        self.text: Callable[[int], str | None] = cache(memory.cstring)
        self._blocks: dict[int, bytes] = {}
        self._structs: dict[str, StructLayout] = {}
        self._constants: dict[str, int] = {}
        self._calls = pointer_table(memory, "__start_ftrace_events", "__stop_ftrace_events") or []
        if not self._calls:
            raise self._cannot("the table of events")
        self._infer_calls()
        self._infer_eval_maps()
        self._infer_syscalls()
        # Every release since 2.6.39 begins a record like this.
        self._put("trace_entry", 8, type=(0, 2), flags=(2, 1), preempt_count=(3, 1), pid=(4, 4))

    def struct(self, name: str, *members: str) -> StructLayout | None:
        """The structure ``name`` that has ``members``."""
        layout = self._structs.get(name)
        return layout if layout and all(member in layout.members for member in members) else None

    def enum(self, name: str) -> dict[str, int]:
        """No enumeration shows in a table; ids do."""
        return {"__TRACE_LAST_TYPE": self._constants["__TRACE_LAST_TYPE"]} if name == "trace_type" else {}

    def constant(self, name: str) -> int | None:
        """The few constants that tables show."""
        return self._constants.get(name)

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """Those of ``names`` that tables show."""
        return {name: self._constants[name] for name in names if name in self._constants}

    # -- tools --------------------------------------------------------------------------------------------------

    def _cannot(self, what: str) -> SourceError:
        return SourceError(
            f"the kernel image has neither BTF nor DWARF, and its tables do not show {what} clearly: give the vmlinux "
            "with debug information of the same build, or a copy of tracefs"
        )

    def _put(self, struct_name: str, struct_size: int, /, **members: tuple[int, int]) -> None:
        layout = {key: Member(key, offset, length, 8 * offset) for key, (offset, length) in members.items()}
        self._structs[struct_name] = StructLayout(struct_name, struct_size, layout)

    def _at(self, addr: int, size: int = 0) -> int:
        data = self._memory.read(addr, size or self._word)
        return int.from_bytes(data, self._memory.abi.byteorder)

    def _column(self, rows: Iterable[int], offset: int, size: int = 0) -> list[int]:
        begin, end, order = offset, offset + (size or self._word), self._memory.abi.byteorder
        return [int.from_bytes(self._block(row)[begin:end], order) for row in rows]

    def _block(self, row: int) -> bytes:
        """What a structure may hold; most columns of most tables are looked at many times."""
        block = self._blocks.get(row)
        if block is None:
            block = self._blocks[row] = self._memory.read(row, MAX_WORDS * self._word)
        return block

    def _identifier(self, addr: int) -> str | None:
        text = self.text(addr)
        return text if text and IDENTIFIER.fullmatch(text) else None

    def _only(self, what: str, offsets: Iterable[int], test: Callable[[int], bool]) -> int:
        found = [offset for offset in offsets if test(offset)]
        if len(found) != 1:
            raise self._cannot(what)
        return found[0]

    # -- trace_event_call, its class and fields -------------------------------------------------------------------

    def _infer_calls(self) -> None:
        word, calls = self._word, self._calls
        places = range(0, MAX_WORDS * word, word)

        def named(offset: int, inner: int) -> bool:
            column = self._column(calls, offset)
            direct = [self._identifier(value) is not None for value in column]
            return any(direct) and all(
                plain or self._identifier(self._at(value + inner)) for value, plain in zip(column, direct, strict=True)
            )

        names = [(place, inner) for inner in range(0, 4 * word, word) for place in places if named(place, inner)]
        if len({place for place, _ in names}) != 1:
            raise self._cannot("the names of events")
        name, tracepoint_name = names[0]
        direct = [self._identifier(value) for value in self._column(calls, name)]

        def classed(offset: int) -> bool:
            column = set(self._column(calls, offset))
            if offset == name or 0 in column:
                return False
            return any(self._is_system(column, place) for place in range(0, 16 * word, word))

        kind = self._only("the classes of events", places, classed)
        classes = sorted(set(self._column(calls, kind)))
        system = self._only("the systems", range(0, 16 * word, word), lambda place: self._is_system(classes, place))

        def formatted(offset: int) -> bool:
            texts = [self.text(value) for value in self._column(calls, offset) if value]
            return len(texts) > len(calls) // 4 and all(text is not None and text.startswith('"') for text in texts)

        print_fmt = self._only("the print formats", places, formatted)
        internal = [self.text(self._at(self._at(call + kind) + system)) == "ftrace" for call in calls]

        def typed(offset: int) -> bool:
            column = self._column(calls, offset, 4)
            fixed = [value for value, own in zip(column, internal, strict=True) if own]
            others = [value for value, own in zip(column, internal, strict=True) if not own]
            return not any(others) and len(set(fixed)) == len(fixed) and all(0 < value < 128 for value in fixed)

        event = self._only("the ids of ftrace's own events", range(0, MAX_WORDS * word, 4), typed)
        ids = [value for value, own in zip(self._column(calls, event, 4), internal, strict=True) if own]
        if "func_repeats" not in direct:
            # The last fixed id since 5.13, whose format every kernel has.
            raise self._cannot("the number of fixed ids")
        self._constants["__TRACE_LAST_TYPE"] = max(ids, default=0) + 1
        flags, bit = self._infer_flags([text is None for text in direct])
        self._constants["TRACE_EVENT_FL_TRACEPOINT"] = bit
        size = max(name, kind, print_fmt, event, flags) + word
        self._put(
            "trace_event_call",
            size,
            **{"class": (kind, word)},
            name=(name, word),
            event=(event, 4),
            print_fmt=(print_fmt, word),
            flags=(flags, 4),
        )
        self._put("trace_event", 4, type=(0, 4))
        self._put("tracepoint", tracepoint_name + word, name=(tracepoint_name, word))
        self._infer_classes(classes, system)

    def _is_system(self, classes: Iterable[int], place: int) -> bool:
        names = set()
        for value in self._column(classes, place):
            text = self.text(value)
            if not text or not SYSTEM.fullmatch(text):
                return False
            names.add(text)
        return "ftrace" in names

    def _infer_flags(self, traced: list[bool]) -> tuple[int, int]:
        """Where the flags are, and the bit that says that an event is named by its tracepoint."""
        for offset in range(0, MAX_WORDS * self._word, 4):
            column = self._column(self._calls, offset, 4)
            if max(column) >= 1 << 16:
                continue
            for shift in range(16):
                if all(bool(value >> shift & 1) == wanted for value, wanted in zip(column, traced, strict=True)):
                    return offset, 1 << shift
        raise self._cannot("the flags of events")

    def _infer_classes(self, classes: list[int], system: int) -> None:
        word = self._word
        places = [place for place in range(0, 16 * word, word) if place != system]
        init = self._memory.addr("trace_event_raw_init")
        own = {addr for addr in classes if self.text(self._at(addr + system)) == "ftrace"}

        def initial(place: int) -> bool:
            column = {addr: self._at(addr + place) for addr in classes}
            # Thumb code has the lowest bit of its address set.
            return any(value & ~1 == (init or -1) & ~1 for value in column.values()) and not any(
                column[addr] for addr in own
            )

        raw_init = self._only("how events are registered", places, initial)

        def function_fields(addr: int) -> tuple[int, int, int] | None:
            """Type, name and stride of the fields of ftrace:function: its ip and its parent_ip, unsigned longs."""
            texts = {self.text(self._at(addr + place)): place for place in range(16 * word - word, -1, -word)}
            if texts.keys() >= {"unsigned long", "ip", "parent_ip"}:
                return texts["unsigned long"], texts["ip"], texts["parent_ip"] - texts["ip"]
            return None

        shapes = {
            (place, shape)
            for place in places
            for addr in own
            if (shape := function_fields(self._at(addr + place))) is not None and shape[0] < shape[2]
        }
        if len({shape for _, shape in shapes}) != 1:
            raise self._cannot("the fields of events")
        # Behind a class the next one may follow, whose fields are no member of this one.
        fields, (kind, name, stride) = min(shapes)
        size = max(system, raw_init, fields) + word
        self._put(
            "trace_event_class", size, system=(system, word), raw_init=(raw_init, word), fields_array=(fields, word)
        )
        entries = []
        for addr in classes:
            entry = self._at(addr + fields)
            for _ in range(MAX_FIELDS):
                text = self.text(self._at(entry + kind))
                if not text or not self.text(self._at(entry + name)):
                    break
                entries.append((text, entry))
                entry += stride
        self._infer_fields(entries, kind, name, stride)

    def _infer_fields(self, entries: list[tuple[str, int]], kind: int, name: int, stride: int) -> None:
        word = self._word
        arrays = [(int(m[1]), entry) for text, entry in entries if (m := FIXED_ARRAY.fullmatch(text))]
        plain = [(SCALARS[text], entry) for text, entry in entries if text in SCALARS]
        plain += [(word, entry) for text, entry in entries if text == "unsigned long"]
        signs = [(text in SIGNED, entry) for text, entry in entries if text in SIGNED | UNSIGNED]
        if not arrays or not plain or not signs:
            raise self._cannot("the fields of events")
        places = [place for place in range(0, stride, 4) if not any(at <= place < at + word for at in (kind, name))]

        def column(place: int, rows: list[tuple[int, int]]) -> bool:
            values = self._column([entry for _, entry in rows], place, 4)
            return values == [wanted for wanted, _ in rows]

        size = self._only("the sizes of fields", places, lambda place: column(place, plain) and column(place, arrays))
        ones = [(1, entry) for _, entry in arrays]
        align = self._only(
            "the alignment of fields",
            places,
            lambda place: (
                place != size
                and column(place, ones)
                and all(0 < self._at(entry + place, 4) <= wanted for wanted, entry in plain)
            ),
        )
        length = self._only(
            "the lengths of arrays",
            places,
            lambda place: place != size and column(place, arrays) and column(place, [(0, entry) for _, entry in plain]),
        )
        first = 1 if self._memory.abi.byteorder == "little" else 1 << 31

        def signed(place: int, bit: int) -> bool:
            values = self._column([entry for _, entry in signs], place, 4)
            return all(bool(value & bit) == wanted for value, (wanted, _) in zip(values, signs, strict=True))

        # A one-bit field, or an int of its own.
        sign, bit = next(((p, b) for p in places for b in (first, 1) if p != align and signed(p, b)), (None, 0))
        if sign is None:
            raise self._cannot("the signs of fields")
        self._put(
            "trace_event_fields",
            stride,
            type=(kind, word),
            name=(name, word),
            size=(size, 4),
            align=(align, 4),
            is_signed=(sign, 4),
            len=(length, 4),
        )
        if bit == first:
            member = Member("is_signed", sign, 4, 8 * sign, 1)
            self._structs["trace_event_fields"].members["is_signed"] = member

    # -- eval maps and system calls -----------------------------------------------------------------------------

    def _infer_eval_maps(self) -> None:
        word = self._word
        maps = pointer_table(self._memory, "__start_ftrace_eval_maps", "__stop_ftrace_eval_maps")
        if not maps:
            return
        kind = self._structs["trace_event_call"].members["class"]
        system = self._structs["trace_event_class"].members["system"]
        systems = {self._at(self._at(call + kind.offset) + system.offset) for call in self._calls}
        places = (0, word, 2 * word)
        owner = self._only("eval maps", places, lambda place: set(self._column(maps, place)) <= systems)

        def named(place: int) -> bool:
            texts = [self.text(value) for value in self._column(maps, place)]
            return place != owner and all(texts)

        name = self._only("eval maps", places, named)
        value = sum(places) - owner - name
        self._put("trace_eval_map", 3 * word, system=(owner, word), eval_string=(name, word), eval_value=(value, word))

    def _infer_syscalls(self) -> None:
        word = self._word
        metas = pointer_table(self._memory, "__start_syscalls_metadata", "__stop_syscalls_metadata")
        if not metas:
            return
        # Entries lie side by side; what is behind the nearest neighbour's start is the neighbour's.
        ordered = sorted(metas)
        room = min((b - a for a, b in pairwise(ordered) if b > a), default=12 * word)
        places = range(0, min(room, 12 * word), word)
        name_of = self._structs["trace_event_call"].members["name"].offset
        calls = {call: self.text(self._at(call + name_of)) or "" for call in self._calls}

        def event(prefix: str) -> Callable[[int], bool]:
            return lambda place: all(calls.get(v, "").startswith(prefix) for v in self._column(metas, place))

        def titled(place: int) -> bool:
            return all((self._identifier(value) or "").startswith("sys_") for value in self._column(metas, place))

        name = self._only("the names of system calls", places, titled)
        enter = self._only("the events of system calls", places, event("sys_enter_"))
        leave = self._only("the events of system calls", places, event("sys_exit_"))
        narrow = range(0, max(name, enter, leave), 4)
        big = self._memory.abi.byteorder == "big"
        packed = any(self._memory.addr(function) is not None for function in USER_COPY)
        shift = 25 if packed and big else 0

        def count(place: int) -> bool:
            counts = {value >> shift for value in self._column(metas, place, 4)}
            return len(counts) > 2 and max(counts) <= 6

        counts = self._only("the arguments of system calls", narrow, count)

        def lists(place: int) -> list[str | None] | None:
            """All texts of the lists that a column points to; None when they are no texts."""
            texts: list[str | None] = []
            for meta in metas:
                length = self._at(meta + counts, 4) >> shift
                column = self._memory.array(self._at(meta + place), length, word).tolist() if length else []
                texts += [self.text(value) for value in column] if len(column) == length else [None]
            readable = all(text and text.isascii() and text.isprintable() for text in texts)
            return texts if readable else None

        texts = {place: found for place in places if (found := lists(place)) is not None}
        what = "the arguments of system calls"
        args = self._only(what, texts, lambda p: all(IDENTIFIER.fullmatch(f"_{text}") for text in texts[p]))
        types = self._only(what, texts, lambda p: any("*" in str(text) for text in texts[p]))
        size = max(name, enter, leave, args, types) + word
        self._put(
            "syscall_metadata",
            size,
            name=(name, word),
            nb_args=(counts, 4),
            types=(types, word),
            args=(args, word),
            enter_event=(enter, word),
            exit_event=(leave, word),
        )
        if packed:
            members = self._structs["syscall_metadata"].members
            members["nb_args"] = Member("nb_args", counts, 4, 8 * counts, 7)
            members["user_mask"] = Member("user_mask", counts + 2, 2, 8 * counts + 16)
