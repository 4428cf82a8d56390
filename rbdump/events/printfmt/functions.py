# SPDX-License-Identifier: Apache-2.0
"""Functions and macros that print fmts call: the helpers of include/trace/stages/stage3_trace_output.h, byte swaps,
gcc builtins, and small functions of the kernel whose result depends on nothing but their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rbdump.events.facts import LINE_LIMIT
from rbdump.events.printfmt import builtins, decoders, integers, memory, nvme, text
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.context import Context
from rbdump.events.printfmt.ctype import CType, wrap
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.runtime import BAD_LOC
from rbdump.events.printfmt.values import Int, Mem, Table, Text, Value
from rbdump.events.strings import text_of
from rbdump.kernel.events.printed import BLOCK_OPS, RESERVATION_NAMES, ZONE_CONDITIONS
from rbdump.memo import Memo

__all__ = ["call", "map_blobs", "map_ints"]

Nodes = Sequence[n.Node]


def call(ev: Context, node: n.Call) -> Value:
    """The value of a call. Raises UnsupportedPrintFmt for functions that only the kernel has."""
    handler = _HANDLERS.get(node.name) or builtins.HANDLERS.get(node.name)
    if handler is None:
        raise UnsupportedPrintFmt(f"the function {node.name}() of the kernel is not known")
    try:
        return handler(ev, node.args)
    except (IndexError, ValueError):
        raise UnsupportedPrintFmt(f"{node.name}() has the wrong arguments") from None


def map_ints(ev: Context, value: Int, function: Callable[[int], str], name: str) -> Text:
    """A pure function of an integer, each value computed once."""
    if value.const is not None:
        return Text(function(value.const))
    memo = ev.code.bind(Memo(function), name)
    return Text(None, ev.code.let(f"[*map({memo}.__getitem__, {builtins.column(ev, value)})]", "s"))


def map_blobs(ev: Context, blobs: str, function: Callable[[bytes], str], name: str) -> Text:
    """A pure function of bytes of the record, a list variable as `memory.blob` gives it."""
    memo = ev.code.bind(text.blob_texts(function), name)
    return Text(None, ev.code.let(f"[*map({memo}.__getitem__, {blobs})]", "s"))


def name_of(node: n.Node) -> str:
    """The field that a __get_...(field) macro names."""
    if not isinstance(node, n.Ident):
        raise UnsupportedPrintFmt("a field name is needed")
    return node.name


def _located(ev: Context, node: n.Node) -> tuple[Mem, Int]:
    """The dynamic array that a macro names, ``name`` or ``name[2]``, and its length in bytes."""
    if isinstance(node, n.Index):
        return memory.dynamic(ev, name_of(node.of), ev.constant(node.index))
    return memory.dynamic(ev, name_of(node))


def _pairs(ev: Context, nodes: Nodes, to: CType) -> list[tuple[int, str]]:
    if not nodes:
        return []
    key = id(nodes[0]) ^ to.size
    known = ev.tables.get(key)
    if known is None:
        known = ev.tables[key] = nodes[0], _read_pairs(ev, nodes, to)
    return known[1]


def _read_pairs(ev: Context, nodes: Nodes, to: CType) -> list[tuple[int, str]]:
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


def _flags(bits: int) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        to = ev.types.u64 if bits == 64 else ev.types.ulong
        delimiter = ev.value(args[1])
        separator = delimiter.const if isinstance(delimiter, Text) else "" if isinstance(delimiter, Int) else None
        if separator is None:
            raise UnsupportedPrintFmt("the delimiter of __print_flags is no string")
        pairs = _pairs(ev, args[2:], to)
        value = integers.convert(ev.code, ev.integer(args[0]), to)
        return map_ints(ev, value, lambda v: text.flags(v, separator, pairs), "flags")

    return handler


def _symbolic(bits: int) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        to = ev.types.u64 if bits == 64 else ev.types.ulong
        names: dict[int, str] = {}
        for value, name in _pairs(ev, args[1:], to):
            names.setdefault(value, name)
        value_ = integers.convert(ev.code, ev.integer(args[0]), to)
        return map_ints(ev, value_, lambda v: names.get(v) or f"{v:#x}", "names")

    return handler


def _memory(ev: Context, node: n.Node) -> Mem:
    value = ev.value(node)
    if not isinstance(value, Mem):
        raise UnsupportedPrintFmt("memory of the kernel behind a pointer is printed")
    return value


def _hex(separator: str) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        blobs = memory.blob(ev, _memory(ev, args[0]), _c_int(ev, args[1]))
        return map_blobs(ev, blobs, lambda b: b.hex(separator) if separator else b.hex(), "hex")

    return handler


def _c_int(ev: Context, node: n.Node) -> Int:
    return integers.convert(ev.code, ev.integer(node), ev.types.int)


def _array(ev: Context, args: Nodes) -> Value:
    size = ev.constant(args[2])
    count = integers.binary(ev.code, "*", _c_int(ev, args[1]), Int(ev.types.s64, size), ev.types)
    blobs = memory.blob(ev, _memory(ev, args[0]), count)
    order = ev.facts.abi.byteorder
    return map_blobs(ev, blobs, lambda b: text.array(b, size, order), "array")


def _print_dynamic_array(ev: Context, args: Nodes) -> Value:
    size, order = ev.constant(args[1]), ev.facts.abi.byteorder
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return map_blobs(ev, blobs, lambda b: text.array(b, size, order), "array")


def _hex_dump(ev: Context, args: Nodes) -> Value:
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
    return map_blobs(
        ev, blobs, lambda b: text.hex_dump(b, start, kind == 2, row, group, bool(ascii_column), order), "dump"
    )


def _bitmask(ev: Context, args: Nodes) -> Value:
    order, size = ev.facts.abi.byteorder, ev.facts.abi.long_size
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return map_blobs(ev, blobs, lambda b: text.bitmap(b, 8 * len(b), order, size), "bitmask")


def _stacktrace(ev: Context, args: Nodes) -> Value:
    order, size, symbols = ev.facts.abi.byteorder, ev.facts.abi.long_size, ev.facts.symbols.pS
    blobs = memory.blob(ev, memory.dynamic(ev, name_of(args[0]))[0])
    return map_blobs(ev, blobs, lambda b: text.stacktrace(b, order, size, symbols), "stack")


def _dynamic(ev: Context, args: Nodes) -> Value:
    found = memory.dynamic(ev, name_of(args[0]))[0]
    return Mem(ev.types.void, found.offset, found.avail, found.name)


def _get_str(ev: Context, args: Nodes) -> Value:
    found = _located(ev, args[0])[0]
    return Mem(ev.types.char, found.offset, found.avail, found.name)


def _probe_str(ev: Context, args: Nodes) -> Value:
    """print_type_string() (kernel/trace/trace_probe.c): what could not be read has no bytes, not even a NUL."""
    blobs = memory.blob(ev, _located(ev, args[0])[0])
    return map_blobs(ev, blobs, lambda raw: f'"{text_of(raw)}"' if raw else "(fault)", "str")


def _dynamic_length(ev: Context, args: Nodes) -> Value:
    return memory.dynamic(ev, name_of(args[0]))[1]


def _seq_blob(function: Callable[[bytes], str], name: str) -> Callable[[Context, Nodes], Value]:
    """A function of the trace_seq it prints to, of bytes and of their number."""

    def handler(ev: Context, args: Nodes) -> Value:
        blobs = memory.blob(ev, _memory(ev, args[1]), _c_int(ev, args[2]))
        return map_blobs(ev, blobs, function, name)

    return handler


def _disk_name(ev: Context, args: Nodes) -> Value:
    """nvme_trace_disk_name() and nullb_trace_disk_name(), whose first argument is the trace_seq they print to."""
    name = memory.as_text(ev, ev.value(args[1]))
    items = memory.items_of(ev, name)
    return Text(None, ev.code.let(f"[f'disk={{x}}, ' if x else '' for x in {items}]", "s"))


def _untrusted(ev: Context, args: Nodes) -> Value:
    limit = LINE_LIMIT[ev.facts.abi.long_size]
    room = limit - limit // 4
    return _seq_blob(lambda raw: text.untrusted(raw, room), "untrusted")(ev, args)


def _layers(ev: Context, args: Nodes) -> Value:
    """__trace_landlock_print_layers(), whose first argument is the trace_seq it prints to."""
    number, order = args[2], ev.facts.abi.byteorder
    if not isinstance(number, n.Binary) or number.op != "/":
        raise UnsupportedPrintFmt("the size of a layer is not known")
    size = max(ev.constant(number.right), 1)
    pairs = _pairs(ev, args[3:4], ev.types.ulong)
    return map_blobs(ev, memory.blob(ev, _memory(ev, args[1])), lambda b: text.layers(b, size, order, pairs), "layers")


def _nvme(function: Callable[[int, bytes], str]) -> Callable[[Context, Nodes], Value]:
    """A function of the trace_seq it prints to, of the opcode of a command and of its bytes from CDW10 on."""

    def handler(ev: Context, args: Nodes) -> Value:
        opcodes = builtins.column(ev, ev.integer(args[1]))
        blobs = memory.blob(ev, _memory(ev, args[2]), Int(ev.types.int, 24))
        memo = ev.code.bind(Memo(lambda key: BAD_LOC if key[1] is None else function(*key)), "nvme")
        return Text(None, ev.code.let(f"[*map({memo}.__getitem__, zip({opcodes}, {blobs}))]", "s"))

    return handler


def _nvme_io(before: Callable[[int, bytes], str]) -> Callable[[Context, Nodes], Value]:
    """Reservations are spelled out since 6.13, which brought an enumerator too; print fmts show the next since 6.16."""

    def handler(ev: Context, args: Nodes) -> Value:
        event = ev.fmt.system, ev.fmt.name
        if "nvme_cmd_io_mgmt_recv" in ev.fmt.print_fmt or ev.facts.constant(RESERVATION_NAMES, event) is not None:
            return _nvme(nvme.io)(ev, args)
        if ev.facts.constant("nvme_cmd_read", event) is None:  # no types that would have it
            ev.notes.append("reservations are printed as before 6.13, for no types of the kernel are at hand")
        return _nvme(before)(ev, args)

    return handler


def _enumerator(names: Mapping[str, str]) -> Callable[[Context, Nodes], Value]:
    """A function that prints the name of an enumerator, ``UNKNOWN`` for other numbers; ``names`` by enumerator."""

    def handler(ev: Context, args: Nodes) -> Value:
        event = ev.fmt.system, ev.fmt.name
        values = {value: names[name] for name in names if (value := ev.facts.constant(name, event)) is not None}
        if not values:
            raise UnsupportedPrintFmt(f"the values of {', '.join([*names][:2])}, ... are not known")
        number = integers.convert(ev.code, ev.integer(args[0]), ev.types.unsigned)
        return map_ints(ev, number, lambda v: values.get(v, "UNKNOWN"), "names")

    return handler


_HANDLERS: dict[str, Callable[[Context, Nodes], Value]] = {
    "__print_flags": _flags(0),
    "__print_flags_u64": _flags(64),
    "__print_symbolic": _symbolic(0),
    "__print_symbolic_u64": _symbolic(64),
    "__print_hex": _hex(" "),
    "__print_hex_str": _hex(""),
    "__print_array": _array,
    "__print_dynamic_array": _print_dynamic_array,
    "__print_hex_dump": _hex_dump,
    "__get_str": _get_str,
    "__probe_str": _probe_str,
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
    "scsi_trace_parse_cdb": _seq_blob(decoders.scsi_cdb, "cdb"),
    "nvme_trace_disk_name": _disk_name,
    "nvmet_trace_disk_name": _disk_name,
    "nvme_trace_parse_admin_cmd": _nvme(nvme.admin),
    "nvme_trace_parse_nvm_cmd": _nvme_io(nvme.io_without_names),
    "nvme_trace_parse_fabrics_cmd": _nvme(nvme.fabrics),
    "nvmet_trace_parse_admin_cmd": _nvme(nvme.target_admin),
    "nvmet_trace_parse_nvm_cmd": _nvme_io(nvme.target_io_without_reservations),
    "nvmet_trace_parse_fabrics_cmd": _nvme(nvme.fabrics),
    "nullb_trace_disk_name": _disk_name,
    "blk_op_str": _enumerator(BLOCK_OPS),
    "blk_zone_cond_str": _enumerator(ZONE_CONDITIONS),
    "__trace_landlock_print_layers": _layers,
    "__trace_print_untrusted_str": _untrusted,
}
