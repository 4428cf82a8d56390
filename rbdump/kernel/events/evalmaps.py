# SPDX-License-Identifier: Apache-2.0
"""Enumeration names and ``sizeof`` terms in event formats, replaced by numbers as the booting kernel does it.

TRACE_DEFINE_ENUM and TRACE_DEFINE_SIZEOF leave ``struct trace_eval_map`` entries between
``__start_ftrace_eval_maps`` and ``__stop_ftrace_eval_maps``; kernel/trace/trace_events.c edits the print fmt of
every event of the same system with each of them in turn (`update_event_printk`), and the types of its fields
(`update_event_fields`). A module's maps touch the module's own events only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rbdump.kernel.types.structs import Memory, StructReader, layout_of, pointer_table
from rbdump.kernel.types.typeinfo import TypeSource

__all__ = ["EvalMap", "EvalMaps", "read_eval_maps", "replace_in_print_fmt", "replace_in_type", "sanitize_type"]

ATTRIBUTE = "__attribute__("
WORD = re.compile(r"[A-Za-z_][0-9A-Za-z_]*")
# What the kernel's scanner meets outside of a string, one step each. A number is skipped with its suffix, a name
# with the members behind it (after . or -> one character of any kind is taken); both swallow the character that
# follows them, a quote included.
STEP = re.compile(
    r"""\\.? | "(?:[^"\\]|\\.)*"? | (?P<number>[0-9][0-9A-Za-z]*).?
      | (?P<name>[A-Za-z_][0-9A-Za-z_]*(?:(?:\.|->).[0-9A-Za-z_]*)*).?""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class EvalMap:
    """One name and its value."""

    system: int
    """Address of the system's name: the kernel compares pointers, not the text."""
    text: str
    """``HI_SOFTIRQ`` or ``sizeof(struct foo)``."""
    value: int


class EvalMaps:
    """The maps of a kernel or module, by system."""

    __slots__ = ("_by_system",)

    def __init__(self, maps: Iterable[EvalMap]) -> None:
        self._by_system: dict[int, list[tuple[str, EvalMap]]] = {}
        for entry in maps:
            word = WORD.match(entry.text)
            if word:
                self._by_system.setdefault(entry.system, []).append((word[0], entry))

    def print_fmt(self, system: int, text: str) -> str:
        """The print fmt of an event of ``system`` with all names replaced."""
        if entries := self._by_system.get(system):
            words = set(WORD.findall(text))
            for word, entry in entries:
                if word in words:
                    text = replace_in_print_fmt(text, entry)
        return text

    def field_type(self, system: int, text: str) -> str:
        """The type of a field of an event of ``system`` with the names in its brackets replaced."""
        text = sanitize_type(text)
        if "[" in text:
            for _, entry in self._by_system.get(system, ()):
                text = replace_in_type(text, entry)
        return text


def replace_in_print_fmt(text: str, entry: EvalMap) -> str:
    """One pass of `update_event_printk`: every place where ``entry`` stands on its own outside of strings.

    A value that is longer than the name does not fit where the name stood; the kernel then leaves the rest as it is.
    """
    number, length = str(entry.value), len(entry.text)
    done: list[str] = []
    position = 0
    while step := STEP.search(text, position):
        begin = step.start()
        if step["name"] is None or not _stands_at(text, begin, entry.text):
            done.append(text[position : step.end()])
            position = step.end()
            continue
        if len(number) > length:
            break
        done.append(text[position:begin] + number + text[begin + length : begin + length + 1])
        position = begin + length + 1
    done.append(text[position:])
    return "".join(done)


def _stands_at(text: str, begin: int, name: str) -> bool:
    after = text[begin + len(name) : begin + len(name) + 1]
    return text.startswith(name, begin) and not (after == "_" or (after.isascii() and after.isalnum()))


def replace_in_type(text: str, entry: EvalMap) -> str:
    """``char[ENUM]`` with the number in it (`find_replacable_eval`): what begins with the name counts as the name."""
    begin = text.find("[") + 1
    if not begin or not text.startswith(entry.text, begin) or len(str(entry.value)) > len(entry.text):
        return text
    return f"{text[:begin]}{entry.value}{text[begin + len(entry.text) :]}"


def sanitize_type(text: str) -> str:
    """A type without the ``__attribute__((...))`` that compilers with type tags leave in it (`sanitize_field_type`)."""
    position = 0
    while (begin := text.find(ATTRIBUTE, position)) >= 0:
        position = begin + len(ATTRIBUTE)
        if begin and not text[begin - 1].isspace():
            continue
        depth, end = 1, position
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        if depth:
            return text
        text = text[:begin] + text[end:].lstrip()
        position = begin
    return text


def read_eval_maps(memory: Memory, types: TypeSource) -> EvalMaps:
    """All maps of an image, in link order; none when it has no such table."""
    pointers = pointer_table(memory, "__start_ftrace_eval_maps", "__stop_ftrace_eval_maps")
    if not pointers:
        return EvalMaps(())
    layout = layout_of(types, "trace_eval_map", ("system", "eval_string", "eval_value"))
    return EvalMaps(eval_maps_at(memory, StructReader(memory, layout), pointers))


def eval_maps_at(memory: Memory, reader: StructReader, pointers: Iterable[int]) -> Iterable[EvalMap]:
    """The maps at these addresses; those that the image does not hold are left out."""
    for addr in pointers:
        data = reader.fetch(addr)
        text = memory.cstring(reader.value(data, "eval_string")) if data else None
        if data and text:
            yield EvalMap(reader.value(data, "system"), text, reader.value(data, "eval_value", signed=True))
