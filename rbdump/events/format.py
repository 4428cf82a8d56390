# SPDX-License-Identifier: Apache-2.0
"""Event formats: what a tracefs `format` file says of an event."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EventFormat", "Field"]


@dataclass(frozen=True, slots=True)
class Field:
    """One ``field:`` line of a format file."""

    type: str
    """The C type as tracefs spells it, with array brackets moved back onto it: ``char[16]``, ``__data_loc char[]``."""
    name: str
    offset: int
    """Bytes from the start of struct trace_entry."""
    size: int
    """Bytes; 4 for ``__data_loc`` and ``__rel_loc``."""
    signed: bool
    array_length: int | None = None
    """Number of elements of a fixed array; None for a scalar and for dynamic arrays."""
    element_size: int = 0
    """Bytes of one element of an array (fixed or dynamic); the size for a scalar."""

    @property
    def is_data_loc(self) -> bool:
        """A u32 (length << 16 | offset) whose offset counts from the start of the record."""
        return self.type.startswith("__data_loc")

    @property
    def is_rel_loc(self) -> bool:
        """A u32 (length << 16 | offset) whose offset counts from the end of this field."""
        return self.type.startswith("__rel_loc")

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
    """The text behind ``print fmt: ``."""
    origin: str = ""
    """Where the format was found, for people: a path, an image, ``built in``."""
