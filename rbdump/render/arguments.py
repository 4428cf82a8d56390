# SPDX-License-Identifier: Apache-2.0
"""Arguments of traced functions: ``(oldfd=0xb, newfd=0x1)``, spelled by the function's prototype.

Mirrors print_function_args() (kernel/trace/trace_output.c), which finds prototypes in BTF. A function without one gets
empty brackets, as from the kernel; where there is no BTF at all, the words are shown without names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rbdump.columns import distinct
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.events.rows import Rows
from rbdump.memo import Memo

if TYPE_CHECKING:
    from rbdump.kernel.types.typeinfo import FunctionProto, Parameter

__all__ = ["arguments_renderer"]

_MAX_ARGS = 6
"""FTRACE_REGS_MAX_ARGS: a record that has room for so many words behind its fixed fields holds arguments."""
_RELEASE = re.compile(r"(\d+)\.(\d+)")
_UNSIGNED_IN_HEX = (6, 17)
"""The release that began to print unsigned integers in hexadecimal; those before printed every integer by ``%ld``."""


def arguments_renderer(fmt: EventFormat, facts: Facts, func: int) -> Callable[[Rows], list[str]] | None:
    """Texts of the ``args`` of each row, empty for rows without them; None when no record of ``fmt`` has any.

    ``func`` is the offset of the function's address in the record.
    """
    args = next((field for field in fmt.fields if field.name == "args"), None)
    if args is None:
        return None
    begin, size = args.offset, facts.abi.long_size
    speller = cache(lambda: _speller(facts))  # types of the kernel are read for records that have arguments only

    def render(rows: Rows) -> list[str]:
        texts = [""] * len(rows)
        words = (rows.length - begin) // size
        for count in distinct(words[words >= _MAX_ARGS]).tolist():
            at = np.flatnonzero(words == count)
            chosen = rows.select(at)
            funcs = chosen.integers(func, size, signed=False).tolist()
            columns = (chosen.integers(begin + size * n, size, signed=False).tolist() for n in range(count))
            spell = speller()
            for row, addr, values in zip(at.tolist(), funcs, zip(*columns, strict=True), strict=True):
                texts[row] = spell(addr, values)
        return texts

    return render


def _speller(facts: Facts) -> Callable[[int, tuple[int, ...]], str]:
    prototype, long_size = facts.prototypes(), facts.abi.long_size
    if prototype is None:
        return lambda addr, values: f"({', '.join(map(hex, values))})"
    names = facts.symbols.func
    all_signed = _release(facts.release) < _UNSIGNED_IN_HEX
    known: dict[int, FunctionProto | None] = {}

    def spell(addr: int, values: tuple[int, ...]) -> str:
        if addr not in known:
            known[addr] = prototype(names[addr])
        proto = known[addr]
        return "()" if proto is None else f"({_spell(proto.parameters, values, long_size, all_signed)})"

    return spell


def _release(name: str | None) -> tuple[int, ...]:
    """Version and patch level of a kernel; a release that is not known counts as a new one."""
    match = _RELEASE.match(name or "")
    return tuple(map(int, match.groups())) if match else _UNSIGNED_IN_HEX


def _spell(parameters: tuple[Parameter, ...], values: tuple[int, ...], long_size: int, all_signed: bool) -> str:
    texts: list[str] = []
    word = 0
    for parameter in parameters:
        if word >= len(values):
            texts.append("...")
            break
        # a structure by value takes as many words as it needs
        count = max(1, -(-parameter.size // long_size)) if parameter.kind not in _SCALARS else 1
        words = values[word : word + count]
        text = _spell_value(parameter, words, long_size, all_signed, cut=word + count > len(values))
        texts.append(f"{parameter.name}={text}" if parameter.name else text)
        word += count
    return ", ".join(texts)


_SCALARS = ("", "ptr", "int", "enum")
_signs = {
    4: Memo(lambda value: str(value - ((value & 1 << 31) << 1))),
    8: Memo(lambda v: str(v - ((v & 1 << 63) << 1))),
}


def _spell_value(parameter: Parameter, words: tuple[int, ...], long_size: int, all_signed: bool, *, cut: bool) -> str:
    value = words[0]
    match parameter.kind:
        case "":
            return f"?{value:#x}"
        case "ptr":
            return f"{value:#x}"
        case "int":
            return _signs[long_size][value] if parameter.signed or all_signed else f"{value:#x}"
        case "enum":
            name = parameter.constants.get(value)
            return _signs[long_size][value] + (f" [{name}]" if name is not None else "")
    rest = ":".join(map(hex, words))
    return f"({parameter.kind.upper()})[{rest}{':...' if cut else ''}]"
