# SPDX-License-Identifier: Apache-2.0
"""Dynamic events, whose print fmt is not what the kernel prints: synthetic events and probes have own functions.

Mirrors print_synth_event() of kernel/trace/trace_events_synth.c, and print_kprobe_event(), print_kretprobe_event(),
print_uprobe_event() and the string type of kernel/trace/trace_probe.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from rbdump.events.format import EventFormat, Field
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.plan import Part
from rbdump.events.printfmt.template import Conversion

__all__ = ["rewritten"]

_TEXT = Conversion("", None, None, "", "s")
_SYNTH_FORMATS = {
    "s64": "lld", "u64": "llu", "s32": "d", "u32": "u", "s16": "d", "u16": "u", "s8": "d", "u8": "u", "char": "d",
    "unsigned char": "u", "int": "d", "unsigned int": "u", "long": "ld", "unsigned long": "lu", "bool": "d",
    "pid_t": "d",
}  # fmt: skip


def rewritten(fmt: EventFormat, parts: Sequence[Part]) -> list[Part]:
    """The parts that the kernel's own function prints; ``parts`` themselves for every other event."""
    names = {field.name for field in fmt.fields}
    if fmt.system == "synthetic":
        return _synthetic(fmt.fields)
    if names & {"__probe_ip", "__probe_func"}:
        return _probe(parts)
    return list(parts)


def _member(name: str) -> n.Node:
    return n.Member(n.Ident("REC"), name)


def _synthetic(fields: Sequence[Field]) -> list[Part]:
    parts: list[Part] = []
    for position, field in enumerate(fields):
        space = " " if position < len(fields) - 1 else ""
        if field.is_string:
            value: n.Node = n.Call("__get_str", (n.Ident(field.name),)) if field.is_data_loc else _member(field.name)
            parts += [f"{field.name}=", (_TEXT, (value,)), space]
        elif field.is_data_loc:
            stack = n.Call("__synth_stack", (n.Ident(field.name),))
            parts += [f"{field.name}=STACK:\n", (_TEXT, (stack,))]
        elif field.type == "gfp_t":
            raise UnsupportedPrintFmt("the names of gfp flags in synthetic events are not in the format")
        else:
            spec = _SYNTH_FORMATS.get(field.type, "llu")
            # the kernel takes the unsigned member of the value's union, so a negative s8 prints as 255
            unsigned = n.Cast(n.TypeName(CType("int", min(field.size, 8), False)), _member(field.name))
            parts += [f"{field.name}=", (Conversion("", None, None, spec[:-1], spec[-1]), (unsigned,)), space]
    return parts


def _probe(parts: Sequence[Part]) -> list[Part]:
    """Addresses as symbols, and strings as ``"text"`` or ``(fault)``."""
    result: list[Part] = []
    for part in parts:
        if isinstance(part, str):
            if result and isinstance(result[-1], tuple) and _is_string(result[-1]) and part.startswith('"'):
                part = part[1:]
            result.append(part)
            continue
        node = part[1][-1]
        if isinstance(node, n.Member) and node.name in ("__probe_ip", "__probe_ret_ip"):
            part = _TEXT, (n.Call("__probe_ip", (node,)),)
        elif isinstance(node, n.Member) and node.name == "__probe_func":
            part = _TEXT, (n.Call("__probe_func", (node,)),)
        elif isinstance(node, n.Call) and node.name == "__get_str" and result:
            before = result[-1]
            if isinstance(before, str) and before.endswith('"'):
                result[-1] = before[:-1]
                part = _TEXT, (n.Call("__probe_string", node.args),)
        result.append(part)
    if any(_returns(part) for part in result):
        result = _swapped(result)
    return result


def _is_string(part: tuple[Conversion, tuple[n.Node, ...]]) -> bool:
    node = part[1][-1]
    return isinstance(node, n.Call) and node.name == "__probe_string"


def _returns(part: Part) -> bool:
    return isinstance(part, tuple) and _reads(part, "__probe_ret_ip")


def _reads(part: tuple[Conversion, tuple[n.Node, ...]], name: str) -> bool:
    node = part[1][-1]
    return isinstance(node, n.Call) and bool(node.args) and node.args[0] == _member(name)


def _swapped(parts: list[Part]) -> list[Part]:
    """Return probes name the function first in the print fmt, the kernel prints where it returned to first."""
    positions = [at for at, part in enumerate(parts) if isinstance(part, tuple) and part[1][-1:] and _names_probe(part)]
    if len(positions) == 2:
        first, second = positions
        parts[first], parts[second] = parts[second], parts[first]
    return parts


def _names_probe(part: tuple[Conversion, tuple[n.Node, ...]]) -> bool:
    return _reads(part, "__probe_ret_ip") or _reads(part, "__probe_func")
