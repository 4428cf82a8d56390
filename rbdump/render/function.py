# SPDX-License-Identifier: Apache-2.0
"""Function tracer events: ``function <-caller``, repeats of one, arguments.

Mirrors trace_fn_trace() and trace_func_repeats_print() (kernel/trace/trace_output.c), print-parent on.
"""

from __future__ import annotations

from operator import add

from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat
from rbdump.memo import Memo
from rbdump.render.arguments import arguments_renderer
from rbdump.render.group import Group, Renderer, column, field_named
from rbdump.render.prefix import stamp_text

__all__ = ["func_repeats_renderer", "function_renderer"]


def function_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:function``."""
    ip, parent = field_named(fmt, "ip"), field_named(fmt, "parent_ip")
    names = facts.symbols.func
    callers = Memo(lambda addr: f" <-{names[addr]}\n" if addr else "\n")
    arguments = arguments_renderer(fmt, facts, ip.offset)

    def render(group: Group) -> list[str]:
        heads = map(names.__getitem__, column(group.rows, ip))
        tails = map(callers.__getitem__, column(group.rows, parent))
        if arguments is not None:
            heads = map(add, heads, arguments(group.rows))
        return list(map(add, heads, tails))

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
