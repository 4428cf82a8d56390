# SPDX-License-Identifier: Apache-2.0
"""Kernel and user stacks, one line for each caller.

Mirrors trace_stack_print() and trace_user_stack_print() (kernel/trace/trace_output.c). A kernel stack has no usable
count of its own: it ends at ULONG_MAX or with the record.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.memo import Memo
from rbdump.render.group import Group, Renderer, field_named

__all__ = ["kernel_stack_renderer", "user_stack_renderer"]

_TRAMPOLINE = 0x7FFF_FFFF  # FTRACE_TRAMPOLINE_MARKER is INT_MAX


def _matrix(group: Group, begin: int, count: int, size: int) -> npt.NDArray[np.generic]:
    offsets = group.rows.offset[:, None] + (begin + size * np.arange(count, dtype=np.int64))[None, :]
    return group.rows.memory.integers(offsets, size, signed=False)


def kernel_stack_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:kernel_stack``."""
    caller = field_named(fmt, "caller")
    size, end_mark = facts.abi.long_size, facts.abi.long_mask
    names = facts.symbols.func
    lines = Memo(lambda addr: " => [FTRACE TRAMPOLINE]\n" if addr == _TRAMPOLINE else f" => {names[addr]}\n")

    def render(group: Group) -> list[str]:
        texts = [""] * len(group)
        counts = np.maximum((group.rows.length - caller.offset) // size, 0)
        for count in distinct(counts).tolist():
            chosen = counts == count
            stacks = _matrix(group.select(chosen), caller.offset, count, size)
            for row, addrs in zip(np.flatnonzero(chosen).tolist(), stacks.tolist(), strict=True):
                if end_mark in addrs:
                    addrs = addrs[: addrs.index(end_mark)]
                texts[row] = "<stack trace>\n" + "".join(map(lines.__getitem__, addrs))
        return texts

    return render


def user_stack_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:user_stack``: bare addresses, as the memory maps of the task died with it."""
    caller = field_named(fmt, "caller")
    size = facts.abi.long_size
    count = caller.size // size

    def render(group: Group) -> list[str]:
        texts = []
        for addrs in _matrix(group, caller.offset, count, size).tolist():
            if 0 in addrs:
                addrs = addrs[: addrs.index(0)]
            texts.append("<user stack trace>\n" + "".join(f" =>  <{addr:0{2 * size}x}>\n" for addr in addrs))
        return texts

    return render
