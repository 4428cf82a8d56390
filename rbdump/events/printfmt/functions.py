# SPDX-License-Identifier: Apache-2.0
"""Functions and macros that print fmts call: the helpers of include/trace/stages/stage3_trace_output.h, byte swaps,
gcc builtins, and small functions of the kernel whose result depends on nothing but their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rbdump.events.printfmt import decoders, integers, memory, text
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType, wrap
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.runtime import Memo
from rbdump.events.printfmt.values import Int, Mem, Seq, Table, Text, Value

if TYPE_CHECKING:
    from rbdump.events.printfmt.evaluate import Evaluator

__all__ = ["call", "map_ints"]

Nodes = Sequence[n.Node]


def call(ev: Evaluator, node: n.Call) -> Value:
    """The value of a call. Raises UnsupportedPrintFmt for functions that only the kernel has."""
    handler = _HANDLERS.get(node.name)
    if handler is None:
        raise UnsupportedPrintFmt(f"the function {node.name}() of the kernel is not known")
    try:
        return handler(ev, node.args)
    except (IndexError, ValueError):
        raise UnsupportedPrintFmt(f"{node.name}() has the wrong arguments") from None


def map_ints(ev: Evaluator, value: Int, function: Callable[[int], str], name: str) -> Text:
    """A pure function of an integer, each value computed once."""
    if value.const is not None:
        return Text(function(value.const))
    memo = ev.code.bind(Memo(function), name)
    items = ev.code.items(ev.code.let(integers.array(value)))
    return Text(None, ev.code.let(f"[*map({memo}.__getitem__, {items})]", "s"))


def name_of(node: n.Node) -> str:
    """The field that a __get_...(field) macro names."""
    if not isinstance(node, n.Ident):
        raise UnsupportedPrintFmt("a field name is needed")
    return node.name


def _pairs(ev: Evaluator, nodes: Nodes, to: CType) -> list[tuple[int, str]]:
    if len(nodes) == 1 and isinstance(nodes[0], n.Ident):
        table = ev.value(nodes[0])
        nodes = table.items.items if isinstance(table, Table) else nodes
    pairs = []
    for node in nodes:
        if not isinstance(node, n.InitList) or len(node.items) < 2:
            raise UnsupportedPrintFmt("a table of { value, name } pairs is needed")
        name = ev.value(node.items[1])
        if isinstance(name, Int):  # { -1, NULL } ends a table
            break
        if not isinstance(name, Text) or name.const is None:
            raise UnsupportedPrintFmt("a table of { value, name } pairs is needed")
        pairs.append((wrap(ev.constant(node.items[0]), to), name.const))
    return pairs


def _flags(bits: int) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        to = ev.types.u64 if bits == 64 else ev.types.ulong
        args = _without_seq(ev, args)
        delimiter = ev.value(args[1])
        separator = delimiter.const if isinstance(delimiter, Text) else "" if isinstance(delimiter, Int) else None
        if separator is None:
            raise UnsupportedPrintFmt("the delimiter of __print_flags is no string")
        pairs = _pairs(ev, args[2:], to)
        value = integers.convert(ev.code, ev.integer(args[0]), to)
        return map_ints(ev, value, lambda v: text.flags(v, separator, pairs), "flags")

    return handler


def _symbolic(bits: int) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        to = ev.types.u64 if bits == 64 else ev.types.ulong
        args = _without_seq(ev, args)
        names: dict[int, str] = {}
        for value, name in _pairs(ev, args[1:], to):
            names.setdefault(value, name)
        value_ = integers.convert(ev.code, ev.integer(args[0]), to)
        return map_ints(ev, value_, lambda v: names.get(v) or f"{v:#x}", "names")

    return handler


def _without_seq(ev: Evaluator, args: Nodes) -> Nodes:
    """Old kernels pass the trace_seq itself: ftrace_print_flags_seq(p, ...)."""
    return args[1:] if isinstance(args[0], n.Ident) and isinstance(ev.value(args[0]), Seq) else args


def _memory(ev: Evaluator, node: n.Node) -> Mem:
    value = ev.value(node)
    if not isinstance(value, Mem):
        raise UnsupportedPrintFmt("memory of the kernel behind a pointer is printed")
    return value


def _map_blobs(ev: Evaluator, blobs: str, function: Callable[[bytes], str], name: str) -> Text:
    memo = ev.code.bind(text.Blobs(function), name)
    return Text(None, ev.code.let(f"[*map({memo}.__getitem__, {blobs})]", "s"))


def _hex(separator: str) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        args = _without_seq(ev, args)
        blobs = memory.blob(ev, _memory(ev, args[0]), _c_int(ev, args[1]))
        return _map_blobs(ev, blobs, lambda b: b.hex(separator) if separator else b.hex(), "hex")

    return handler


def _c_int(ev: Evaluator, node: n.Node) -> Int:
    return integers.convert(ev.code, ev.integer(node), ev.types.int)


def _array(ev: Evaluator, args: Nodes) -> Value:
    args = _without_seq(ev, args)
    size = ev.constant(args[2])
    count = integers.binary(ev.code, "*", _c_int(ev, args[1]), Int(ev.types.s64, size), ev.types)
    blobs = memory.blob(ev, _memory(ev, args[0]), count)
    order = ev.facts.abi.byteorder
    return _map_blobs(ev, blobs, lambda b: text.array(b, size, order), "array")


def _print_dynamic_array(ev: Evaluator, args: Nodes) -> Value:
    size, order = ev.constant(args[1]), ev.facts.abi.byteorder
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return _map_blobs(ev, blobs, lambda b: text.array(b, size, order), "array")


def _hex_dump(ev: Evaluator, args: Nodes) -> Value:
    prefix = ev.value(args[0])
    if not isinstance(prefix, Text) or prefix.const is None:
        raise UnsupportedPrintFmt("the prefix of __print_hex_dump is no string")
    start = prefix.const
    kinds = {"DUMP_PREFIX_NONE": 0, "DUMP_PREFIX_ADDRESS": 1, "DUMP_PREFIX_OFFSET": 2}
    kind_node = args[1]
    kind = kinds.get(kind_node.name, -1) if isinstance(kind_node, n.Ident) else ev.constant(kind_node)
    if kind not in (0, 2):
        raise UnsupportedPrintFmt("__print_hex_dump with addresses of the trace buffer")
    row, group, ascii_column = ev.constant(args[2]), ev.constant(args[3]), ev.constant(args[6])
    order = ev.facts.abi.byteorder
    blobs = memory.blob(ev, _memory(ev, args[4]), _c_int(ev, args[5]))
    return _map_blobs(
        ev, blobs, lambda b: text.hex_dump(b, start, kind == 2, row, group, bool(ascii_column), order), "dump"
    )


def _bitmask(ev: Evaluator, args: Nodes) -> Value:
    order, size = ev.facts.abi.byteorder, ev.facts.abi.long_size
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return _map_blobs(ev, blobs, lambda b: text.bitmap(b, 8 * len(b), order, size), "bitmask")


def _stacktrace(ev: Evaluator, args: Nodes) -> Value:
    order, size, symbols = ev.facts.abi.byteorder, ev.facts.abi.long_size, ev.facts.symbols.pS
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return _map_blobs(ev, blobs, lambda b: text.stacktrace(b, order, size, symbols), "stack")


def _dynamic(ev: Evaluator, args: Nodes) -> Value:
    found = memory.dynamic(ev, name_of(args[0]))[0]
    return Mem(ev.types.void, found.offset, found.avail, found.name)


def _get_str(ev: Evaluator, args: Nodes) -> Value:
    found = memory.dynamic(ev, name_of(args[0]))[0]
    return Mem(ev.types.char, found.offset, found.avail, found.name)


def _dynamic_length(ev: Evaluator, args: Nodes) -> Value:
    return memory.dynamic(ev, name_of(args[0]))[1]


def _swap(size: int, order: str) -> Callable[[Evaluator, Nodes], Value]:
    """Byte order of ``size`` bytes changed: always (``swap``), or when the dump has the other order."""

    def handler(ev: Evaluator, args: Nodes) -> Value:
        to = CType("int", size, False)
        value = integers.convert(ev.code, ev.integer(args[0]), to)
        if order == ev.facts.abi.byteorder:
            return value
        if value.const is not None:
            return Int(to, int.from_bytes(value.const.to_bytes(size, "little"), "big"))
        return Int(to, None, ev.code.let(f"{integers.array(value)}.byteswap()"))

    return handler


def _swap_pointer(size: int, order: str) -> Callable[[Evaluator, Nodes], Value]:
    swap = _swap(size, order)

    def handler(ev: Evaluator, args: Nodes) -> Value:
        to = n.TypeName(CType("int", size, False), None, 1)
        return swap(ev, (n.Unary("*", n.Cast(to, args[0])),))

    return handler


def _same(ev: Evaluator, args: Nodes) -> Value:
    return ev.value(args[0])


def _constant_p(ev: Evaluator, args: Nodes) -> Value:
    """gcc decides it while compiling; for a field the answer is no."""
    try:
        value = ev.value(args[0])
    except UnsupportedPrintFmt:
        return Int(ev.types.int, 0)
    known = isinstance(value, Int | Text) and value.const is not None
    return Int(ev.types.int, int(known))


def _choose_expr(ev: Evaluator, args: Nodes) -> Value:
    return ev.value(args[1] if ev.constant(args[0]) else args[2])


def _types_compatible(ev: Evaluator, args: Nodes) -> Value:
    a, b = (ev.resolve(arg) if isinstance(arg, n.TypeName) else ev.type_of(ev.value(arg)) for arg in args)
    same = a.kind == b.kind and a.size == b.size and a.signed == b.signed
    return Int(ev.types.int, int(same))


def _log2(ev: Evaluator, args: Nodes) -> Value:
    value = ev.constant(args[0])
    return Int(ev.types.int, max(value, 1).bit_length() - 1)


def _order_base_2(ev: Evaluator, args: Nodes) -> Value:
    value = ev.constant(args[0])
    return Int(ev.types.int, (value - 1).bit_length() if value > 1 else 0)


def _minimum(op: str) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        return ev.value(n.Cond(n.Binary(op, args[0], args[1]), args[0], args[1]))

    return handler


def _minimum_as(op: str) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        if not isinstance(args[0], n.TypeName):
            raise UnsupportedPrintFmt("min_t needs a type")
        a, b = n.Cast(args[0], args[1]), n.Cast(args[0], args[2])
        return ev.value(n.Cond(n.Binary(op, a, b), a, b))

    return handler


def _is_err(ev: Evaluator, args: Nodes) -> Value:
    value = integers.convert(ev.code, ev.integer(args[0]), ev.types.ulong)
    limit = Int(ev.types.ulong, wrap(-4095, ev.types.ulong))
    return integers.binary(ev.code, ">=", value, limit, ev.types)


def _ns_to(part: int) -> Callable[[Evaluator, Nodes], Value]:
    """__print_ns_to_secs and __print_ns_without_secs: do_div() by 10^9."""

    def handler(ev: Evaluator, args: Nodes) -> Value:
        value = integers.convert(ev.code, ev.integer(args[0]), ev.types.u64)
        result = integers.binary(ev.code, "%" if part else "/", value, Int(ev.types.u64, 10**9), ev.types)
        return integers.convert(ev.code, result, ev.types.unsigned) if part else result

    return handler


def _jiffies(numerator: int) -> Callable[[Evaluator, Nodes], Value]:
    """jiffies_to_msecs() and jiffies_to_usecs() of kernel/time/time.c for an HZ that divides the unit."""

    def handler(ev: Evaluator, args: Nodes) -> Value:
        hz = ev.facts.hz
        if hz is None or numerator % hz:
            raise UnsupportedPrintFmt("jiffies cannot be converted: CONFIG_HZ is not known")
        value = integers.convert(ev.code, ev.integer(args[0]), ev.types.ulong)
        result = integers.binary(ev.code, "*", value, Int(ev.types.ulong, numerator // hz), ev.types)
        return integers.convert(ev.code, result, ev.types.unsigned)

    return handler


def _in_irq(mask: int) -> Callable[[Evaluator, Nodes], Value]:
    def handler(ev: Evaluator, args: Nodes) -> Value:
        flags = ev.value(n.Member(n.Ident("REC"), "common_flags"))
        assert isinstance(flags, Int)
        return integers.binary(ev.code, "&", flags, Int(ev.types.int, mask), ev.types)

    return handler


def _decoder(function: Callable[..., str], arity: int, skip: int) -> Callable[[Evaluator, Nodes], Value]:
    """A function of the kernel from integers to text; ``skip`` leading arguments are buffers."""

    def handler(ev: Evaluator, args: Nodes) -> Value:
        values = [ev.integer(arg) for arg in args[skip : skip + arity]]
        if len(values) != arity:
            raise ValueError
        name = ev.code.bind(Memo(lambda key: function(*key)), "decode")
        columns = ", ".join(
            f"[{v.const}] * len(rows)" if v.const is not None else ev.code.items(ev.code.let(integers.array(v)))
            for v in values
        )
        return Text(None, ev.code.let(f"[*map({name}.__getitem__, zip({columns}))]", "s"))

    return handler


def _scsi_cdb(ev: Evaluator, args: Nodes) -> Value:
    args = _without_seq(ev, args)
    blobs = memory.blob(ev, _memory(ev, args[0]), _c_int(ev, args[1]))
    return _map_blobs(ev, blobs, decoders.scsi_cdb, "cdb")


def _disk_name(ev: Evaluator, args: Nodes) -> Value:
    name = memory.as_text(ev, ev.value(_without_seq(ev, args)[0]))
    items = memory.items_of(ev, name)
    return Text(None, ev.code.let(f"[f'disk={{x}}, ' if x else '' for x in {items}]", "s"))


def _untrusted(ev: Evaluator, args: Nodes) -> Value:
    args = _without_seq(ev, args)
    blobs = memory.blob(ev, _memory(ev, args[0]), _c_int(ev, args[1]))
    return _map_blobs(ev, blobs, text.untrusted, "untrusted")


_HANDLERS: dict[str, Callable[[Evaluator, Nodes], Value]] = {
    "__print_flags": _flags(0),
    "__print_flags_u64": _flags(64),
    "ftrace_print_flags_seq": _flags(0),
    "__print_symbolic": _symbolic(0),
    "__print_symbolic_u64": _symbolic(64),
    "ftrace_print_symbols_seq": _symbolic(0),
    "__print_hex": _hex(" "),
    "ftrace_print_hex_seq": _hex(" "),
    "__print_hex_str": _hex(""),
    "__print_array": _array,
    "__print_dynamic_array": _print_dynamic_array,
    "__print_hex_dump": _hex_dump,
    "__get_str": _get_str,
    "__get_rel_str": _get_str,
    "__get_dynamic_array": _dynamic,
    "__get_rel_dynamic_array": _dynamic,
    "__get_dynamic_array_len": _dynamic_length,
    "__get_rel_dynamic_array_len": _dynamic_length,
    "__get_sockaddr": _dynamic,
    "__get_sockaddr_rel": _dynamic,
    "__get_rel_sockaddr": _dynamic,
    "__get_bitmask": _bitmask,
    "__get_rel_bitmask": _bitmask,
    "__get_cpumask": _bitmask,
    "__get_rel_cpumask": _bitmask,
    "__get_stacktrace": _stacktrace,
    "__print_stacktrace": _stacktrace,
    "__print_ns_to_secs": _ns_to(0),
    "__print_ns_without_secs": _ns_to(1),
    "__event_in_hardirq": _in_irq(0x08),
    "__event_in_softirq": _in_irq(0x10),
    "__event_in_irq": _in_irq(0x18),
    "jiffies_to_msecs": _jiffies(1000),
    "jiffies_to_usecs": _jiffies(1000000),
    "__builtin_constant_p": _constant_p,
    "__builtin_choose_expr": _choose_expr,
    "__builtin_types_compatible_p": _types_compatible,
    "__builtin_expect": _same,
    "likely": _same,
    "unlikely": _same,
    "ilog2": _log2,
    "__ilog2_u32": _log2,
    "__ilog2_u64": _log2,
    "__order_base_2": _order_base_2,
    "min": _minimum("<"),
    "max": _minimum(">"),
    "min_t": _minimum_as("<"),
    "max_t": _minimum_as(">"),
    "IS_ERR": _is_err,
    "IS_ERR_VALUE": _is_err,
    "scsi_trace_parse_cdb": _scsi_cdb,
    "nvme_trace_disk_name": _disk_name,
    "__trace_print_untrusted_str": _untrusted,
    "usb_decode_ctrl": _decoder(decoders.usb_control, 5, 2),
    "mc_event_error_type": _decoder(decoders.mc_event_error_type, 1, 0),
    "blk_op_str": _decoder(decoders.blk_op, 1, 0),
    "xen_hypercall_name": _decoder(decoders.xen_hypercall, 1, 0),
    "xhci_ring_type_string": _decoder(decoders.xhci_ring_type, 1, 0),
    "dwc3_trb_type_string": _decoder(decoders.dwc3_trb_type, 1, 0),
    "dwc3_gadget_ep_cmd_string": _decoder(decoders.dwc3_ep_command, 1, 0),
    "dwc3_gadget_generic_cmd_string": _decoder(decoders.dwc3_generic_command, 1, 0),
    "dwc3_ep_cmd_status_string": _decoder(decoders.dwc3_ep_command_status, 1, 0),
    "dwc3_gadget_generic_cmd_status_string": _decoder(decoders.dwc3_generic_command_status, 1, 0),
}
for _name in ("pte", "pmd", "pud", "p4d", "pgd"):
    _HANDLERS[f"{_name}_val"] = _HANDLERS[f"native_make_{_name}"] = _HANDLERS[f"__{_name}"] = _same
for _size in (2, 4, 8):
    _bits = 8 * _size
    for _spelling in (f"__fswab{_bits}", f"__swab{_bits}", f"swab{_bits}", f"__builtin_bswap{_bits}"):
        _HANDLERS[_spelling] = _swap(_size, "swap")
    for _prefix, _order in (("be", "big"), ("le", "little")):
        for _spelling in (f"{_prefix}{_bits}_to_cpu", f"cpu_to_{_prefix}{_bits}"):
            _HANDLERS[_spelling] = _HANDLERS[f"__{_spelling}"] = _swap(_size, _order)
        _HANDLERS[f"{_prefix}{_bits}_to_cpup"] = _HANDLERS[f"__{_prefix}{_bits}_to_cpup"] = _swap_pointer(_size, _order)
for _spelling, _size in (("ntohs", 2), ("htons", 2), ("ntohl", 4), ("htonl", 4)):
    _HANDLERS[_spelling] = _HANDLERS[f"__{_spelling}"] = _swap(_size, "big")
