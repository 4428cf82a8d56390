# SPDX-License-Identifier: Apache-2.0
"""Event formats: what a tracefs `format` file says of an event, and the grammar of such files.

The files are written by f_show() of kernel/trace/trace_events.c, the two headers by ring_buffer_print_page_header()
and ring_buffer_print_entry_header() of kernel/trace/ring_buffer.c. Files whose print fmt spans lines or is missing, and
files whose tabs became blanks, are read as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rbdump.errors import SourceError

__all__ = [
    "USER_SYSTEMS",
    "EventFormat",
    "Field",
    "FormatError",
    "HeaderPage",
    "parse_format",
    "parse_header_event",
    "parse_header_page",
    "sizeof",
]

USER_SYSTEMS = ("user_events", "user_events_multi")
"""Of the events that processes make; user_event_print_trace() (trace_events_user.c) prints them as fields."""


class FormatError(SourceError):
    """A file is no tracefs format file."""


@dataclass(frozen=True, slots=True)
class Field:
    """One ``field:`` line of a format file."""

    type: str
    """The C type as tracefs spells it, with array brackets moved back onto it: ``char[16]``, ``__data_loc char[]``."""
    name: str
    offset: int
    """Bytes from the start of struct trace_entry."""
    size: int
    """Bytes; 4 for each ``__data_loc`` and ``__rel_loc`` (8 in synthetic events, whose first 4 are the u32)."""
    signed: bool
    array_length: int | None = None
    """Elements of a fixed array, dynamic arrays in an array of these; None for a scalar and a single dynamic array."""
    element_size: int = 0
    """Bytes of one element of an array (fixed or dynamic; 1 where the type is unknown); the size for a scalar."""

    @property
    def is_data_loc(self) -> bool:
        """A u32 (length << 16 | offset) whose offset counts from the start of the record."""
        return self.type.startswith("__data_loc")

    @property
    def is_rel_loc(self) -> bool:
        """A u32 (length << 16 | offset) whose offset counts from the end of this field."""
        return self.type.startswith("__rel_loc")

    @property
    def is_dynamic(self) -> bool:
        """A dynamic array: the field holds where in the record its bytes are."""
        return self.is_data_loc or self.is_rel_loc

    @property
    def is_string(self) -> bool:
        """Characters in the record: a char array, fixed or dynamic."""
        return "char" in self.type and "[" in self.type


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One format file."""

    system: str
    name: str
    id: int
    common_fields: tuple[Field, ...]
    fields: tuple[Field, ...]
    """Without the common fields, in definition order."""
    print_fmt: str
    """The text behind ``print fmt: ``; empty when the file has none."""


@dataclass(frozen=True, slots=True)
class HeaderPage:
    """``events/header_page``: the word size, and where a sub-buffer keeps its records."""

    commit_size: int
    """sizeof(local_t), which is sizeof(long)."""
    data_offset: int
    data_size: int
    """Bytes that records may take: sub-buffer size - `data_offset`."""

    @property
    def long_size(self) -> Literal[4, 8]:
        """Bytes of an ``unsigned long`` of the kernel that wrote the file."""
        return 4 if self.commit_size == 4 else 8


_LIMIT = 1 << 20  # a format file is read through one seq_file; real ones stay below 64 KiB
_FIELD_LIMIT = 1 << 12

_FIELD = re.compile(
    r"\s*field:\s*(?P<declaration>[^;]+?)\s*;\s*offset:\s*(?P<offset>\d{1,9})\s*;\s*size:\s*(?P<size>\d{1,9})\s*;"
    r"(?:\s*signed:\s*(?P<signed>[01])\s*;)?\s*",
    re.ASCII,
)
_DECLARATION = re.compile(r"(?P<type>.*[\s*\])])(?P<name>[A-Za-z_]\w*)\s*(?P<array>\[.*\])?", re.ASCII | re.DOTALL)
_MAX_STRINGS = 64
"""MAX_ARRAY_LEN of kernel/trace/trace_probe.h."""
_SEVERAL = re.compile(r"\[\]\[(\d{1,9})\]$", re.ASCII)
_LENGTH = re.compile(r"\[\s*(\d{1,9})\s*\]", re.ASCII)

_SIZES = {
    **dict.fromkeys(
        ("char", "signed char", "unsigned char", "u8", "s8", "__u8", "__s8", "bool", "uint8_t", "int8_t"), 1
    ),
    **dict.fromkeys(("short", "unsigned short", "u16", "s16", "__u16", "__s16", "__le16", "__be16", "umode_t"), 2),
    **dict.fromkeys(("uint16_t", "int16_t", "access_mask_t"), 2),
    **dict.fromkeys(
        ("int", "unsigned int", "unsigned", "u32", "s32", "__u32", "__s32", "__le32", "__be32", "nid_t"), 4
    ),
    **dict.fromkeys(("uint32_t", "int32_t", "pid_t", "dev_t", "gfp_t", "uid_t", "gid_t"), 4),
    **dict.fromkeys(("long long", "unsigned long long", "u64", "s64", "__u64", "__s64", "__le64", "__be64"), 8),
    **dict.fromkeys(("uint64_t", "int64_t", "ktime_t", "loff_t", "sector_t", "dma_addr_t"), 8),
}
_WORDS = {"long", "unsigned long", "long unsigned int", "long int", "size_t", "ssize_t", "uintptr_t", "cpumask_t"}


def sizeof(base: str, long_size: int) -> int:
    """sizeof of a C type as far as a format file needs it; 0 when it cannot be known."""
    base = base.removeprefix("const ").strip()
    if base.endswith("*") or base in _WORDS:
        return long_size
    return _SIZES.get(base, 4 if base.startswith("enum ") else 0)


def _parse_field(line: str, where: str, long_size: int) -> Field:
    match = _FIELD.fullmatch(line) if len(line) <= _FIELD_LIMIT else None
    parts = _DECLARATION.fullmatch(match["declaration"]) if match else None
    if match is None or parts is None:
        raise FormatError(f"{where}: this is no field line of a format file: {line[:80]!r}")
    base, name, array = " ".join(parts["type"].split()), parts["name"], parts["array"] or ""
    offset, size = int(match["offset"]), int(match["size"])
    signed = match["signed"] == "1"
    if base.startswith(("__data_loc", "__rel_loc")):
        # An array of strings, which a probe may have, is an array of u32. Synthetic events keep the u32 at the start
        # of a slot of 8 bytes, and say 8.
        several = _SEVERAL.search(base)
        count = size // 4 if several and 4 * int(several[1]) == size <= 4 * _MAX_STRINGS else None
        if count is None and size not in (4, 8):
            raise FormatError(f"{where}: the dynamic field {name} has {size} bytes, neither 4 nor 8")
        inner = _SEVERAL.sub("[]", base).split(None, 1)[1] if " " in base else ""
        element = sizeof(inner.removesuffix("[]").strip(), long_size) or 1
        return Field(base + array, name, offset, size, signed, count, element)
    if not array:
        return Field(base, name, offset, size, signed, None, size)
    known = sizeof(base, long_size)
    length = _LENGTH.fullmatch(array)
    count = int(length[1]) if length else 0
    # Enumerators and sizeof() between the brackets leave only the type to tell the element size.
    even = bool(count and size and size % count == 0)
    element = size // count if even else known if known and size % known == 0 else 1
    return Field(base + array, name, offset, size, signed, size // element if size else None, element)


def parse_format(
    text: str, system: str | None = None, origin: str = "", *, name: str | None = None, long_size: int = 8
) -> EventFormat:
    """The event that a tracefs ``format`` file describes.

    ``system`` and ``name`` are the folders it lay in (the text holds only the name; the folder's wins, since the
    kernel looks events up by it), ``origin`` is where the text was found, for errors, ``long_size`` the bytes of an
    ``unsigned long`` where it was written.
    FormatError when the text is no format file.
    """
    what = f"format of {system}:{name}" if system and name else f"format of {name}" if name else "format file"
    where = f"{origin}: {what}" if origin else what
    if len(text) > _LIMIT:
        raise FormatError(f"{where}: {len(text)} characters are too many for a format file")
    head, separator, print_fmt = text.partition("\nprint fmt:")
    lines = head.split("\n")
    title = re.match(r"name:\s*(\S.*?)\s*$", lines[0])
    number = re.match(r"ID:\s*(\d{1,9})\s*$", lines[1], re.ASCII) if len(lines) > 1 else None
    if title is None or number is None or len(lines) < 3 or lines[2].strip() != "format:":
        raise FormatError(f"{where}: a format file begins with the lines `name:`, `ID:` and `format:`, this does not")
    event_id = int(number[1])
    if event_id > 0xFFFF:
        raise FormatError(f"{where}: the ID {event_id} does not fit the 16 bits that a record has for it")
    if not separator and head and not head.endswith("\n"):
        raise FormatError(f"{where}: the file ends in the middle of a line")
    common: list[Field] = []
    fields: list[Field] = []
    for position, line in enumerate(lines[3:], 4):
        if not line.strip():
            continue
        parsed = _parse_field(line, f"{where}, line {position}", long_size)
        (common if parsed.name.startswith("common_") and not fields else fields).append(parsed)
    if not common:
        raise FormatError(f"{where}: no common field (common_type ...) is listed")
    return EventFormat(
        system or "",
        name or title[1],
        event_id,
        tuple(common),
        tuple(fields),
        print_fmt.removeprefix(" ").rstrip("\n"),
    )


def parse_header_page(text: str, origin: str = "header_page") -> HeaderPage:
    """What ``events/header_page`` says. FormatError when it is none."""
    lines = [line for line in text[:_LIMIT].split("\n") if line.strip()]
    found = {parsed.name: parsed for parsed in (_parse_field(line, origin, 8) for line in lines)}
    if not found.keys() >= {"timestamp", "commit", "data"}:
        raise FormatError(f"{origin}: the fields timestamp, commit and data are not all there")
    commit, data = found["commit"], found["data"]
    if commit.size not in (4, 8):
        raise FormatError(f"{origin}: the commit word has {commit.size} bytes, neither 4 nor 8")
    return HeaderPage(commit.size, data.offset, data.size)


_HEADER_EVENT = re.compile(
    r"\s*(data max type_len|\w+)\s*(?::|==)\s*(?:type\s*==\s*)?(\d{1,9})\s*(?:bits)?\s*", re.ASCII
)


def parse_header_event(text: str, origin: str = "header_event") -> dict[str, int]:
    """The numbers of ``events/header_event`` by name (``type_len``: 5 bits, ``padding``: type 29, ...)."""
    found: dict[str, int] = {}
    for line in text[:_LIMIT].split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        match = _HEADER_EVENT.fullmatch(line)
        if match is None:
            raise FormatError(f"{origin}: this is no line of a header_event file: {line[:80]!r}")
        found[match[1]] = int(match[2])
    if not found.keys() >= {"type_len", "time_delta", "padding", "data max type_len"}:
        raise FormatError(f"{origin}: type_len, time_delta, padding and data max type_len are not all there")
    return found
