# SPDX-License-Identifier: Apache-2.0
"""Fields where the records have them, for a format that kernels state wrongly."""

from __future__ import annotations

from dataclasses import replace

from rbdump.events.format import EventFormat, Field

__all__ = ["as_recorded"]

_TIMES = ("calltime", "rettime")


def as_recorded(fmt: EventFormat) -> EventFormat:
    """The format with its fields where the records have them.

    struct ftrace_graph_ret_entry is packed. From Linux 6.14 until "tracing: Fix ftrace event field alignments" (early
    2026, also in stable kernels) its format aligned calltime and rettime like any other u64: wrong on 32-bit machines.
    """
    if (fmt.system, fmt.name) != ("ftrace", "funcgraph_exit"):
        return fmt
    fields: list[Field] = []
    for field in fmt.fields:
        if field.name in _TIMES and fields:
            field = replace(field, offset=fields[-1].offset + fields[-1].size)
        fields.append(field)
    return replace(fmt, fields=tuple(fields))
