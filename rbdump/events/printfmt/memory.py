# SPDX-License-Identifier: Apache-2.0
"""Pointers into the record: fields, arrays, dynamic arrays, and the text they hold."""

from __future__ import annotations

from collections.abc import Callable

from rbdump.events.format import Field
from rbdump.events.printfmt import integers
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.context import Context
from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.values import Int, Mem, Table, Text, Value
from rbdump.memo import Memo

__all__ = [
    "address_of",
    "as_text",
    "blob",
    "cast",
    "choose_text",
    "dynamic",
    "field_type",
    "field_value",
    "index",
    "items_of",
    "pointer_arithmetic",
    "strings_at",
]

_INTEGER_SIZES = (1, 2, 4, 8)
_RECORD_LIMIT = 1 << 16
"""Bytes of the largest sub-buffer: no record holds more."""


def field_type(ev: Context, field: Field) -> CType:
    """The C type of a field, an array type for arrays."""
    words = [w for w in field.type.split("[")[0].split() if w not in ("const", "volatile", "__data_loc", "__rel_loc")]
    name = " ".join(words).replace("*const", "*")
    stars = name.count("*")
    base = ev.types.get(name.replace("*", "").strip()) or CType("struct", 0, name=name)
    is_array = "[" in field.type or field.is_dynamic
    size = field.element_size if is_array else field.size
    if stars:
        for _ in range(stars):
            base = base.pointer(ev.types.long_size)
        elem = base
    elif base.kind == "struct" and (size not in _INTEGER_SIZES or name.startswith(("struct ", "union "))):
        elem = CType("struct", size, name=name)
    else:
        elem = CType("int", size or 1, field.signed, name="char" if name.endswith("char") else "")
    return CType("array", field.size, target=elem) if is_array else elem


def field_value(ev: Context, field: Field) -> Value:
    """``REC->field``."""
    if field.is_dynamic:
        return Int(ev.types.unsigned, None, ev.code.let(f"rows.integers({field.offset}, 4, signed=False)"))
    of = field_type(ev, field)
    if not field.size:  # a flexible array takes the rest of the record
        return Mem(of.target or of, field.offset, ev.code.let(f"rows.length - {field.offset}", "a"), field.name)
    if of.kind == "array":
        assert of.target is not None
        return Mem(of.target, field.offset, field.size, field.name)
    if of.kind == "struct" or of.size not in _INTEGER_SIZES or of.size != field.size:
        return Mem(CType("struct", field.size, name=of.name), field.offset, field.size, field.name)
    return Int(of, None, ev.code.let(f"rows.integers({field.offset}, {of.size}, signed={of.signed})"))


def dynamic(ev: Context, name: str, index: int = 0) -> tuple[Mem, Int]:
    """The dynamic array ``name`` and its length in bytes as __get_dynamic_array_len() gives it.

    ``index``: which of them, where the field is an array of these.
    """
    field = ev.dynamic_field(name)
    if index and not (field.is_dynamic and 0 < index < (field.array_length or 1)):
        raise UnsupportedPrintFmt(f"the field {name!r} has no element {index}")
    if not field.is_dynamic:
        value = field_value(ev, field)
        if isinstance(value, Mem) and isinstance(value.avail, int):
            return value, Int(ev.types.int, value.avail)
        raise UnsupportedPrintFmt(f"the field {name!r} is no dynamic array")
    pair = ev.code.let(f"{'loc' if field.is_data_loc else 'rel_loc'}(rows, {field.offset + 4 * index})", "d")
    of = field_type(ev, field)
    assert of.target is not None
    length = ev.code.let(f"np.maximum({pair}[1], 0).astype(i4)")
    offset, avail = ev.code.let(f"{pair}[0]", "o"), ev.code.let(f"{pair}[1]", "a")
    return Mem(of.target, offset, avail, name), Int(ev.types.int, None, length)


def _shifted(ev: Context, of: Mem, count: Int, op: str = "+") -> Mem:
    size = of.elem.size or (1 if of.elem.kind in ("void", "int") else 0)
    if not size:
        raise UnsupportedPrintFmt(f"the size of {of.elem.name or 'the elements'} is not known")
    if count.const is not None and abs(size * count.const) > _RECORD_LIMIT:
        raise UnsupportedPrintFmt(f"something outside of {of.name or 'the record'} is read")
    if count.const is not None and isinstance(of.offset, int):
        step = size * count.const * (1 if op == "+" else -1)
        avail: int | str = of.avail - step if isinstance(of.avail, int) else ev.code.let(f"{of.avail} - {step}", "a")
        if of.offset + step < 0 or (isinstance(avail, int) and avail <= 0):
            raise UnsupportedPrintFmt(f"something outside of {of.name or 'the record'} is read")
        return Mem(of.elem, of.offset + step, avail, of.name)
    step_code = (
        str(size * count.const * (1 if op == "+" else -1))
        if count.const is not None
        else ev.code.let(f"{'' if op == '+' else '-'}{integers.array(count)}.astype(i8) * {size}")
    )
    offset = ev.code.let(f"{of.offset} + {step_code}", "o")
    return Mem(of.elem, offset, ev.code.let(f"{of.avail} - {step_code}", "a"), of.name)


def load(ev: Context, of: Mem) -> Value:
    """``*of``."""
    to = of.elem
    if to.kind in ("struct", "array"):
        return of
    if to.kind == "void" or to.size not in _INTEGER_SIZES:
        raise UnsupportedPrintFmt(f"the size of what {of.name or 'a pointer'} points to is not known")
    if isinstance(of.offset, int) and isinstance(of.avail, int):
        if of.avail < to.size:
            raise UnsupportedPrintFmt(f"something outside of {of.name or 'the record'} is read")
        return Int(to, None, ev.code.let(f"rows.integers({of.offset}, {to.size}, signed={to.signed})"))
    code = f"load(rows, {of.offset}, {to.size}, {to.signed}, {of.avail})"
    return Int(to, None, ev.code.let(code))


def index(ev: Context, of: Value, at: Int) -> Value:
    """``of[at]``."""
    if isinstance(of, Mem):
        return load(ev, _shifted(ev, of, at))
    if isinstance(of, Text) and of.const is not None:
        raw = of.const.encode("utf-8", "surrogateescape") + b"\0"
        table = ev.code.bind(raw, "chars")
        if at.const is not None:
            return Int(ev.types.char, raw[at.const] if 0 <= at.const < len(raw) else 0)
        position = f"np.clip({integers.array(at)}.astype(i8), 0, {len(raw) - 1})"
        return Int(ev.types.char, None, ev.code.let(f"np.frombuffer({table}, u1)[{position}]"))
    if isinstance(of, Table) and at.const is None:
        items = [as_text(ev, ev.value(item)).const for item in of.items.items]
        names = ev.code.bind(tuple(items), "strings")
        positions = ev.code.items(ev.code.let(integers.array(at)))
        if None in items:
            raise UnsupportedPrintFmt("an element of a table is read whose number is not constant")
        return Text(None, ev.code.let(f"[{names}[i] if 0 <= i < {len(items)} else '' for i in {positions}]", "s"))
    if isinstance(of, Table) and at.const is not None and 0 <= at.const < len(of.items.items):
        return ev.value(of.items.items[at.const])
    if isinstance(of, Int) and of.type.kind == "pointer":
        raise UnsupportedPrintFmt("memory of the kernel behind a pointer is read")
    raise UnsupportedPrintFmt("an element of something that is no array is read")


def address_of(ev: Context, node: n.Node) -> Value:
    """``&node``: of a field, an element, or ``*pointer``."""
    if isinstance(node, n.Unary) and node.op == "*":
        return ev.value(node.of)
    if isinstance(node, n.Index):
        base = ev.value(node.of)
        if isinstance(base, Mem):
            return _shifted(ev, base, ev.integer(node.index))
        if isinstance(base, Table):
            return Int(ev.types.void.pointer(ev.types.long_size), 1)
    if isinstance(node, n.Member) and isinstance(node.of, n.Ident):
        field = ev.field(node.name)
        of = field_type(ev, field)
        return Mem(of.target or of, field.offset, field.size, field.name)
    raise UnsupportedPrintFmt("the address of something outside the record is taken")


def cast(ev: Context, of: Value, to: CType) -> Value:
    """``(to)of`` of a pointer into the record or a string."""
    if isinstance(of, Mem) and to.kind == "pointer":
        assert to.target is not None
        return Mem(to.target, of.offset, of.avail, of.name)
    if isinstance(of, Text) and to.kind == "pointer":
        return of
    if isinstance(of, Mem) and to.is_integer and to.size == ev.types.long_size:
        return Mem(CType("int", 1, False), of.offset, of.avail, of.name)
    raise UnsupportedPrintFmt("the address of a part of the record, or of a string, is used as a number")


def pointer_arithmetic(ev: Context, op: str, left: Value, right: Value) -> Value:
    """``+ -`` and comparisons of pointers into the record."""
    if op == "+" and isinstance(right, Mem):
        left, right = right, left
    if isinstance(left, Mem) and isinstance(right, Int) and op in ("+", "-"):
        return _shifted(ev, left, right, op)
    if op in ("==", "!=") and (right if isinstance(left, Mem) else left) == Int(
        ev.types.void.pointer(ev.types.long_size), 0
    ):
        return Int(ev.types.int, int(op == "!="))
    raise UnsupportedPrintFmt(f"{op} is applied to the address of a part of the record")


def blob(ev: Context, of: Mem, count: Int | None = None) -> str:
    """A list variable with the bytes of each row: ``count`` of them, or all."""
    size = of.avail if count is None else count.const if count.const is not None else integers.array(count)
    return ev.code.let(f"blobs(rows, {of.offset}, {size}, {of.avail})", "m")


def choose_text(ev: Context, test: Int, then: Value, other: Value) -> Text:
    """``test ? then : other`` of strings."""
    a, b = as_text(ev, then), as_text(ev, other)
    if a.const is not None and a.const == b.const:
        return a
    tests = ev.code.items(test.code)
    if a.const is not None and b.const is not None:
        return Text(None, ev.code.let(f"[*map(({b.const!r}, {a.const!r}).__getitem__, {tests})]", "s"))
    names = [("c", tests)]
    parts = []
    for name, text in (("x", a), ("y", b)):
        parts.append(repr(text.const) if text.const is not None else name)
        if text.const is None:
            names.append((name, text.code))
    target, source = ", ".join(name for name, _ in names), ", ".join(var for _, var in names)
    return Text(None, ev.code.let(f"[{parts[0]} if c else {parts[1]} for {target} in zip({source})]", "s"))


def strings_at(string_at: Callable[[int], str | None]) -> Memo[str]:
    """What %s makes of kernel pointers; unknown memory prints as the address, as trace_check_vprintf() does."""

    def text(addr: int) -> str:
        if not addr:
            return "(null)"
        known = string_at(addr)
        return f"(0x{addr:x})" if known is None else known

    return Memo(text)


def items_of(ev: Context, value: Text) -> str:
    """The list of strings of each row."""
    return value.code if value.const is None else ev.code.let(f"[{value.const!r}] * len(rows)", "s")


def as_text(ev: Context, value: Value) -> Text:
    """What ``%s`` prints."""
    if isinstance(value, Text):
        return value
    if isinstance(value, Mem):
        strings = "STRINGS"
        if isinstance(value.offset, int) and isinstance(value.avail, int):
            chars = ev.code.let(f"rows.char_arrays({value.offset}, {value.avail}).tolist()", "l")
            return Text(None, ev.code.let(f"[*map({strings}.__getitem__, {chars})]", "s"))
        return Text(None, ev.code.let(f"[*map({strings}.__getitem__, {blob(ev, value)})]", "s"))
    if isinstance(value, Int):
        if value.type.size != ev.types.long_size and value.const != 0:
            raise UnsupportedPrintFmt("%s is given an integer")
        pointer = integers.convert(ev.code, value, ev.types.ulong)
        if pointer.const is not None:
            return Text(ev.strings_at[pointer.const])
        name = ev.code.bind(ev.strings_at, "strings_at")
        return Text(None, ev.code.let(f"[*map({name}.__getitem__, {ev.code.items(pointer.code)})]", "s"))
    raise UnsupportedPrintFmt("%s is given something that is no string")
