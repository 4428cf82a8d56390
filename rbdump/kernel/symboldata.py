# SPDX-License-Identifier: Apache-2.0
"""Symbols as columns: link addresses, packed names and nm types, in the order of the kernel's own table.

Nothing here formats or looks up the nearest symbol; see `rbdump.symbols.table` for both. Names stay packed
bytes until one is asked for: a kernel has 50,000 to 200,000 of them and a trace needs a few hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import numpy.typing as npt

__all__ = ["Names", "SymbolData"]

Index = npt.NDArray[np.int64]

_MOVERS = (b"kaslr", b"determine_relocation_address")
"""What moves kernels at boot; the second one on mips and loongarch."""


class Names(Sequence[str]):
    """A column of strings: item ``i`` is ``blob[starts[i]:ends[i]]``, decoded when it is asked for."""

    __slots__ = ("blob", "ends", "starts")

    def __init__(self, blob: bytes, starts: Index, ends: Index) -> None:
        self.blob = blob
        self.starts = starts
        self.ends = ends

    @classmethod
    def from_list(cls, names: Sequence[str | bytes]) -> Names:
        """A column that holds ``names`` in that order."""
        encoded = [name.encode("utf-8", "replace") if isinstance(name, str) else name for name in names]
        lengths = np.fromiter((len(name) for name in encoded), np.int64, len(encoded))
        ends = np.cumsum(lengths)
        return cls(b"".join(encoded), ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return Names(self.blob, self.starts[index], self.ends[index])
        return self.blob[int(self.starts[index]) : int(self.ends[index])].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        blob = self.blob
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield blob[start:end].decode("utf-8", "replace")

    def raw(self, index: int) -> bytes:
        """The bytes of one name."""
        return self.blob[int(self.starts[index]) : int(self.ends[index])]

    def select(self, rows: npt.NDArray[Any]) -> Names:
        """The names that a mask or an index array chooses, in that order."""
        return Names(self.blob, self.starts[rows], self.ends[rows])

    def find(self, name: str) -> list[int]:
        """The indices of all items that are ``name``, in column order."""
        wanted = name.encode("utf-8", "replace")
        rows = np.flatnonzero(self.ends - self.starts == len(wanted))
        if not wanted or not len(rows):
            return rows.tolist()
        # Comparing two bytes in numpy first leaves a handful of candidates of the same length.
        octets = np.frombuffer(self.blob, np.uint8)
        starts = self.starts[rows]
        near = (octets[starts] == wanted[0]) & (octets[starts + (len(wanted) - 1)] == wanted[-1])
        return [
            row
            for row, start in zip(rows[near].tolist(), starts[near].tolist(), strict=True)
            if self.blob.startswith(wanted, start)
        ]

    @property
    def of_movable_kernel(self) -> bool:
        """Whether these are names of a kernel that may move itself at boot (KASLR).

        Nothing of it is in an arm kernel, for example, while where it can be built in, functions and options name it.
        """
        return any(word in self.blob for word in _MOVERS)

    @classmethod
    def concatenate(cls, columns: Sequence[Names]) -> Names:
        """The names of all columns, one column after the other."""
        bases = np.cumsum([0, *(len(column.blob) for column in columns)])
        pairs = list(zip(columns, bases.tolist(), strict=False))
        return cls(
            b"".join(column.blob for column in columns),
            np.concatenate([np.empty(0, np.int64), *(column.starts + base for column, base in pairs)]),
            np.concatenate([np.empty(0, np.int64), *(column.ends + base for column, base in pairs)]),
        )


@dataclass(frozen=True, slots=True)
class SymbolData:
    """The symbols of one source, sorted by address; equal addresses keep the order in which kallsyms lists them."""

    addrs: npt.NDArray[np.uint64]
    """Link-time addresses."""
    names: Names
    types: npt.NDArray[np.uint8]
    """The letter of nm(1) as its character code: ``T``, ``t``, ``D``, ... ; 0 where the source has none."""
    origin: str
    """Where they come from, for people: ``symtab``, ``kallsyms``, ``System.map``."""
    absolute: npt.NDArray[np.bool_] | None = None
    """True for values that KASLR does not move (per-CPU offsets where per-CPU data is linked at 0); None: none."""
    _found: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.addrs)

    def find(self, name: str) -> list[int]:
        """The rows of all symbols of that name, lowest address first."""
        rows = self._found.get(name)
        if rows is None:
            rows = self._found[name] = self.names.find(name)
        return rows

    def addr(self, name: str) -> int | None:
        """The lowest address that carries ``name``; None when no symbol does."""
        rows = self.find(name)
        return int(self.addrs[rows[0]]) if rows else None

    def names_at(self, addr: int) -> list[str]:
        """All names of exactly this address, in table order."""
        first, last = np.searchsorted(self.addrs, np.array([addr, addr + 1], np.uint64), side="left").tolist()
        return list(self.names[first:last])
