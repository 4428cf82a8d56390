# SPDX-License-Identifier: Apache-2.0
"""Task switches and wake-ups of the wakeup tracers.

Mirrors trace_ctxwake_print() (kernel/trace/trace_output.c).
"""

from __future__ import annotations

from collections.abc import Callable

from rbdump.events.format import EventFormat
from rbdump.render.group import Group, Renderer, column, field_named

__all__ = ["switch_renderer"]

_STATES = "RSDTtXZPI"  # task_index_to_char()
_FIELDS = ("prev_pid", "prev_prio", "prev_state", "next_cpu", "next_pid", "next_prio", "next_state")


def switch_renderer(fmt: EventFormat, comm_of: Callable[[int], str]) -> Renderer:
    """Renders ``ftrace:context_switch`` and ``ftrace:wakeup``; ``comm_of`` names a task by its pid."""
    fields = [field_named(fmt, name) for name in _FIELDS]
    arrow = "==>" if fmt.name == "context_switch" else "  +"

    def state(index: int) -> str:
        return _STATES[index] if index < len(_STATES) else "?"

    def render(group: Group) -> list[str]:
        texts = []
        columns = (column(group.rows, field) for field in fields)
        for pid, prio, index, cpu, to_pid, to_prio, to_index in zip(*columns, strict=True):
            head = f" {pid:7d}:{prio:3d}:{state(index)} {arrow} [{cpu:03d}] "
            texts.append(f"{head}{to_pid:7d}:{to_prio:3d}:{state(to_index)} {comm_of(to_pid)}\n")
        return texts

    return render
