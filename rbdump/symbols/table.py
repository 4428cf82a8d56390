# SPDX-License-Identifier: Apache-2.0
"""Addresses of the last boot to symbols, as kallsyms_lookup() decides: which alias, which size, and where nothing is.

Mirrors get_symbol_pos() and is_ksym_addr() for the kernel proper, find_kallsyms_symbol() for modules. All of it is
worked out once, as a list of disjoint address intervals that each belong to one symbol; a look-up is a binary search.

* The kernel proper answers inside ``_stext.._end`` and ``__init_begin..__init_end`` when its table lists data symbols
  (CONFIG_KALLSYMS_ALL), else inside ``_stext.._etext`` and ``_sinittext.._einittext``. Behind these, a neighbour is
  no answer. The first of several names of an address is the one; its size ends at the next different address.
* A module answers inside its memory regions, which hold whole pages; a symbol ends at the next one of its region or
  at the end of the region. A symbol list does not say where regions are: they are taken to end with the last page
  that holds a symbol of one kind (text, read-only data, data).
* ``[bpf]`` symbols print without a module name. ``[__builtin__ftrace]`` and ``[__builtin__kprobes]`` are listed in
  /proc/kallsyms, but no look-up ever finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.findings import Finding
from rbdump.kernel.symboldata import Names, SymbolData

__all__ = ["TEXT", "SymbolTable"]

Addrs = npt.NDArray[np.uint64]

_CORE = -1
_NEVER_FOUND = {"__builtin__ftrace", "__builtin__kprobes"}
TEXT = np.frombuffer(b"tTwW", np.uint8)
"""Letters that nm has for text."""
_READ_ONLY = np.frombuffer(b"rR", np.uint8)
_PER_CPU = np.frombuffer(b"aA", np.uint8)
_PAGE_SIZES = (4096, 16384, 65536)


class SymbolTable:
    """All symbols of the last boot, kernel and modules, with the kernel's own rules of look-up."""

    def __init__(
        self,
        addrs: Addrs,
        names: Names,
        *,
        types: npt.NDArray[np.uint8] | None = None,
        owners: npt.NDArray[np.int32] | None = None,
        modules: Sequence[str] = (),
        origin: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        """Build from columns of equal length.

        ``owners`` gives the index into ``modules`` of each symbol, -1 for the kernel proper. Rows may come in any
        order; rows of equal address must come in the order of the kernel's table.
        """
        types = np.zeros(len(addrs), np.uint8) if types is None else types
        owners = np.full(len(addrs), _CORE, np.int32) if owners is None else owners
        if len(addrs) > 1 and not bool((addrs[1:] >= addrs[:-1]).all()):
            order = np.argsort(addrs, kind="stable")
            addrs, names, types, owners = addrs[order], names.select(order), types[order], owners[order]
        self.addrs = addrs
        """uint64, sorted; aliases in the kernel's order."""
        self.names = names
        self.types = types
        """nm letters as character codes; 0 where the source gives none."""
        self.owners = owners
        """Index into `modules` of each symbol; -1 for the kernel proper."""
        self.modules = tuple(modules)
        self.origin = origin
        """Where the symbols come from, for people."""
        self.findings = tuple(findings)
        self._assumed_page_size = 4096
        self._tags = ["" if name == "bpf" else name for name in self.modules]
        self._build()

    @classmethod
    def from_data(cls, data: SymbolData, delta: int = 0, *, module: str | None = None) -> SymbolTable:
        """The symbols of an image, moved by ``delta`` bytes (last boot minus link address); absolute ones stay."""
        addrs = data.addrs + np.uint64(delta & 0xFFFF_FFFF_FFFF_FFFF)
        if data.absolute is not None:
            addrs[data.absolute] = data.addrs[data.absolute]
        owners = None if module is None else np.zeros(len(addrs), np.int32)
        return cls(
            addrs,
            data.names,
            types=data.types,
            owners=owners,
            modules=() if module is None else (module,),
            origin=data.origin,
        )

    def merge(self, others: Iterable[SymbolTable]) -> SymbolTable:
        """This table and the symbols of ``others``; modules of the same name become one."""
        tables = [self, *others]
        modules: dict[str, int] = {}
        owners = []
        for table in tables:
            index = np.array([*(modules.setdefault(name, len(modules)) for name in table.modules), _CORE], np.int32)
            owners.append(index[table.owners])
        return SymbolTable(
            np.concatenate([table.addrs for table in tables]),
            Names.concatenate([table.names for table in tables]),
            types=np.concatenate([table.types for table in tables]),
            owners=np.concatenate(owners),
            modules=tuple(modules),
            origin=", ".join(dict.fromkeys(table.origin for table in tables if table.origin)),
            findings=[finding for table in tables for finding in table.findings],
        )

    def __len__(self) -> int:
        return len(self.addrs)

    def addr(self, name: str, module: str | None = None) -> int | None:
        """The lowest address that carries ``name`` in the kernel proper (or in ``module``); None when there is none."""
        wanted = _CORE if module is None else self.modules.index(module) if module in self.modules else None
        rows = [row for row in self.names.find(name) if self.owners[row] == wanted]
        return int(self.addrs[rows[0]]) if rows else None

    def addrs_named(self, name: str, module: str | None = None) -> Addrs:
        """The addresses with an answer that carry ``name`` (in ``module`` if given), each once.

        The kernel's come first, then those of modules, as kallsyms_lookup_name() asks them.
        """
        rows = np.array(self.names.find(name), np.int64)
        rows = rows[self.nearest(self.addrs[rows])[0] >= 0]
        if module is not None:
            rows = rows[[self.module_of(row) == module for row in rows.tolist()]]
        own = self.owners[rows] == _CORE
        return np.concatenate([distinct(self.addrs[rows[own]]), distinct(self.addrs[rows[~own]])])

    def in_module(self, name: str) -> bool:
        """Whether modules have symbols of that name, and the kernel proper has none."""
        owners = {int(self.owners[row]) for row in self.names.find(name)} if self.modules else set()
        return bool(owners) and _CORE not in owners

    def module_of(self, index: int) -> str:
        """The name between brackets behind a symbol, as the kernel prints it; empty for the kernel and for bpf."""
        owner = int(self.owners[index])
        return self._tags[owner] if owner >= 0 else ""

    def nearest(self, addrs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Addrs, Addrs]:
        """The symbol that kallsyms_lookup() finds for each address.

        Returns (index into the columns, -1 for none; bytes into the symbol; size of the symbol in bytes).
        """
        wanted = np.asarray(addrs).astype(np.uint64, copy=False)
        index = np.full(len(wanted), -1, np.int64)
        offset, size = np.zeros(len(wanted), np.uint64), np.zeros(len(wanted), np.uint64)
        if len(self._begin):
            at = np.searchsorted(self._begin, wanted, side="right") - 1
            hits = np.flatnonzero((at >= 0) & (wanted < self._end[at]))
            at = at[hits]
            rows = self._row[at]
            index[hits] = rows
            offset[hits] = wanted[hits] - self.addrs[rows]
            size[hits] = self._stop[at] - self.addrs[rows]
        return index, offset, size

    @property
    def intervals(self) -> tuple[Addrs, Addrs, npt.NDArray[np.int64], Addrs]:
        """What each symbol answers for: begin and end (exclusive) of the addresses, row, end of the symbol itself."""
        return self._begin, self._end, self._row, self._stop

    def is_text(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these symbols nm calls text (weak ones included)."""
        return np.isin(self.types[rows], TEXT)

    @property
    def lists_data(self) -> bool:
        """Whether data symbols are listed too (CONFIG_KALLSYMS_ALL): the table has ``_end``."""
        return self.addr("_end") is not None

    def _build(self) -> None:
        core = np.flatnonzero(self.owners == _CORE)
        everything = self.lists_data
        parts = [self._core_intervals(core, everything)]
        if len(core) < len(self):
            parts.append(self._module_intervals(everything or not len(core)))
        begin, end, row, stop = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(begin, kind="stable")
        begin, end, row, stop = begin[order], end[order], row[order], stop[order]
        if len(begin):  # a damaged list may overlap itself; an address belongs to one symbol all the same
            end[:-1] = np.minimum(end[:-1], begin[1:])
        keep = end > begin
        self._begin, self._end, self._row, self._stop = begin[keep], end[keep], row[keep], stop[keep]

    def _bounds(self, everything: bool) -> list[tuple[int, int]]:
        pairs = [("_stext", "_end"), ("__init_begin", "__init_end")]
        if not everything:
            pairs = [("_stext", "_etext"), ("_sinittext", "_einittext")]
        found = [(self.addr(low), self.addr(high)) for low, high in pairs]
        ranges = sorted((low, high) for low, high in found if low is not None and high is not None and low < high)
        merged: list[tuple[int, int]] = []
        for low, high in ranges:
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return merged

    def _core_intervals(self, core: npt.NDArray[np.int64], everything: bool) -> tuple[Any, ...]:
        addrs = self.addrs[core]
        first = np.ones(len(core), np.bool_)
        first[1:] = addrs[1:] != addrs[:-1]
        rows, begin = core[first], addrs[first]
        stop = np.append(begin[1:], begin[-1:])
        ranges = self._bounds(everything)
        if len(begin):
            behind = min(int(begin[-1]) + 1, 2**64 - 1)
            if not ranges:  # a hand-made list: answer from its first text symbol to its last address
                text = np.flatnonzero(np.isin(self.types[rows], TEXT))
                ranges = [(int(begin[text[0]] if len(text) else begin[0]), behind)]
            stop[-1] = max(behind, *(high for _, high in ranges))
        pieces = []
        for low, high in ranges:
            clipped_begin = np.maximum(begin, np.uint64(low))
            clipped_end = np.minimum(stop, np.uint64(high))
            keep = clipped_begin < clipped_end
            pieces.append((clipped_begin[keep], clipped_end[keep], rows[keep], stop[keep]))
        pieces.append((begin[:0], begin[:0], rows[:0], stop[:0]))
        return tuple(np.concatenate(column) for column in zip(*pieces, strict=True))

    def _module_intervals(self, everything: bool) -> tuple[Any, ...]:
        hidden = [index for index, name in enumerate(self.modules) if name in _NEVER_FOUND]
        rows = np.flatnonzero((self.owners != _CORE) & ~np.isin(self.owners, hidden) & ~np.isin(self.types, _PER_CPU))
        text = np.isin(self.types[rows], TEXT)
        kind = np.where(text, 0, np.where(np.isin(self.types[rows], _READ_ONLY), 1, 2))
        bpf = np.isin(self.owners[rows], [i for i, name in enumerate(self.modules) if name == "bpf"])
        if not everything:
            rows, kind = rows[text | bpf], kind[text | bpf]
        # is_mapping_symbol(): such labels are no symbols
        labels = [i for i, row in enumerate(rows.tolist()) if self.names.raw(row).startswith((b"$", b".L", b"L0"))]
        rows, kind = np.delete(rows, labels), np.delete(kind, labels)
        addrs, owners = self.addrs[rows], self.owners[rows]
        first = np.ones(len(rows), np.bool_)
        first[1:] = (addrs[1:] != addrs[:-1]) | (owners[1:] != owners[:-1])
        rows, kind, addrs, owners = rows[first], kind[first], addrs[first], owners[first]
        page = np.uint64(self.page_size - 1)
        stop = (addrs | page) + np.uint64(1)
        same = (owners[1:] == owners[:-1]) & (kind[1:] == kind[:-1])
        stop[:-1][same] = addrs[1:][same]
        return addrs, stop, rows, stop

    @property
    def page_size(self) -> int:
        """Bytes of a page of the kernel, from symbols that lie one page apart, else as `assume_page_size` says."""
        reserved, swapper = self.addr("reserved_pg_dir"), self.addr("swapper_pg_dir")
        if reserved is not None and swapper is not None and swapper - reserved in _PAGE_SIZES:
            return swapper - reserved
        zero = self.addr("empty_zero_page")  # an array of one page; a pointer on some machines
        if zero is not None:
            behind = int(np.searchsorted(self.addrs, np.uint64(zero), side="right"))
            if behind < len(self) and int(self.addrs[behind]) - zero in _PAGE_SIZES:
                return int(self.addrs[behind]) - zero
        return self._assumed_page_size

    def assume_page_size(self, size: int) -> None:
        """Bytes of a page where no symbol tells them, at first 4096: the last symbol of a module ends with its page."""
        if self._assumed_page_size != size:
            self._assumed_page_size = size
            if self.modules:
                self._build()
