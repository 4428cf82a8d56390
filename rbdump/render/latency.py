# SPDX-License-Identifier: Apache-2.0
"""Lines of the latency tracers: hwlat, osnoise, timerlat.

Mirrors trace_hwlat_print(), trace_osnoise_print() and trace_timerlat_print() (kernel/trace/trace_output.c).
"""

from __future__ import annotations

from dataclasses import replace

from rbdump.events.format import EventFormat
from rbdump.render.group import Group, Renderer, column, field_named

__all__ = ["hwlat_renderer", "osnoise_renderer", "timerlat_renderer"]

_CONTEXTS = ("irq", "thread", "user-ret")
_HWLAT = ("seqnum", "duration", "outer_duration", "tv_sec", "tv_nsec", "count", "nmi_count", "nmi_total_ts")
_BEHIND_TIMESPEC = ("count", "nmi_count", "seqnum")
_COUNTS = ("hw_count", "nmi_count", "irq_count", "softirq_count", "thread_count")
_U64 = 0xFFFF_FFFF_FFFF_FFFF


def hwlat_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:hwlat``."""
    fields = [field_named(fmt, name) for name in _HWLAT]
    end = max(field.offset + field.size for field in fields)
    # Formats lay out the members of struct timespec64 without the padding that it ends with where 32-bit machines align
    # u64 to 8 bytes (arm does, i386 does not). Only the record, longer by that and by its own padding, tells.
    padded = [replace(f, offset=f.offset + 4) if f.name in _BEHIND_TIMESPEC else f for f in fields]

    def render(group: Group) -> list[str]:
        texts = []
        columns = (column(group.rows, f) for f in (padded if group.rows.length.min() >= end + 8 else fields))
        for number, inner, outer, second, nano, count, nmis, nmi_time in zip(*columns, strict=True):
            # kernels with CONFIG_GENERIC_SCHED_CLOCK neither record nor print the time of NMIs
            total = f" nmi-total:{nmi_time}" if nmi_time else ""
            nmi = f"{total} nmi-count:{nmis}" if nmis else ""
            texts.append(
                f"#{number:<5d} inner/outer(us): {inner:4d}/{outer:<5d} ts:{second}.{nano:09d} count:{count}{nmi}\n"
            )
        return texts

    return render


def osnoise_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:osnoise``."""
    fields = [field_named(fmt, name) for name in ("runtime", "noise", "max_sample", *_COUNTS)]

    def render(group: Group) -> list[str]:
        texts = []
        columns = (column(group.rows, field) for field in fields)
        for runtime, noise, largest, *counts in zip(*columns, strict=True):
            ratio = ((runtime - noise) * 10_000_000 & _U64) // runtime if runtime else 0
            line = f"{runtime} {noise:10d} {ratio // 100_000:3d}.{ratio % 100_000:05d} {largest:7d}"
            texts.append(line + "".join(f" {count:6d}" for count in counts) + "\n")
        return texts

    return render


def timerlat_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:timerlat``."""
    fields = [field_named(fmt, name) for name in ("seqnum", "context", "timer_latency")]

    def render(group: Group) -> list[str]:
        texts = []
        for number, context, latency in zip(*(column(group.rows, field) for field in fields), strict=True):
            name = _CONTEXTS[context] if 0 <= context < len(_CONTEXTS) else str(context)
            texts.append(f"#{number:<5d} context {name:>6} timer_latency {latency:9d} ns\n")
        return texts

    return render
