# SPDX-License-Identifier: Apache-2.0
"""Syntax tree to generated code: C expressions with their static types over whole columns.

Integers become numpy operations on arrays of exactly the C type, so that promotion, conversion and wrap-around are
those of the compiler that built the kernel. Both branches of a conditional are computed; nothing has side effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rbdump.events.facts import Facts
from rbdump.events.format import EventFormat, Field
from rbdump.events.printfmt import functions, integers, memory, statements
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.context import Context, Tables
from rbdump.events.printfmt.ctype import CType, TypeTable, common_type, wrap
from rbdump.events.printfmt.enumerators import ENUMERATORS, KERNEL_STRINGS
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.pages import frame_of
from rbdump.events.printfmt.values import Code, Int, Mem, Table, Text, Value
from rbdump.events.variables import JIFFIES, PAGE_BASE, PAGE_SIZE

__all__ = ["Evaluator"]

_STEPS = 1 << 14


class Evaluator(Context):
    """Evaluates expressions of one event format into one function's code."""

    def __init__(
        self,
        fmt: EventFormat,
        facts: Facts,
        types: TypeTable,
        code: Code,
        tables: Tables,
    ) -> None:
        self.fmt = fmt
        self.facts = facts
        self.types = types
        self.code = code
        self.tables = tables
        self.strings_at = memory.strings_at(facts.string_at)
        self.notes: list[str] = []
        base = facts.variables.get(PAGE_BASE)
        self.page_map = None if base is None else (base, facts.variables.get(PAGE_SIZE, self.page.size))
        everything = (*fmt.common_fields, *fmt.fields)
        # a dynamic array and a plain field may share a name: the kernel's structure calls the first __data_loc_NAME
        self.fields = {f.name: f for f in everything if not f.is_dynamic}
        self.dynamic_fields = {f.name: f for f in everything if f.is_dynamic}
        self.locals: Mapping[str, n.Node] = {}
        self._steps = 0

    @property
    def page(self) -> CType:
        """``struct page``."""
        return self.types.names["struct page"]

    def value(self, node: n.Node) -> Value:
        """The value of an expression. Raises UnsupportedPrintFmt."""
        self._step()
        method: Callable[[Evaluator, n.Node], Value] | None = _DISPATCH.get(type(node))
        if method is None:
            raise UnsupportedPrintFmt(f"{type(node).__name__} is no expression here")
        return method(self, node)

    def _step(self) -> None:
        """Variables and macros repeat what they are made of: a short text may stand for an endless expression."""
        self._steps += 1
        if self._steps > _STEPS:
            raise UnsupportedPrintFmt(f"it takes more than {_STEPS} steps to evaluate the print fmt")

    def integer(self, node: n.Node) -> Int:
        """The value of an expression that must be an integer or a kernel pointer."""
        value = self.value(node)
        if isinstance(value, Int):
            return value
        raise UnsupportedPrintFmt(f"an integer is needed where the format has {describe(value)}")

    def constant(self, node: n.Node) -> int:
        """The value of an expression that must be a constant."""
        value = self.integer(node)
        if value.const is None:
            raise UnsupportedPrintFmt("a constant is needed where the format has a field")
        return value.const

    def resolve(self, name: n.TypeName) -> CType:
        """The type that a type name means."""
        base = name.type
        if base is None and name.of is not None:
            base = self.type_of(self.value(name.of))
        if base is None:
            base = self.typedef(name.name, bool(name.pointers))
        for _ in range(name.pointers):
            base = base.pointer(self.types.long_size)
        return base

    def typedef(self, name: str, behind_pointer: bool) -> CType:
        """A typedef the kernel has and rbdump does not know: a field of that type tells its size."""
        for field in self.fmt.fields:
            if field.type == name and field.size in (1, 2, 4, 8):
                return CType("int", field.size, field.signed)
        if name in ("phys_addr_t", "dma_addr_t", "resource_size_t") and self.types.long_size == 8:
            return self.types.u64
        if behind_pointer:
            return CType("struct", 0, name=name)
        raise UnsupportedPrintFmt(f"the type {name!r} is not known")

    def type_of(self, value: Value) -> CType:
        """The C type of a value."""
        if isinstance(value, Int):
            return value.type
        if isinstance(value, Text):
            size = 0 if value.const is None else len(value.const.encode("utf-8", "surrogateescape")) + 1
            return CType("array", size, target=self.types.char)
        if isinstance(value, Mem):
            size = value.avail if isinstance(value.avail, int) else 0
            return CType("array", size, target=value.elem)
        return CType("array", 16 * len(value.items.items), target=CType("struct", 16))

    # leaves

    def _number(self, node: n.Node) -> Value:
        assert isinstance(node, n.Number)
        return Int(node.type, node.value)

    def _string(self, node: n.Node) -> Value:
        assert isinstance(node, n.String)
        return Text(node.text)

    def _ident(self, node: n.Node) -> Value:
        assert isinstance(node, n.Ident)
        name = node.name
        local = self.locals.get(name)
        if local is not None:
            return Table(local) if isinstance(local, n.InitList) else self.value(local)
        if name == "ret":
            # the variable of the kernel's output function itself, which holds TRACE_TYPE_HANDLED when it prints
            return Int(self.types.int, 1)
        if name in KERNEL_STRINGS:
            return Table(KERNEL_STRINGS[name])
        if name in ("true", "false"):
            return Int(self.types.int, int(name == "true"))
        if name == "NULL":
            return Int(self.types.void.pointer(self.types.long_size), 0)
        known = self.facts.hz if name == "HZ" and self.facts.hz else self.facts.variables.get(name)
        if known is not None:
            if name == JIFFIES:
                self.notes.append("what depends on the time of printing is as of the end of the trace")
            return Int(self.types.ulong, wrap(known, self.types.ulong))
        known = self.facts.constant(name, (self.fmt.system, self.fmt.name))
        if known is None:
            known = ENUMERATORS.get(name)
        if known is not None:
            narrow = (self.types.int, self.types.unsigned, self.types.s64)
            return Int(next((to for to in narrow if wrap(known, to) == known), self.types.u64), known)
        raise UnsupportedPrintFmt(f"the value of {name} is not known")

    def _member(self, node: n.Node) -> Value:
        assert isinstance(node, n.Member)
        if node.of == n.Member(n.Ident("REC"), "ent"):  # struct trace_entry
            return memory.field_value(self, self.field(f"common_{node.name}"))
        if not (isinstance(node.of, n.Ident) and node.of.name == n.RECORD):
            raise UnsupportedPrintFmt(f"the layout of the structure that has the member {node.name!r} is not known")
        return memory.field_value(self, self.field(node.name))

    def field(self, name: str) -> Field:
        """The field that ``REC->name`` means."""
        plain = name.removeprefix("__data_loc_").removeprefix("__rel_loc_")
        field = self.dynamic_fields.get(plain) if plain != name else self.fields.get(name)
        field = field or self.dynamic_fields.get(name)
        if field is None:
            raise UnsupportedPrintFmt(f"the event has no field {name!r}")
        return field

    def dynamic_field(self, name: str) -> Field:
        """The field that ``__get_str(name)`` and its like mean."""
        return self.dynamic_fields.get(name) or self.field(name)

    # operators

    def _index(self, node: n.Node) -> Value:
        assert isinstance(node, n.Index)
        return memory.index(self, self.value(node.of), self.integer(node.index))

    def _unary(self, node: n.Node) -> Value:
        assert isinstance(node, n.Unary)
        if node.op == "&":
            return memory.address_of(self, node.of)
        of = self.value(node.of)
        if node.op == "*":
            return memory.index(self, of, Int(self.types.int, 0))
        if node.op == "!":
            return integers.logical_not(self.code, integers.truth(self.code, of, self.types), self.types)
        if not isinstance(of, Int):
            raise UnsupportedPrintFmt(f"unary {node.op} is applied to {describe(of)}")
        return integers.unary(self.code, node.op, of)

    def _binary(self, node: n.Node) -> Value:
        assert isinstance(node, n.Binary)
        if node.op in ("&&", "||"):
            left = integers.truth(self.code, self.value(node.left), self.types)
            if left.const is not None and bool(left.const) == (node.op == "||"):
                return Int(self.types.int, int(bool(left.const)))
            right = integers.truth(self.code, self.value(node.right), self.types)
            return integers.logical(self.code, node.op, left, right, self.types)
        if node.op == "=":
            raise UnsupportedPrintFmt("an assignment outside of a statement expression")
        try:
            left_value = self.value(node.left)
        except UnsupportedPrintFmt:
            frame = frame_of(node, self.page)
            if frame is None:
                raise
            return self._page_of(frame)
        right_value = self.value(node.right)
        if isinstance(left_value, Mem) or isinstance(right_value, Mem):
            return memory.pointer_arithmetic(self, node.op, left_value, right_value)
        if not (isinstance(left_value, Int) and isinstance(right_value, Int)):
            raise UnsupportedPrintFmt(f"{node.op} between {describe(left_value)} and {describe(right_value)}")
        return integers.binary(self.code, node.op, left_value, right_value, self.types)

    def _page_of(self, frame: n.Node) -> Int:
        """The struct page of a frame."""
        if self.page_map is None:
            raise UnsupportedPrintFmt("the base of the array of struct page is not known")
        base, size = self.page_map
        ulong = self.types.ulong
        offset = integers.binary(self.code, "*", self.integer(frame), Int(ulong, size), self.types)
        page = integers.binary(self.code, "+", offset, Int(ulong, base), self.types)
        return integers.convert(self.code, page, self.page.pointer(ulong.size))

    def _cond(self, node: n.Node) -> Value:
        assert isinstance(node, n.Cond)
        first = self.value(node.test)
        test = integers.truth(self.code, first, self.types)
        if test.const is not None:
            if test.const:
                return self._as_beside(first if node.then is None else self.value(node.then), node.other)
            return self._as_beside(self.value(node.other), node.then or node.test)
        then = first if node.then is None else self.value(node.then)
        other = self.value(node.other)
        return self.choose(test, then, other)

    def _as_beside(self, value: Value, unused: n.Node | None) -> Value:
        """What a conditional chose while it was compiled, in the type that it has with the branch it did not choose."""
        if unused is None or not isinstance(value, Int):
            return value
        lines, notes = len(self.code.lines), len(self.notes)
        try:
            other = self.value(unused)
        except UnsupportedPrintFmt:
            return value
        finally:
            self.code.forget(lines)
            del self.notes[notes:]
        if not isinstance(other, Int) or "pointer" in (value.type.kind, other.type.kind):
            return value
        return integers.convert(self.code, value, common_type(value.type, other.type))

    def choose(self, test: Int, then: Value, other: Value) -> Value:
        """``test ? then : other`` for a test that differs from row to row."""
        if isinstance(then, Int) and isinstance(other, Int):
            to = common_type(then.type, other.type)
            pointer = then.type if then.type.kind == "pointer" else other.type
            if pointer.kind == "pointer":
                to = pointer
            return integers.choose(self.code, test, integers.convert(self.code, then, to), other, to)
        return memory.choose_text(self, test, then, other)

    def _comma(self, node: n.Node) -> Value:
        assert isinstance(node, n.Comma)
        return self.value(node.right)

    def _cast(self, node: n.Node) -> Value:
        assert isinstance(node, n.Cast)
        of = self.value(node.of)
        if node.type.name and not node.type.pointers and isinstance(of, Int):
            # a typedef of unknown size does not change a value that is an integer constant
            try:
                to = self.resolve(node.type)
            except UnsupportedPrintFmt:
                if of.const is None:
                    raise
                return of
        else:
            to = self.resolve(node.type)
        if isinstance(of, Int):
            return integers.convert(self.code, of, to)
        return memory.cast(self, of, to)

    def _sizeof(self, node: n.Node) -> Value:
        assert isinstance(node, n.Sizeof)
        if isinstance(node.of, n.Index) and isinstance(self.value(node.of.of), Table):
            return Int(self.types.ulong, 16)
        to = self.resolve(node.of) if isinstance(node.of, n.TypeName) else self.type_of(self.value(node.of))
        if not to.size and "{" not in to.name:
            raise UnsupportedPrintFmt(f"the size of {to.name or 'this'} is not known")
        return Int(self.types.ulong, to.size)

    def _call(self, node: n.Node) -> Value:
        assert isinstance(node, n.Call)
        return functions.call(self, node)

    def _statements(self, node: n.Node) -> Value:
        assert isinstance(node, n.StatementExpr)
        outer = self.locals
        try:
            self.locals, last = statements.execute(outer, node.body, self._step)
            return self.value(last)
        finally:
            self.locals = outer


def describe(value: Value) -> str:
    """A value in words, for the reason of an UnsupportedPrintFmt."""
    if isinstance(value, Text):
        return "a string"
    if isinstance(value, Mem):
        return f"the address of {value.name or 'a part of the record'}"
    return "a table" if isinstance(value, Table) else "an integer"


_DISPATCH: dict[type, Callable[[Evaluator, n.Node], Value]] = {
    n.Number: Evaluator._number,
    n.String: Evaluator._string,
    n.Ident: Evaluator._ident,
    n.Member: Evaluator._member,
    n.Index: Evaluator._index,
    n.Unary: Evaluator._unary,
    n.Binary: Evaluator._binary,
    n.Cond: Evaluator._cond,
    n.Comma: Evaluator._comma,
    n.Cast: Evaluator._cast,
    n.Sizeof: Evaluator._sizeof,
    n.Call: Evaluator._call,
    n.StatementExpr: Evaluator._statements,
}
