# SPDX-License-Identifier: Apache-2.0
"""Spells addresses as the kernel does: %pS, %ps and %pB of vsprintf, and the names of function events.

Mirrors __sprint_symbol() (kernel/kallsyms.c) and seq_print_ip_sym() (kernel/trace/trace_output.c).
"""

from __future__ import annotations

import numpy as np

from rbdump.abi import Abi
from rbdump.memo import Memo
from rbdump.symbols.table import SymbolTable

__all__ = ["Symbolizer", "unknown_addr", "unknown_function"]

# kretprobe_trampoline_addr(): a return address that a kretprobe has replaced says nothing
_TRAMPOLINES = ("arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline")


def unknown_addr(addr: int) -> str:
    """``0x%lx``, how %pS, %ps and %pB spell an address that no symbol covers."""
    return f"{addr:#x}"


def unknown_function(addr: int) -> str:
    """``0x%08lx`` and 0, how function events and stacks spell an address that no symbol covers."""
    return f"0x{addr:08x}" if addr else "0"


class Symbolizer:
    """Texts of last-boot addresses; without a table every address is unknown, as for a kernel without kallsyms."""

    def __init__(self, table: SymbolTable | None, abi: Abi) -> None:
        self.table = table
        self.abi = abi
        self._mask = abi.long_mask
        self.pS = Memo(self._spell_offset)
        """``name+0x12/0x340 [module]``"""
        self.ps = Memo(self._spell_name)
        """``name [module]``"""
        self.pB = Memo(self._spell_return)
        """``name+0x12/0x340 [module]`` of a return address: the symbol of the call before it."""
        self.func = Memo(self._spell_function)
        """``name`` as function events and stack traces print it; ``0`` for 0, ``0x%08lx`` for unknown."""

    def lookup(self, addr: int) -> tuple[str, int, int, str] | None:
        """(name, bytes into the symbol, size of the symbol, module or empty); None where the kernel finds nothing."""
        if self.table is None or not 0 <= addr <= self._mask:
            return None
        begin, end, rows, stop = self.table.intervals
        at = int(begin.searchsorted(np.uint64(addr), side="right")) - 1
        if at < 0 or addr >= int(end[at]):
            return None
        row = int(rows[at])
        start = int(self.table.addrs[row])
        return self.table.names[row], addr - start, int(stop[at]) - start, self.table.module_of(row)

    def _spell_offset(self, addr: int) -> str:
        addr &= self._mask
        found = self.lookup(addr)
        if found is None:
            return unknown_addr(addr)
        name, offset, size, module = found
        return f"{name}+{offset:#x}/{size:#x} [{module}]" if module else f"{name}+{offset:#x}/{size:#x}"

    def _spell_return(self, addr: int) -> str:
        addr &= self._mask
        found = self.lookup((addr - 1) & self._mask)
        if found is None:
            return unknown_addr(addr)
        name, offset, size, module = found
        return f"{name}+{offset + 1:#x}/{size:#x} [{module}]" if module else f"{name}+{offset + 1:#x}/{size:#x}"

    def _spell_name(self, addr: int) -> str:
        addr &= self._mask
        found = self.lookup(addr)
        if found is None:
            return unknown_addr(addr)
        return f"{found[0]} [{found[3]}]" if found[3] else found[0]

    def _spell_function(self, addr: int) -> str:
        addr &= self._mask
        found = self.lookup(addr) if addr else None
        if found is None:
            return unknown_function(addr)
        if found[1] == 0 and found[0] in _TRAMPOLINES:
            return "[unknown/kretprobe'd]"
        return found[0]
