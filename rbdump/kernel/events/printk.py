# SPDX-License-Identifier: Apache-2.0
"""The strings that binary trace events name by their address: what tracefs shows as ``printk_formats``.

trace_printk() leaves pointers to its formats between ``__start___trace_bprintk_fmt`` and its stop symbol,
tracepoint_string() leaves its strings between ``__start___tracepoint_str`` and its (kernel/trace/trace_printk.c).
"""

from __future__ import annotations

from rbdump.kernel.types.structs import Memory, pointer_table

__all__ = ["read_printk_formats"]

TABLES = ("__trace_bprintk_fmt", "__tracepoint_str")


def read_printk_formats(memory: Memory) -> dict[int, str]:
    """Link-time address -> string, not escaped, in the order of the tables."""
    formats: dict[int, str] = {}
    for table in TABLES:
        for addr in pointer_table(memory, f"__start_{table}", f"__stop_{table}") or ():
            text = memory.cstring(addr) if addr else None
            if text is not None:
                formats[addr] = text
    return formats
