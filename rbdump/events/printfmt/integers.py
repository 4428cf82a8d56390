# SPDX-License-Identifier: Apache-2.0
"""Integer arithmetic of C as numpy code: constants folded, columns computed in their C type."""

from __future__ import annotations

from rbdump.events.printfmt.ctype import CType, TypeTable, common_type, promoted, wrap
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.values import Code, Int, Value

__all__ = ["array", "binary", "choose", "convert", "logical", "logical_not", "scalar", "truth", "unary"]

_COMPARE = {"==", "!=", "<", ">", "<=", ">="}


def scalar(value: Int) -> str:
    """A constant as a numpy scalar of its C type, or the variable."""
    return f"{value.type.dtype}({value.const})" if value.const is not None else array(value)


def array(value: Int) -> str:
    """The expression of a column in its C type."""
    return f"{value.code}.astype({value.type.dtype})" if value.boolean else value.code


def convert(code: Code, value: Int, to: CType) -> Int:
    """``value`` converted to another integer or pointer type."""
    if to.kind == "void":
        raise UnsupportedPrintFmt("the value of a (void) expression is used")
    if not to.is_integer:
        raise UnsupportedPrintFmt(f"an integer is cast to {to.name or to.kind}")
    if value.const is not None:
        return Int(to, wrap(value.const, to))
    if to.kind == "bool" and value.type.kind != "bool":
        if value.boolean:
            return Int(to, None, code.let(f"{value.code}.astype(u1)"))
        return Int(to, None, code.let(f"({value.code} != 0).astype(u1)"))
    if value.type.dtype == to.dtype and not value.boolean:
        return Int(to, None, value.code)
    if value.boolean and to.dtype == value.type.dtype:
        return Int(to, None, value.code, True)
    return Int(to, None, code.let(f"{value.code}.astype({to.dtype})"))


def _operand(value: Int) -> str:
    return str(value.const) if value.const is not None else array(value)


def unary(code: Code, op: str, of: Int) -> Int:
    """``+ - ~`` of an integer."""
    to = promoted(of.type)
    of = convert(code, of, to)
    if of.const is not None:
        return Int(to, wrap({"-": -of.const, "~": ~of.const, "+": of.const}[op], to))
    if op == "+":
        return of
    if op == "-" and not to.signed:
        return Int(to, None, code.let(f"{to.dtype}(0) - {array(of)}"))
    return Int(to, None, code.let(f"{op}{array(of)}"))


def truth(code: Code, value: Value, types: TypeTable) -> Int:
    """``value != 0`` as a boolean column; text and memory of the record are never NULL."""
    if not isinstance(value, Int):
        return Int(types.int, 1)
    if value.const is not None:
        return Int(types.int, int(value.const != 0))
    if value.boolean:
        return value
    return Int(types.int, None, code.let(f"{value.code} != 0", "b"), True)


def logical_not(code: Code, of: Int, types: TypeTable) -> Int:
    """``!`` of a truth value."""
    if of.const is not None:
        return Int(types.int, int(not of.const))
    return Int(types.int, None, code.let(f"~{of.code}", "b"), True)


def logical(code: Code, op: str, left: Int, right: Int, types: TypeTable) -> Int:
    """``&&`` and ``||`` of truth values."""
    neutral = op == "&&"
    for one, other in ((left, right), (right, left)):
        if one.const is not None:
            return other if bool(one.const) == neutral else Int(types.int, int(bool(one.const)))
    return Int(types.int, None, code.let(f"{left.code} {op[0]} {right.code}", "b"), True)


def choose(code: Code, test: Int, then: Int, other: Int, to: CType) -> Int:
    """``test ? then : other`` of integers of one type."""
    other = convert(code, other, to)
    if then == other:
        return then
    return Int(to, None, code.let(f"np.where({test.code}, {scalar(then)}, {scalar(other)})"))


def binary(code: Code, op: str, left: Int, right: Int, types: TypeTable) -> Int:
    """Arithmetic, bitwise, shift and comparison operators; pointers count in units of what they point to."""
    if op in ("<<", ">>"):
        return _shift(code, op, left, right)
    if op in ("+", "-") and "pointer" in (left.type.kind, right.type.kind):
        return _pointers(code, op, left, right, types)
    to = common_type(left.type, right.type)
    left, right = convert(code, left, to), convert(code, right, to)
    if op in _COMPARE:
        if left.const is not None and right.const is not None:
            a, b = left.const, right.const
            result = {"==": a == b, "!=": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[op]
            return Int(types.int, int(result))
        return Int(types.int, None, code.let(f"{_operand(left)} {op} {_operand(right)}", "b"), True)
    if left.const is not None and right.const is not None:
        return Int(to, wrap(_fold(op, left.const, right.const), to))
    if op in ("/", "%"):
        unsigned_power = not to.signed and right.const is not None and right.const > 0
        if unsigned_power:
            return Int(to, None, code.let(f"{array(left)} {'//' if op == '/' else '%'} {right.const}"))
        return Int(to, None, code.let(f"{'div' if op == '/' else 'mod'}({scalar(left)}, {scalar(right)})"))
    return Int(to, None, code.let(f"{_operand(left)} {op} {_operand(right)}"))


def _fold(op: str, left: int, right: int) -> int:
    if op in ("/", "%"):
        if not right:
            return 0
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if op == "/" else left - quotient * right
    return {"+": left + right, "-": left - right, "*": left * right, "&": left & right, "|": left | right}.get(
        op, left ^ right
    )


def _shift(code: Code, op: str, left: Int, right: Int) -> Int:
    to = promoted(left.type)
    left = convert(code, left, to)
    if right.const is not None:
        if not 0 <= right.const < to.bits:
            return Int(to, 0)
        if left.const is not None:
            return Int(to, wrap(left.const << right.const if op == "<<" else left.const >> right.const, to))
        return Int(to, None, code.let(f"{array(left)} {op} {right.const}"))
    return Int(to, None, code.let(f"{'shl' if op == '<<' else 'shr'}({scalar(left)}, {scalar(right)}, {to.bits})"))


def _pointers(code: Code, op: str, left: Int, right: Int, types: TypeTable) -> Int:
    pointer = left.type if left.type.kind == "pointer" else right.type
    target = pointer.target
    assert target is not None
    size = target.size or (1 if target.kind in ("void", "int") else 0)
    if not size:
        raise UnsupportedPrintFmt(f"arithmetic on a pointer to {target.name or 'a structure'} whose size is not known")
    if left.type.kind == right.type.kind:
        if op == "+":
            raise UnsupportedPrintFmt("two pointers are added")
        difference = binary(code, "-", convert(code, left, types.long), convert(code, right, types.long), types)
        return binary(code, "/", difference, Int(types.long, size), types)
    number = right if left.type.kind == "pointer" else left
    address = left if left.type.kind == "pointer" else right
    scaled = binary(code, "*", convert(code, number, types.ulong), Int(types.ulong, size), types)
    return convert(code, binary(code, op, convert(code, address, types.ulong), scaled, types), pointer)
