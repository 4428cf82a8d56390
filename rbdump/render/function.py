# SPDX-License-Identifier: Apache-2.0
"""Function tracer events: ``function <-caller``, repeats of one, arguments.

Mirrors trace_fn_trace() and trace_func_repeats_print() (kernel/trace/trace_output.c), print-parent on.
"""

from __future__ import annotations

from operator import add

from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.render.group import Group, Renderer, column, field_named, memo
from rbdump.render.prefix import stamp_text

__all__ = ["MAX_ARGS", "func_repeats_renderer", "function_renderer"]

MAX_ARGS = 6
"""FTRACE_REGS_MAX_ARGS: a record that has room for so many words behind its fixed fields holds arguments."""


def function_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:function``."""
    ip, parent = field_named(fmt, "ip"), field_named(fmt, "parent_ip")
    names = facts.symbols.func
    callers = memo(lambda addr: f" <-{names[addr]}\n" if addr else "\n")
    args = next((field for field in fmt.fields if field.name == "args"), None)
    with_args = None if args is None else args.offset + MAX_ARGS * facts.abi.long_size

    def render(group: Group) -> list[str]:
        heads = map(names.__getitem__, column(group.rows, ip))
        tails = map(callers.__getitem__, column(group.rows, parent))
        if with_args is None or not (group.rows.length >= with_args).any():
            return list(map(add, heads, tails))
        # print_function_args() without a prototype of the function prints empty brackets
        brackets = ["()" if has else "" for has in (group.rows.length >= with_args).tolist()]
        return list(map(add, map(add, heads, brackets), tails))

    return render


def func_repeats_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:func_repeats``, which stands for calls that func-no-repeats left out."""
    ip, parent = field_named(fmt, "ip"), field_named(fmt, "parent_ip")
    count, top, bottom = (field_named(fmt, name) for name in ("count", "top_delta_ts", "bottom_delta_ts"))
    names = facts.symbols.func

    def render(group: Group) -> list[str]:
        rows = group.rows
        texts = []
        stamps = group.entries.records.ts[group.index].tolist()
        columns = (column(rows, field) for field in (ip, parent, count, top, bottom))
        for ts, func, caller, times, high, low in zip(stamps, *columns, strict=True):
            last = (ts - (high << 32 | low)) & 0xFFFF_FFFF_FFFF_FFFF
            call = f"{names[func]} <-{names[caller]}" if caller else names[func]
            texts.append(f"{call} (repeats: {times}, last_ts:{stamp_text(last, in_ns=facts.in_ns)})\n")
        return texts

    return render
