# SPDX-License-Identifier: Apache-2.0
"""Events as bare fields, the way a kernel prints the buffer of a last boot: ``sched_waking: comm=sh pid=0x96 (150)``.

Mirrors print_event_fields() and print_fields() (kernel/trace/trace_output.c). Nothing in a record is trusted: what
lies beyond its end is ``<OVERFLOW>``, as there. Since 6.16 words of the machine's size are spelled as symbols, at
addresses moved to the reading kernel; since 6.19 dynamic strings that do not print show their bytes as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Rows
from rbdump.events.strings import dynamic_bytes, text_of
from rbdump.memo import Memo
from rbdump.render.group import Group, Renderer, or_else

__all__ = ["RawStyle", "fields_renderer", "filter_type"]

_OVERFLOW = "<OVERFLOW>"


class FilterType(Enum):
    """enum of include/linux/trace_events.h, as filter_assign_type() derives it from the type's text."""

    OTHER = auto()
    STATIC_STRING = auto()
    DYN_STRING = auto()
    RDYN_STRING = auto()
    PTR_STRING = auto()
    CPUMASK = auto()


@dataclass(frozen=True, slots=True)
class RawStyle:
    """How print_fields() of a kernel spells values."""

    adjust: Callable[[int], int] | None
    """Where a word of the machine's size is for the kernel that prints it, and names it; None for those before 6.16,
    which print the digits."""
    hex_strings: bool
    """Dynamic strings that do not print show their bytes."""


def filter_type(type_text: str) -> FilterType:
    """What a kernel takes a field for, from its C type."""
    if "__data_loc" in type_text:
        if "char" in type_text:
            return FilterType.DYN_STRING
        if "cpumask_t" in type_text:
            return FilterType.CPUMASK
    if "__rel_loc" in type_text and "char" in type_text:
        return FilterType.RDYN_STRING
    if "[" in type_text and "char" in type_text:
        return FilterType.STATIC_STRING
    if type_text in ("char *", "const char *"):
        return FilterType.PTR_STRING
    return FilterType.OTHER


def _isprint(byte: int) -> bool:
    return 0x20 <= byte < 0x7F or byte >= 0xA0  # lib/ctype.c takes Latin-1 for letters


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _byte(value: int) -> str:
    shown = f"'{bytes([value]).decode('utf-8', 'surrogateescape')}'" if _isprint(value) else ""
    return f"{shown}({value})"


def _string(raw: bytes, style: RawStyle) -> str:
    if style.hex_strings and any(byte and not 0x20 <= byte < 0x7F for byte in raw):
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in raw)
        return f"{shown} ({raw.hex(':')})"
    return text_of(raw)


Values = Callable[[Rows], list[str]]


def _scalar(field: Field, facts: Facts, style: RawStyle) -> Values:
    """Texts of a field of 1, 2, 4 or 8 bytes that is no string."""
    word = facts.abi.long_size
    adjust = style.adjust
    bits = 8 * field.size
    if field.size == 1:
        spell = _byte
    elif field.size == word and adjust is not None:
        names = facts.symbols.pS

        def spell(value: int) -> str:
            return f"{names[value]} ({_signed(adjust(value), bits)})"
    elif field.size == 2:

        def spell(value: int) -> str:
            return f"{value:#x} ({value})"
    else:

        def spell(value: int) -> str:
            return f"{value:#x} ({_signed(value, bits)})"

    begin = facts.addr_of("_stext")
    if adjust is not None and field.size == 4 and field.name in ("caller_offs", "parent_offs") and begin is not None:
        plain, base = spell, begin

        def spell(value: int) -> str:
            return f"{facts.symbols.pS[base + value]} {plain(value)}"

    texts = Memo(spell)
    return lambda rows: list(map(texts.__getitem__, rows.integers(field.offset, field.size, signed=False).tolist()))


def _located(field: Field, spell: Callable[[bytes], str]) -> Values:
    """Texts of a dynamic array: a u32 that holds its length and its offset."""
    return lambda rows: [_OVERFLOW if raw is None else spell(raw) for raw in dynamic_bytes(rows, field)]


def _pointed(field: Field, facts: Facts, style: RawStyle) -> Values:
    """Texts of a pointer to a string. Kernels before 6.16 read at the unmoved address and find nothing there."""
    digits = 2 * facts.abi.long_size

    def spell(addr: int) -> str:
        text = facts.string_at(addr) if style.adjust is not None else None
        return f"(0x{addr:0{digits}x})" if text is None else f"(0x{addr:0{digits}x}:{text})"

    texts = Memo(spell)
    return lambda rows: list(map(texts.__getitem__, rows.integers(field.offset, field.size, signed=False).tolist()))


def _values(field: Field, facts: Facts, style: RawStyle) -> Values:
    kind = filter_type(field.type)
    if kind is FilterType.STATIC_STRING:
        strings = Memo(text_of)
        return lambda rows: list(map(strings.__getitem__, rows.char_arrays(field.offset, field.size).tolist()))
    if kind in (FilterType.DYN_STRING, FilterType.RDYN_STRING):
        return _located(field, lambda raw: _string(raw, style))
    if kind is FilterType.PTR_STRING:
        return _pointed(field, facts, style)
    if kind is FilterType.CPUMASK:
        return lambda rows: ["<INVALID-TYPE>"] * len(rows)
    if field.size == 4 and field.is_dynamic:
        return _located(field, lambda raw: raw.hex(","))
    if field.size in (1, 2, 4, 8):
        return _scalar(field, facts, style)
    return lambda rows: ["<INVALID-SIZE>"] * len(rows)


def fields_renderer(fmt: EventFormat, facts: Facts, style: RawStyle) -> Renderer:
    """Renders an event as its fields; rows may be of any length. ``facts`` name addresses as the reader would."""
    if not fmt.fields:
        return lambda group: [f"{fmt.name}:No fields found\n"] * len(group)
    columns = [or_else(_values(field, facts, style), field.offset + field.size, _OVERFLOW) for field in fmt.fields]
    names = [field.name.replace("%", "%%") for field in fmt.fields]
    template = f"{fmt.name.replace('%', '%%')}:" + "".join(f" {name}=%s" for name in names) + "\n"

    def render(group: Group) -> list[str]:
        texts = (values(group.rows) for values in columns)
        return [template % row for row in zip(*texts, strict=True)]

    return render
