# SPDX-License-Identifier: Apache-2.0
"""Addresses of the dead kernel as the kernel that reads the buffer after the reboot spells them.

Mirrors trace_adjust_address() (kernel/trace/trace.c): an address of the kernel proper is moved by the text delta of
the two boots, so it gets its name, and where a number is printed the moved one; modules are not loaded yet and get
none. Until 6.14 every address that a function, a stack or a marker holds was moved, wherever it led. What is not moved
gets whatever name the reading kernel has there: none, most likely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rbdump.events.facts import Facts
from rbdump.memo import Memo
from rbdump.symbols.symbolizer import unknown_addr, unknown_function

__all__ = ["Reader", "reader_facts", "stale_facts"]

_CORE = (
    ("_stext", "_end"),
    ("__init_begin", "__init_end"),
    ("__start_rodata", "__end_rodata"),
    ("_sdata", "_edata"),
    # all that a list without data has (CONFIG_KALLSYMS_ALL is not set)
    ("_stext", "_etext"),
    ("_sinittext", "_einittext"),
)


class Reader:
    """Moves addresses as the reading kernel does and finds the names that it has for them."""

    def __init__(
        self,
        facts: Facts,
        *,
        text_delta: int = 0,
        moved: bool = True,
        told: bool = True,
        modules: Sequence[int] = (),
        selective: bool = False,
    ) -> None:
        """``text_delta``: `_text` of the reading kernel less that of the dead one, 0 when not known; ``moved``: they
        differ; ``told``: the region tells the reading kernel where the dead one was; ``modules``: addresses of the
        scratch's modules; ``selective``: only addresses that lead into the kernel are moved.
        """
        self._facts = facts
        self._mask = facts.abi.long_mask
        self._delta = text_delta
        self._moved = moved
        self.told = told
        self._lowest_module = min(modules, default=self._mask + 1)
        self._selective = selective
        pairs = [(facts.addr_of(begin), facts.addr_of(end)) for begin, end in _CORE]
        self._core = [(begin, end) for begin, end in pairs if begin is not None and end is not None]

    def adjusts(self, addr: int) -> bool:
        """Whether an address is moved."""
        return self.told and not (self._selective and (addr >= self._lowest_module or not self._is_core(addr)))

    def adjust(self, addr: int) -> int:
        """The address as the reading kernel takes it."""
        return self._shift(addr) if self.adjusts(addr) else addr

    def _shift(self, addr: int) -> int:
        return (addr + self._delta) & self._mask

    def _is_core(self, addr: int) -> bool:
        return any(begin <= addr < end for begin, end in self._core)

    def spell(self, addr: int, adjusted: bool, table: Mapping[int, str], unknown: Callable[[int], str]) -> str:
        """The text of an address that is moved or not; ``table`` has those of the dead kernel's addresses."""
        taken = self._shift(addr) if adjusted else addr
        if self._moved and not (adjusted or self._delta):  # nobody knows what lies there now
            return unknown(taken)
        before = (taken - self._delta) & self._mask
        # a name in brackets behind the symbol is a module's
        if not before or (self._core and not self._is_core(before)) or self._facts.symbols.ps[before].endswith("]"):
            return unknown(taken)
        text = table[before]
        return unknown(taken) if text.startswith("0x") else text


class _Symbols:
    """The symbols of the reading kernel, asked by addresses of the dead one."""

    def __init__(self, facts: Facts, reader: Reader, adjusts: Callable[[int], bool], *, graph: bool) -> None:
        """``adjusts``: whether an address is moved; ``graph``: those of function graph lines are, wherever they lead"""
        base = facts.symbols

        def spelled(table: Mapping[int, str], unknown: Callable[[int], str]) -> Mapping[int, str]:
            return Memo(lambda addr: reader.spell(addr, adjusts(addr), table, unknown))

        self.pS = spelled(base.pS, unknown_addr)
        self.ps: Mapping[int, str] = Memo(lambda addr: reader.spell(addr, graph, base.ps, unknown_addr))
        self.pB = spelled(base.pB, unknown_addr)
        self.func = spelled(base.func, unknown_function)


def reader_facts(facts: Facts, reader: Reader) -> Facts:
    """The same facts with names as the reading kernel spells them where it adjusts addresses."""
    return replace(facts, symbols=_Symbols(facts, reader, reader.adjusts, graph=reader.told))


def stale_facts(facts: Facts, reader: Reader) -> Facts:
    """The same facts with names as the reading kernel spells them where it takes addresses as they are."""
    return replace(facts, symbols=_Symbols(facts, reader, lambda _: False, graph=False))
