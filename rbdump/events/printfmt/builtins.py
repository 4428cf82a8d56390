# SPDX-License-Identifier: Apache-2.0
"""Functions and macros of one result: byte swaps, gcc builtins, min and max, time units, small decoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rbdump.events.printfmt import ata, decoders, integers, nvme, xhci
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.context import Context
from rbdump.events.printfmt.ctype import CType, wrap
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.usb import ucsi_command, ucsi_recipient, usb_control, usb_speed, usb_state
from rbdump.events.printfmt.values import Int, Text, Value
from rbdump.memo import Memo

__all__ = ["HANDLERS", "column"]

Nodes = Sequence[n.Node]


def _swap(size: int, order: str) -> Callable[[Context, Nodes], Value]:
    """Byte order of ``size`` bytes changed: always (``swap``), or when the dump has the other order."""

    def handler(ev: Context, args: Nodes) -> Value:
        to = CType("int", size, False)
        value = integers.convert(ev.code, ev.integer(args[0]), to)
        if order == ev.facts.abi.byteorder:
            return value
        if value.const is not None:
            return Int(to, int.from_bytes(value.const.to_bytes(size, "little"), "big"))
        return Int(to, None, ev.code.let(f"{integers.array(value)}.byteswap()"))

    return handler


def _swap_pointer(size: int, order: str) -> Callable[[Context, Nodes], Value]:
    swap = _swap(size, order)

    def handler(ev: Context, args: Nodes) -> Value:
        to = n.TypeName(CType("int", size, False), None, 1)
        return swap(ev, (n.Unary("*", n.Cast(to, args[0])),))

    return handler


def _same(ev: Context, args: Nodes) -> Value:
    return ev.value(args[0])


def _constant_p(ev: Context, args: Nodes) -> Value:
    """gcc decides it while compiling; for a field the answer is no."""
    try:
        value = ev.value(args[0])
    except UnsupportedPrintFmt:
        return Int(ev.types.int, 0)
    known = isinstance(value, Int | Text) and value.const is not None
    return Int(ev.types.int, int(known))


def _choose_expr(ev: Context, args: Nodes) -> Value:
    return ev.value(args[1] if ev.constant(args[0]) else args[2])


def _types_compatible(ev: Context, args: Nodes) -> Value:
    a, b = (ev.resolve(arg) if isinstance(arg, n.TypeName) else ev.type_of(ev.value(arg)) for arg in args)
    same = a.kind == b.kind and a.size == b.size and a.signed == b.signed
    return Int(ev.types.int, int(same))


def _of_bits(function: Callable[[int, int], int], size: int = 0) -> Callable[[Context, Nodes], Value]:
    """An int made of the bits of an unsigned integer of ``size`` bytes, 0 for a long, and of how many these are."""

    def handler(ev: Context, args: Nodes) -> Value:
        to = CType("int", size or ev.types.long_size, False)
        value = integers.convert(ev.code, ev.integer(args[0]), to)
        if value.const is not None:
            return Int(ev.types.int, function(value.const, to.bits))
        name = ev.code.bind(Memo(lambda v: function(v, to.bits)), "bits")
        items = ev.code.items(ev.code.let(integers.array(value)))
        return Int(ev.types.int, None, ev.code.let(f"np.fromiter(map({name}.__getitem__, {items}), i4, len(rows))"))

    return handler


def _log2(value: int, bits: int) -> int:
    return value.bit_length() - 1


def _order_base_2(value: int, bits: int) -> int:
    return (value - 1).bit_length() if value > 1 else 0


def _leading_zeroes(value: int, bits: int) -> int:
    return bits - value.bit_length()


def _trailing_zeroes(value: int, bits: int) -> int:
    return (value & -value).bit_length() - 1 if value else bits


def _minimum(op: str) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        return ev.value(n.Cond(n.Binary(op, args[0], args[1]), args[0], args[1]))

    return handler


def _minimum_as(op: str) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        if not isinstance(args[0], n.TypeName):
            raise UnsupportedPrintFmt("min_t needs a type")
        a, b = n.Cast(args[0], args[1]), n.Cast(args[0], args[2])
        return ev.value(n.Cond(n.Binary(op, a, b), a, b))

    return handler


def _words(yes: str, no: str) -> Callable[[Context, Nodes], Value]:
    """A function of include/linux/string_choices.h, or one like these."""

    def handler(ev: Context, args: Nodes) -> Value:
        return ev.value(n.Cond(args[0], n.String(yes), n.String(no)))

    return handler


def _plural(ev: Context, args: Nodes) -> Value:
    one = n.Number(1, ev.types.int)
    return ev.value(n.Cond(n.Binary("==", args[0], one), n.String(""), n.String("s")))


def _is_err(ev: Context, args: Nodes) -> Value:
    value = integers.convert(ev.code, ev.integer(args[0]), ev.types.ulong)
    limit = Int(ev.types.ulong, wrap(-4095, ev.types.ulong))
    return integers.binary(ev.code, ">=", value, limit, ev.types)


def _ns_to(part: int) -> Callable[[Context, Nodes], Value]:
    """__print_ns_to_secs and __print_ns_without_secs: do_div() by 10^9."""

    def handler(ev: Context, args: Nodes) -> Value:
        value = integers.convert(ev.code, ev.integer(args[0]), ev.types.u64)
        result = integers.binary(ev.code, "%" if part else "/", value, Int(ev.types.u64, 10**9), ev.types)
        return integers.convert(ev.code, result, ev.types.unsigned) if part else result

    return handler


def _ktime_to(unit: int) -> Callable[[Context, Nodes], Value]:
    """ktime_to_ns() and its like: a ktime_t counts nanoseconds, and is divided as C divides."""

    def handler(ev: Context, args: Nodes) -> Value:
        value = integers.convert(ev.code, ev.integer(args[0]), ev.types.s64)
        return integers.binary(ev.code, "/", value, Int(ev.types.s64, unit), ev.types)

    return handler


def _jiffies(numerator: int) -> Callable[[Context, Nodes], Value]:
    """jiffies_to_msecs() and jiffies_to_usecs() of kernel/time/time.c for an HZ that divides the unit."""

    def handler(ev: Context, args: Nodes) -> Value:
        hz = ev.facts.hz or ev.facts.variables.get("HZ")
        if hz is None or numerator % hz:
            raise UnsupportedPrintFmt("jiffies cannot be converted: CONFIG_HZ is not known")
        value = integers.convert(ev.code, ev.integer(args[0]), ev.types.ulong)
        result = integers.binary(ev.code, "*", value, Int(ev.types.ulong, numerator // hz), ev.types)
        return integers.convert(ev.code, result, ev.types.unsigned)

    return handler


def _in_irq(mask: int) -> Callable[[Context, Nodes], Value]:
    def handler(ev: Context, args: Nodes) -> Value:
        flags = ev.value(n.Member(n.Ident("REC"), "common_flags"))
        assert isinstance(flags, Int)
        return integers.binary(ev.code, "&", flags, Int(ev.types.int, mask), ev.types)

    return handler


def column(ev: Context, value: Int) -> str:
    """The integers of all rows."""
    if value.const is not None:
        return f"[{value.const}] * len(rows)"
    return ev.code.items(ev.code.let(integers.array(value)))


def _decoder(function: Callable[..., str], arity: int, skip: int) -> Callable[[Context, Nodes], Value]:
    """A function of the kernel from integers to text. ``skip`` leading arguments are the buffer it prints to, or a
    trace_seq, and the size of that buffer, which cuts the text."""

    def handler(ev: Context, args: Nodes) -> Value:
        end = max(ev.constant(args[1]) - 1, 0) if skip == 2 else None
        values = [ev.integer(arg) for arg in args[skip : skip + arity]]
        if len(values) != arity:
            raise ValueError
        name = ev.code.bind(Memo(lambda key: function(*key)[:end]), "decode")
        columns = ", ".join(column(ev, value) for value in values)
        return Text(None, ev.code.let(f"[*map({name}.__getitem__, zip({columns}))]", "s"))

    return handler


def _xhci_trb(ev: Context, args: Nodes) -> Value:
    """Records tell where a TRB lies since the release that prints isochronous ones in a way of their own, 6.13."""
    with_place = any(field.name == "dma" for field in ev.fmt.fields)
    return _decoder(xhci.trb if with_place else xhci.trb_before_6_13, 4, 2)(ev, args)


def _xhci_portsc(ev: Context, args: Nodes) -> Value:
    """Two texts, of the same arguments: the release that came with the second, 6.19, took fields from an event."""
    other = ev.facts.event("xhci-hcd:xhci_address_ctx")
    if other is None:
        raise UnsupportedPrintFmt(
            "which of two texts xhci_decode_portsc() prints shows in the event xhci_address_ctx, which is missing"
        )
    before = any(field.name == "ctx_ep_num" for field in other.fields)
    return _decoder(xhci.port_status_before_6_19 if before else xhci.port_status, 1, 1)(ev, args)


HANDLERS: dict[str, Callable[[Context, Nodes], Value]] = {
    "__print_ns_to_secs": _ns_to(0),
    "__print_ns_without_secs": _ns_to(1),
    "ktime_to_ns": _ktime_to(1),
    "ktime_to_us": _ktime_to(10**3),
    "ktime_to_ms": _ktime_to(10**6),
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
    "ilog2": _of_bits(_log2, 8),
    "__ilog2_u32": _of_bits(_log2, 4),
    "__ilog2_u64": _of_bits(_log2, 8),
    "__order_base_2": _of_bits(_order_base_2),
    "min": _minimum("<"),
    "max": _minimum(">"),
    "min_t": _minimum_as("<"),
    "max_t": _minimum_as(">"),
    "IS_ERR": _is_err,
    "IS_ERR_VALUE": _is_err,
    "str_plural": _plural,
    "usb_decode_ctrl": _decoder(usb_control, 5, 2),
    "snd_pcm_direction_name": _words("Capture", "Playback"),
    "usb_speed_string": _decoder(usb_speed, 1, 0),
    "usb_state_string": _decoder(usb_state, 1, 0),
    "ucsi_cmd_str": _decoder(ucsi_command, 1, 0),
    "ucsi_recipient_str": _decoder(ucsi_recipient, 1, 0),
    "libata_trace_parse_status": _decoder(ata.status, 1, 1),
    "libata_trace_parse_host_stat": _decoder(ata.host_status, 1, 1),
    "libata_trace_parse_eh_action": _decoder(ata.eh_action, 1, 1),
    "libata_trace_parse_eh_err_mask": _decoder(ata.eh_err_mask, 1, 1),
    "libata_trace_parse_qc_flags": _decoder(ata.qc_flags, 1, 1),
    "libata_trace_parse_tf_flags": _decoder(ata.tf_flags, 1, 1),
    "libata_trace_parse_subcmd": _decoder(ata.subcommand, 3, 1),
    "mc_event_error_type": _decoder(decoders.mc_event_error_type, 1, 0),
    "nvmet_trace_ctrl_id": _decoder(nvme.controller, 1, 1),
    "xen_hypercall_name": _decoder(decoders.xen_hypercall, 1, 0),
    "xhci_ring_type_string": _decoder(xhci.ring_type, 1, 0),
    "xhci_decode_trb": _xhci_trb,
    "xhci_decode_portsc": _xhci_portsc,
    "xhci_decode_ctrl_ctx": _decoder(xhci.control_context, 2, 1),
    "xhci_decode_slot_context": _decoder(xhci.slot_context, 4, 1),
    "xhci_decode_ep_context": _decoder(xhci.endpoint_context, 4, 1),
    "xhci_decode_doorbell": _decoder(xhci.doorbell, 2, 1),
    "dwc3_decode_event": _decoder(decoders.dwc3_event, 2, 2),
    "dwc3_mode_string": _decoder(decoders.dwc3_mode, 1, 0),
    "dwc3_trb_type_string": _decoder(decoders.dwc3_trb_type, 1, 0),
    "dwc3_gadget_ep_cmd_string": _decoder(decoders.dwc3_ep_command, 1, 0),
    "dwc3_gadget_generic_cmd_string": _decoder(decoders.dwc3_generic_command, 1, 0),
    "dwc3_ep_cmd_status_string": _decoder(decoders.dwc3_ep_command_status, 1, 0),
    "dwc3_gadget_generic_cmd_status_string": _decoder(decoders.dwc3_generic_command_status, 1, 0),
}
for _yes, _no in (
    ("enable", "disable"), ("enabled", "disabled"), ("hi", "lo"), ("high", "low"), ("read", "write"), ("on", "off"),
    ("yes", "no"), ("up", "down"), ("true", "false"), ("assert", "deassert"), ("input", "output"),
    ("connect", "disconnect"), ("connected", "disconnected"),
):  # fmt: skip
    HANDLERS[f"str_{_yes}_{_no}"] = _words(_yes, _no)
    HANDLERS[f"str_{_no}_{_yes}"] = _words(_no, _yes)
for _name in ("pte", "pmd", "pud", "p4d", "pgd"):
    HANDLERS[f"{_name}_val"] = HANDLERS[f"native_make_{_name}"] = HANDLERS[f"__{_name}"] = _same
for _suffix, _size in (("", 4), ("l", 0), ("ll", 8)):
    HANDLERS[f"__builtin_clz{_suffix}"] = _of_bits(_leading_zeroes, _size)
    HANDLERS[f"__builtin_ctz{_suffix}"] = _of_bits(_trailing_zeroes, _size)
    HANDLERS[f"__builtin_ffs{_suffix}"] = _of_bits(lambda value, bits: (value & -value).bit_length(), _size)
    HANDLERS[f"__builtin_popcount{_suffix}"] = _of_bits(lambda value, bits: value.bit_count(), _size)
for _size in (2, 4, 8):
    _bits = 8 * _size
    for _spelling in (f"__fswab{_bits}", f"__swab{_bits}", f"swab{_bits}", f"__builtin_bswap{_bits}"):
        HANDLERS[_spelling] = _swap(_size, "swap")
    for _prefix, _order in (("be", "big"), ("le", "little")):
        for _spelling in (f"{_prefix}{_bits}_to_cpu", f"cpu_to_{_prefix}{_bits}"):
            HANDLERS[_spelling] = HANDLERS[f"__{_spelling}"] = _swap(_size, _order)
        HANDLERS[f"{_prefix}{_bits}_to_cpup"] = HANDLERS[f"__{_prefix}{_bits}_to_cpup"] = _swap_pointer(_size, _order)
for _spelling, _size in (("ntohs", 2), ("htons", 2), ("ntohl", 4), ("htonl", 4)):
    HANDLERS[_spelling] = HANDLERS[f"__{_spelling}"] = _swap(_size, "big")
