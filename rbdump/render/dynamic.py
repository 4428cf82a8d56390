# SPDX-License-Identifier: Apache-2.0
"""Events made at run time, where the kernel has printers that the print fmt in tracefs only resembles.

Mirrors print_kprobe_event(), print_kretprobe_event() (kernel/trace/trace_kprobe.c; fprobes print the same),
print_uprobe_event() (trace_uprobe.c), print_eprobe_event() (trace_eprobe.c), print_type_string() (trace_probe.c) and
print_synth_event() (trace_events_synth.c). Probes of code are known by their fields: ``__probe_ip``; ``__probe_func``
and ``__probe_ret_ip``. An event probe has none of its own; only ``dynamic_events`` of tracefs tells what it is attached
to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rbdump.events.catalog import Catalog
from rbdump.events.facts import Facts
from rbdump.events.format import USER_SYSTEMS, EventFormat, Field
from rbdump.events.printfmt import UnsupportedPrintFmt, compile_print_fmt
from rbdump.events.rows import Rows
from rbdump.events.strings import dynamic_bytes, text_of
from rbdump.memo import Memo
from rbdump.render.group import Group, Renderer, column

__all__ = ["eprobe_renderer", "is_eprobe", "is_gone", "probe_renderer", "synthetic_renderer"]

_HEAD = re.compile(r'^"\(%lx(?: <- %lx)?\)')
_HEAD_ARGS = re.compile(r"^\s*,\s*REC->__probe_(?:ip|func)(?:\s*,\s*REC->__probe_ret_ip)?")
_EPROBE_ARGS = re.compile(r'^" (\w+)=')
_QUOTED = r"\"%s\""
_STRING_END = re.compile(r'(?<!\\)"')
_STR_VAR_LEN_MAX = 256  # bytes that each string of a fixed length takes in a synthetic event
_GFP_EVENTS = ("kmem:kmalloc", "kmem:kmem_cache_alloc", "kmem:mm_page_alloc")
_GFP_CALL = re.compile(r'__print_flags\(\s*REC->gfp_flags\s*,\s*"\|"\s*,\s*(?=\{)')


def is_eprobe(fmt: EventFormat, facts: Facts) -> bool:
    """Whether an event is a probe attached to another event; without `Facts.eprobes`, one without arguments that is in
    a group of its own cannot be told.
    """
    if fmt.system == "eprobes" or (fmt.system, fmt.name) in facts.eprobes:
        return True
    args = _EPROBE_ARGS.match(fmt.print_fmt)
    return args is not None and fmt.fields[:1] != () and fmt.fields[0].name == args[1]


def is_gone(fmt: EventFormat, facts: Facts) -> bool:
    """The kernel of the next boot does not know the event: it was made at run time, or came with a module."""
    if fmt.system == "synthetic" or fmt.system in USER_SYSTEMS or is_eprobe(fmt, facts):
        return True
    if fmt.fields and fmt.fields[0].name in ("__probe_ip", "__probe_func"):
        return True
    return facts.in_module(f"__traceiter_{fmt.name}")  # every tracepoint has such a function


def _split(print_fmt: str) -> tuple[str, str] | None:
    """Template and arguments of a probe's print fmt, without the address that both begin with."""
    head = _HEAD.match(print_fmt)
    if head is None:
        return None
    end = _STRING_END.search(print_fmt, head.end())
    if end is None:
        return None
    args = _HEAD_ARGS.match(print_fmt[end.end() :])
    if args is None:
        return None
    return print_fmt[head.end() : end.start()], print_fmt[end.end() + args.end() :]


def _args_renderer(fmt: EventFormat, facts: Facts, template: str, args: str) -> Callable[[Rows], list[str]]:
    """Renders the arguments behind the address with the newline: `` dfd=0x3 name="x"``, and ``name=(fault)`` for a
    string that could not be read.
    """
    if template.count(_QUOTED) == args.count("__get_str("):
        template, args = template.replace(_QUOTED, "%s"), args.replace("__get_str(", "__probe_str(")
    compiled = compile_print_fmt(replace(fmt, print_fmt=f'"{template}"{args}'), facts)
    cut = len(fmt.name) + 2
    return lambda rows: [line[cut:] for line in compiled(rows)]


def probe_renderer(fmt: EventFormat, facts: Facts) -> Renderer | None:
    """Renders kprobe, kretprobe, fprobe, uprobe and uretprobe events; None for other events.

    UnsupportedPrintFmt when the arguments cannot be rendered.
    """
    fields = {field.name: field for field in fmt.fields}
    ip = fields.get("__probe_ip") or fields.get("__probe_ret_ip")
    func = fields.get("__probe_func")
    parts = _split(fmt.print_fmt)
    if ip is None or parts is None or ("__probe_ip" not in fields and func is None):
        return None
    template, args = parts
    rest = _args_renderer(fmt, facts, template, args) if template else None
    user_space = fmt.system == "uprobes"
    half = 1 << (8 * facts.abi.long_size - 1)
    # on 64 bit the lower half of the address space is not the kernel's, but that of s390x has all of its own
    halves = facts.abi.long_size == 8 and (facts.addr_of("_text") or half) >= half
    name = facts.symbols.func

    def where(addr: int) -> str:
        """seq_print_ip_sym() with an offset: 0 and the trampoline of another return probe have none."""
        plain = name[addr]
        return plain if plain == "0" or plain.startswith("[") else facts.symbols.pS[addr]

    def is_user(addr: int) -> bool:
        return user_space or (halves and 0 < addr < half)  # a uprobe may be in a group of any name

    def spell(key: tuple[int, int | None]) -> str:
        at, of = key
        if of is None:
            return f"{fmt.name}: ({at:#x})" if is_user(at) else f"{fmt.name}: ({where(at)})"
        return f"{fmt.name}: ({at:#x} <- {of:#x})" if is_user(at) else f"{fmt.name}: ({where(at)} <- {name[of]})"

    heads = Memo(spell)

    def render(group: Group) -> list[str]:
        rows = group.rows
        ips = column(rows, ip)
        funcs: list[int | None] = [None] * len(ips) if func is None else [*column(rows, func)]
        ends = ["\n"] * len(ips) if rest is None else rest(rows)
        return [heads[at, of] + end for at, of, end in zip(ips, funcs, ends, strict=True)]

    return render


def eprobe_renderer(fmt: EventFormat, facts: Facts) -> Renderer | None:
    """Renders the events of a probe that is attached to another event; None when that event is not known.

    The print fmt has the arguments alone. UnsupportedPrintFmt when they cannot be rendered.
    """
    event = facts.eprobes.get((fmt.system, fmt.name))
    end = _STRING_END.search(fmt.print_fmt, 1)
    if event is None or end is None:
        return None
    template, args = fmt.print_fmt[1 : end.start()], fmt.print_fmt[end.end() :]
    rest = _args_renderer(fmt, facts, template, args) if template else None
    head = f"{fmt.name}: ({event})"

    def render(group: Group) -> list[str]:
        return [head + text for text in (["\n"] * len(group) if rest is None else rest(group.rows))]

    return render


def _conversion(type_text: str) -> str:
    """synth_field_fmt(): what the field is printed with; unknown types are unsigned 64 bit."""
    if type_text in ("s64", "s32", "s16", "s8", "char", "int", "long", "bool", "pid_t"):
        return "d"
    return "x" if type_text == "gfp_t" else "u"


def _gfp_call(catalog: Catalog) -> str | None:
    """``__print_flags(REC->gfp_flags, "|", ...)`` of an event that prints them; None when no such format is known.

    The kernel decodes gfp flags with one table, __def_gfpflag_names, which print fmts spell out.
    """
    for name in _GFP_EVENTS:
        fmt = catalog.by_name(name)
        begin = _GFP_CALL.search(fmt.print_fmt) if fmt is not None else None
        if fmt is None or begin is None:
            continue
        depth = 0
        for at in range(begin.start(), len(fmt.print_fmt)):  # no name of a flag has a parenthesis
            depth += {"(": 1, ")": -1}.get(fmt.print_fmt[at], 0)
            if depth == 0 and fmt.print_fmt[at] == ")":
                return fmt.print_fmt[begin.start() : at + 1]
    return None


def _gfp_values(field: Field, fmt: EventFormat, facts: Facts, catalog: Catalog) -> Callable[[Rows], list[str]] | None:
    """Names of gfp flags; None when no table of them is at hand.

    Kernel facts: the names follow the blank that separates fields, and none separates them from the next field;
    trace_print_flags_seq() ends its text with a NUL, which stays in the line; the flags are taken from the whole
    u64 of the field, whose upper half nobody wrote.
    """
    call = _gfp_call(catalog)
    if call is None:
        return None
    whole = replace(field, type="u64", name="gfp_flags", size=8, element_size=8)
    try:
        names = compile_print_fmt(replace(fmt, fields=(whole,), print_fmt=f'"%s", {call}'), facts)
    except UnsupportedPrintFmt:
        return None
    cut = len(fmt.name) + 2
    return lambda rows: [f" ({line[cut:-1]}\0)" for line in names(rows)]


def _synthetic_values(field: Field, facts: Facts) -> Callable[[Rows], list[str]]:
    if field.is_data_loc and not field.is_string:
        return lambda rows: _stacks(rows, field, facts)
    if field.is_data_loc:
        return lambda rows: _strings(rows, field)
    if field.is_string:
        return lambda rows: _slots(rows, field)
    conversion = _conversion(field.type)
    # values of one and two bytes pass through an unsigned type: s8 -1 prints as 255
    signed = conversion == "d" and field.size > 2
    spell = _hex if conversion == "x" else str
    return lambda rows: [spell(value) for value in rows.integers(field.offset, field.size, signed=signed).tolist()]


def _hex(value: int) -> str:
    """``%x``."""
    return f"{value:x}"


def _slots(rows: Rows, field: Field) -> list[str]:
    """Strings of a fixed length: trace_string() fills the slot whatever length the type says, and %s prints it."""
    size = _STR_VAR_LEN_MAX if rows.length.min() >= field.offset + _STR_VAR_LEN_MAX else field.size
    return [text_of(raw) for raw in rows.char_arrays(field.offset, size).tolist()]


def _strings(rows: Rows, field: Field) -> list[str]:
    return [text_of(raw or b"") for raw in dynamic_bytes(rows, field)]


def _stacks(rows: Rows, field: Field, facts: Facts) -> list[str]:
    size = facts.abi.long_size
    texts = []
    for raw in dynamic_bytes(rows, field):
        addrs = np.frombuffer(raw or b"", facts.abi.dtype(size), len(raw or b"") // size).tolist()
        # the first word is the number of entries
        texts.append("STACK:\n" + "".join(f"=> {facts.symbols.pS[addr]}\n" for addr in addrs[1:]))
    return texts


def synthetic_renderer(fmt: EventFormat, facts: Facts, catalog: Catalog, *, faulty: bool) -> Renderer:
    """Renders an event of the system ``synthetic``; ``catalog`` may know the names of gfp flags.

    Kernel fact: ``faulty`` kernels print a string of a fixed length with ``%s=%s%s``, but give its longest length in
    front of it still: that is no address, and the string stands where the blank behind it should be.
    """
    fields = fmt.fields
    columns: list[Callable[[Rows], list[str]]] = []
    template = f"{fmt.name.replace('%', '%%')}: "
    for at, field in enumerate(fields):
        stack = field.is_data_loc and not field.is_string
        if faulty and field.is_string and not field.is_data_loc and f"{field.name}=%s" in fmt.print_fmt:
            template += f"{field.name}=(efault)%s"
        else:
            template += f"{field.name}=%s" + ("" if stack or at == len(fields) - 1 else " ")
        columns.append(_synthetic_values(field, facts))
        flags = _gfp_values(field, fmt, facts, catalog) if field.type == "gfp_t" else None
        if flags is not None:
            template += "%s"
            columns.append(flags)

    def render(group: Group) -> list[str]:
        if not fields:
            return [template + "\n"] * len(group)
        return [template % row + "\n" for row in zip(*(values(group.rows) for values in columns), strict=True)]

    return render
