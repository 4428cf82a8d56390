# SPDX-License-Identifier: Apache-2.0
"""Addresses of the dead kernel as the kernel that reads the buffer after the reboot spells them.

Mirrors trace_adjust_address() (kernel/trace/trace.c): an address of the kernel proper is moved by the text delta of
the two boots, so it gets its name, and where a number is printed the moved one; modules are not loaded yet and get
none. Until 6.14 every address that a function, a stack or a marker holds was moved, wherever it led.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rbdump.events.facts import Facts
from rbdump.memo import Memo
from rbdump.symbols.symbolizer import unknown_addr, unknown_function

__all__ = ["Reader", "reader_facts"]

_CORE = (("_stext", "_end"), ("__init_begin", "__init_end"), ("__start_rodata", "__end_rodata"), ("_sdata", "_edata"))


class Reader:
    """Moves addresses as the reading kernel does and finds the names that it has for them."""

    def __init__(self, facts: Facts, *, text_delta: int, modules: Sequence[int], selective: bool) -> None:
        """``text_delta``: `_text` of the reading kernel less that of the dead one, 0 when not known; ``modules``:
        addresses of the scratch's modules; ``selective``: only addresses that lead into the kernel are moved.
        """
        self._facts = facts
        self._mask = facts.abi.long_mask
        self._delta = text_delta
        self._lowest_module = min(modules, default=self._mask + 1)
        self._selective = selective
        pairs = [(facts.addr_of(begin), facts.addr_of(end)) for begin, end in _CORE]
        self._core = [(begin, end) for begin, end in pairs if begin is not None and end is not None]

    def adjust(self, addr: int) -> int:
        """The address as the reading kernel takes it."""
        if self._selective and (addr >= self._lowest_module or not self._is_core(addr)):
            return addr
        return self.move(addr)

    def move(self, addr: int) -> int:
        """The address moved by the text delta, wherever it leads."""
        return (addr + self._delta) & self._mask

    def _is_core(self, addr: int) -> bool:
        return any(begin <= addr < end for begin, end in self._core)

    def spell(self, addr: int, table: Mapping[int, str], unknown: Callable[[int], str]) -> str:
        """The text in ``table`` of an address of the reading kernel, which has the dead one's symbols moved."""
        before = (addr - self._delta) & self._mask
        # a name in brackets behind the symbol is a module's
        if not before or (self._core and not self._is_core(before)) or self._facts.symbols.ps[before].endswith("]"):
            return unknown(addr)
        text = table[before]
        return unknown(addr) if text.startswith("0x") else text


class _Symbols:
    """The symbols of the reading kernel, asked by addresses of the dead one."""

    def __init__(self, facts: Facts, reader: Reader) -> None:
        base = facts.symbols

        self.pS: Mapping[int, str] = Memo(lambda addr: reader.spell(reader.adjust(addr), base.pS, unknown_addr))
        # function graph lines never look at modules
        self.ps: Mapping[int, str] = Memo(lambda addr: reader.spell(reader.move(addr), base.ps, unknown_addr))
        self.pB: Mapping[int, str] = Memo(lambda addr: reader.spell(reader.adjust(addr), base.pB, unknown_addr))
        self.func: Mapping[int, str] = Memo(lambda addr: reader.spell(reader.adjust(addr), base.func, unknown_function))


def reader_facts(facts: Facts, reader: Reader) -> Facts:
    """The same facts with names as the reading kernel spells them."""
    return replace(facts, symbols=_Symbols(facts, reader))
