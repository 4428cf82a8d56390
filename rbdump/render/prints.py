# SPDX-License-Identifier: Apache-2.0
"""Text that kernel or user put into the trace: trace_printk in its three forms, trace_marker, trace_marker_raw.

Mirrors trace_print_print(), trace_bprint_print(), trace_bputs_print() and trace_raw_data()
(kernel/trace/trace_output.c). The format of bprint and the string of bputs are pointers into the dead kernel.
"""

from __future__ import annotations

from rbdump.abi import Abi
from rbdump.events.facts import LINE_LIMIT, Facts
from rbdump.events.format import EventFormat
from rbdump.events.strings import text_of
from rbdump.memo import Memo
from rbdump.render.bprintf import bprintf
from rbdump.render.group import Group, Renderer, column, cut, field_named, tails

__all__ = [
    "LONG_RAW_DATA",
    "bprint_renderer",
    "bputs_renderer",
    "fitting_raw_data",
    "print_renderer",
    "raw_data_renderer",
]

LONG_RAW_DATA = 2048
"""Bytes of a record of raw data that a line may have no room for, each being three characters."""


def print_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:print``: trace_printk() with its text made, and what tasks wrote into trace_marker."""
    ip, buf = field_named(fmt, "ip"), field_named(fmt, "buf")
    heads = Memo(lambda addr: f"{facts.symbols.func[addr]}: ")

    def render(group: Group) -> list[str]:
        addrs = column(group.rows, ip)
        return [heads[addr] + text_of(raw) for addr, raw in zip(addrs, tails(group.rows, buf.offset), strict=True)]

    return render


def bputs_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:bputs``: trace_puts() of a constant."""
    ip, string = field_named(fmt, "ip"), field_named(fmt, "str")
    heads = Memo(lambda addr: f"{facts.symbols.func[addr]}: ")

    def text(addr: int) -> str:
        found = facts.string_at(addr)
        return f"(string at {addr:#x} is not known)\n" if found is None else found

    texts = Memo(text)

    def render(group: Group) -> list[str]:
        pairs = zip(column(group.rows, ip), column(group.rows, string), strict=True)
        return [heads[addr] + texts[string_addr] for addr, string_addr in pairs]

    return render


def bprint_renderer(fmt: EventFormat, facts: Facts) -> Renderer:
    """Renders ``ftrace:bprint``: trace_printk() with its arguments as vbin_printf() packed them."""
    ip, fmt_field, buf = (field_named(fmt, name) for name in ("ip", "fmt", "buf"))
    heads = Memo(lambda addr: f"{facts.symbols.func[addr]}: ")

    def render(group: Group) -> list[str]:
        texts = []
        rows = group.rows
        columns = (column(rows, ip), column(rows, fmt_field), tails(rows, buf.offset))
        for addr, fmt_addr, args in zip(*columns, strict=True):
            template = facts.string_at(fmt_addr)
            if template is None:
                body = f"(format at {fmt_addr:#x} is not known) args={args.hex()}\n"
            else:
                body = cut(bprintf(template, args, facts))
            texts.append(heads[addr] + body)
        return texts

    return render


def raw_data_renderer(fmt: EventFormat) -> Renderer:
    """Renders ``ftrace:raw_data``: bytes written into trace_marker_raw, and the padding of the record behind them."""
    number, buf = field_named(fmt, "id"), field_named(fmt, "buf")

    def render(group: Group) -> list[str]:
        pairs = zip(column(group.rows, number), tails(group.rows, buf.offset), strict=True)
        return [f"# {value:x} buf:{' ' if raw else ''}{raw.hex(' ')}\n" for value, raw in pairs]

    return render


def fitting_raw_data(head: str, body: str, abi: Abi) -> str:
    """The part of ``body``, raw data, that a kernel prints behind ``head``, which is all else of the event.

    Kernel fact: each byte is printed for itself. Those that the struct trace_seq has no room for are lost, and with
    them the newline and, since these are longer still, the words for a line that is too long.
    """
    begin = body.find("buf:") + 4
    if begin < 4:  # printed as fields
        return body
    room = LINE_LIMIT[abi.long_size] - len(head) - begin - 1  # printf() wants room for a NUL
    return body if len(body) - begin - 1 <= room else body[: begin + room // 3 * 3]
