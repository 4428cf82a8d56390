# SPDX-License-Identifier: Apache-2.0
"""What rbdump wants to know of a kernel's types, wherever it is written: BTF or DWARF."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["FunctionProto", "Member", "Parameter", "StructLayout", "TypeSource"]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure."""

    name: str
    offset: int
    """Bytes from the start of the structure."""
    size: int
    """Bytes; 0 where the type source does not say (pointers in BTF)."""
    bit_offset: int = 0
    """Bits from the start of the structure, counted from the first byte on either byte order as BTF counts them."""
    bits: int = 0
    """Width of a bit field; 0 for an ordinary member."""


@dataclass(frozen=True, slots=True)
class StructLayout:
    """A structure or union, anonymous members flattened into it."""

    name: str
    size: int
    members: dict[str, Member] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    kind: str
    """Behind typedefs and qualifiers: ``int``, ``ptr``, ``enum``, ``struct``, ... as BTF names its kinds."""
    type_name: str
    """Name of that type: ``unsigned int``; empty for pointers."""
    size: int
    """Bytes; 0 for a pointer."""
    signed: bool
    constants: dict[int, str] = field(default_factory=dict, hash=False)
    """Value to name, for enumerations."""


@dataclass(frozen=True, slots=True)
class FunctionProto:
    """A function's parameters."""

    name: str
    parameters: tuple[Parameter, ...]


class TypeSource(Protocol):
    """Where structure layouts and constants come from."""

    origin: str
    """For people: ``BTF``, ``DWARF``."""

    def struct(self, name: str, *members: str) -> StructLayout | None:
        """The structure ``name`` that has ``members``."""

    def enum(self, name: str) -> dict[str, int]:
        """The constants of an enumeration, empty when unknown."""

    def constant(self, name: str) -> int | None:
        """The value of an enumeration constant."""

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The values of those of ``names`` that are enumeration constants."""
