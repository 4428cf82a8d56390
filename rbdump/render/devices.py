# SPDX-License-Identifier: Apache-2.0
"""Accesses to devices that mmiotrace saw, and branches that the branch tracer judged.

Mirrors mmio_print_rw() and mmio_print_map() (kernel/trace/trace_mmiotrace.c), trace_branch_print()
(kernel/trace/trace_branch.c). The kernel has the first two only while the mmiotrace tracer runs.
"""

from __future__ import annotations

from rbdump.events.format import EventFormat
from rbdump.events.strings import text_of
from rbdump.render.group import Group, Renderer, column, field_named
from rbdump.render.prefix import stamp_text

__all__ = ["branch_renderer", "mmio_map_renderer", "mmio_rw_renderer"]

_READ, _WRITE, _PROBE, _UNPROBE, _UNKNOWN = range(1, 6)  # enum mm_io_opcode


def _time(ts: int) -> str:
    return stamp_text(ts, in_ns=True).strip()


def mmio_rw_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:mmiotrace_rw``."""
    fields = [field_named(fmt, name) for name in ("phys", "value", "pc", "map_id", "opcode", "width")]

    def render(group: Group) -> list[str]:
        texts = []
        stamps = group.entries.records.ts[group.index].tolist()
        columns = (column(group.rows, field) for field in fields)
        for ts, phys, value, pc, number, opcode, width in zip(stamps, *columns, strict=True):
            if opcode in (_READ, _WRITE):
                letter = "R" if opcode == _READ else "W"
                texts.append(f"{letter} {width} {_time(ts)} {number} {phys:#x} {value:#x} {pc:#x} 0\n")
            elif opcode == _UNKNOWN:
                code = ",".join(f"{value >> shift & 0xFF:02x}" for shift in (16, 8, 0))
                texts.append(f"UNKNOWN {_time(ts)} {number} {phys:#x} {code} {pc:#x} 0\n")
            else:
                texts.append("rw what?\n")
        return texts

    return render


def mmio_map_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:mmiotrace_map``."""
    fields = [field_named(fmt, name) for name in ("phys", "virt", "len", "map_id", "opcode")]

    def render(group: Group) -> list[str]:
        texts = []
        stamps = group.entries.records.ts[group.index].tolist()
        columns = (column(group.rows, field) for field in fields)
        for ts, phys, virt, length, number, opcode in zip(stamps, *columns, strict=True):
            if opcode == _PROBE:
                texts.append(f"MAP {_time(ts)} {number} {phys:#x} {virt:#x} {length:#x} 0x0 0\n")
            elif opcode == _UNPROBE:
                texts.append(f"UNMAP {_time(ts)} {number} 0x0 0\n")
            else:
                texts.append("map what?\n")
        return texts

    return render


def branch_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:branch``."""
    line, func, file, correct = (field_named(fmt, name) for name in ("line", "func", "file", "correct"))

    def render(group: Group) -> list[str]:
        rows = group.rows
        texts = []
        names = [rows.char_arrays(field.offset, field.size).tolist() for field in (func, file)]
        for number, right, in_func, in_file in zip(column(rows, line), column(rows, correct), *names, strict=True):
            verdict = "  ok  " if right else " MISS "
            texts.append(f"[{verdict}] {text_of(in_func)}:{text_of(in_file)}:{number}\n")
        return texts

    return render
