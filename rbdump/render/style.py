# SPDX-License-Identifier: Apache-2.0
"""Where kernels spell the same thing differently, and what tells from the evidence which spelling a kernel had.

No kernel version is asked for: phones and distributions backport. What tells is the formats (ids of ftrace's own
events, their fields, the fields of system calls) and, where there is none, the layout of the region.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rbdump.events.catalog import Catalog

__all__ = ["Style", "Syscalls", "style_of"]


class Syscalls(Enum):
    """How a kernel prints the arguments of a system call."""

    HEX = "hex"
    """Bare hexadecimal: ``newfd: a``."""
    PREFIXED = "prefixed"
    """Below ten decimal, else with 0x: ``newfd: 0xa`` (6.18)."""
    USER = "user"
    """As `PREFIXED`, and the user memory behind pointers, which the record holds (6.19)."""


@dataclass(frozen=True, slots=True)
class Style:
    """One spelling for each thing that kernels spell differently."""

    lazy: bool
    """trace_entry flag 0x02 is NEED_RESCHED_LAZY (6.13), not IRQS_NOSUPPORT."""
    graph_columns: bool
    """Function graph events of a nop instance have CPU and duration columns: tracer flags were global before 6.19."""
    syscalls: Syscalls
    syscall_fields: bool
    """The reading kernel prints the system calls of a last boot as fields, like any other event (before 6.19)."""
    selective: bool
    """Only addresses of the kernel proper are moved to the reading kernel, those of modules are not (6.15)."""
    adjusted_fields: bool
    """print_fields() spells words as %pS, at addresses moved to the reading kernel (6.16)."""
    hex_strings: bool
    """print_fields() adds the bytes of dynamic strings that do not print (6.19, with the memory of system calls)."""
    synthetic_faults: bool
    """Strings of a fixed length in synthetic events print as ``(efault)`` and themselves (6.15 to 6.17, and 6.12 until
    it was mended there)."""


def style_of(layout: str, catalog: Catalog) -> Style:
    """The spellings of the kernel that wrote a region of ``layout`` (its name) and has the formats of ``catalog``."""
    by_name = catalog.by_name
    late_layout = layout.startswith("C")
    entry = by_name("ftrace:funcgraph_entry")
    # "tracing: Have syscall trace events read user space string", in the same release as flags for each instance
    call = by_name("syscalls:sys_enter_write") or by_name("syscalls:sys_enter_openat")
    user = call is not None and any(field.is_data_loc for field in call.fields)
    long_depth = entry is not None and any(f.name == "depth" and f.type == "unsigned long" for f in entry.fields)
    late = user or long_depth
    # "tracing: Have syscall trace events show "0x" for values greater than 10" left no mark in any format; these two
    # events came in the same release
    marks = ("writeback:inode_switch_wbs_queue", "dma:dma_map_phys")
    prefixed = late or any(by_name(mark) is not None for mark in marks)
    # In 6.12 the cure left no mark either: these fields came with it or soon after (seen: not in 6.12.57, in 6.12.73)
    arm_event = by_name("ras:arm_event")
    faults = late_layout or (arm_event is not None and all(field.name != "pei_buf" for field in arm_event.fields))
    return Style(
        lazy=catalog.numbering >= 21,
        graph_columns=not late,
        syscalls=Syscalls.USER if user else Syscalls.PREFIXED if prefixed else Syscalls.HEX,
        syscall_fields=not late,
        selective=late_layout,
        adjusted_fields=late_layout and layout != "C1",
        hex_strings=late,
        synthetic_faults=faults and not prefixed,
    )
