# SPDX-License-Identifier: Apache-2.0
"""Print fmt text to syntax tree: the C expression grammar (ISO C 6.5, GNU extensions), by precedence climbing.

``parse_print_fmt`` splits ``"template", arg, ...`` as trace_event_printf() receives it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from itertools import islice

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType, TypeTable
from rbdump.events.printfmt.declarations import DeclarationParser
from rbdump.events.printfmt.lexer import Token
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["KEPT_LENGTH", "Parser", "parse_once", "parse_print_fmt"]

_PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
_MAX_DEPTH = 150
KEPT_LENGTH = 8 << 10
"""Characters of a print fmt whose syntax tree is kept: a tree takes fifty times the memory. Kernels have up to 7500."""
_TEMPLATE_END = re.compile(r'"(?=\s*(?:,|$))')
_ENDS = 32
"""So many quotes are tried as the end of a template: each costs to parse what follows."""
_PREFIX_WORDS = frozenset({"sizeof", "__extension__"})
_CLOSERS = frozenset({",", "}", ")", "]"})


class Parser(DeclarationParser):
    """Recursive descent over the tokens of one print fmt."""

    def __init__(self, text: str, types: TypeTable) -> None:
        super().__init__(text, types)
        self.depth = 0

    # expressions

    def comma(self) -> n.Node:
        """expression: assignment { ',' assignment }."""
        left = self.assignment()
        while self.accept(","):
            left = n.Comma(left, self.assignment())
        return left

    def assignment(self) -> n.Node:
        """Conditional expression, or ``name = value`` inside a statement expression."""
        if self.words[self.at + 1] in _CLOSERS and self.token.kind != "op" and self.token.text not in _PREFIX_WORDS:
            return self.primary()  # most are one token
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnsupportedPrintFmt(f"the expression at column {self.token.offset} is nested too deeply")
        left = self.conditional()
        if self.accept("="):
            left = n.Binary("=", left, self.assignment())
        elif self.token.kind == "op" and self.token.text in ("+=", "-=", "|=", "&=", "^=", "<<=", ">>=", "*=", "/="):
            op = self.token.text[:-1]
            self.at += 1
            left = n.Binary("=", left, n.Binary(op, left, self.assignment()))
        self.depth -= 1
        return left

    def conditional(self) -> n.Node:
        """``a ? b : c`` and ``a ?: c``."""
        test = self.binary(1)
        if not self.accept("?"):
            return test
        arms: list[tuple[n.Node, n.Node | None]] = []
        while True:  # a chain of else-ifs is a loop, so that its length is not a depth
            then = None if self.ahead(":") else self.comma()
            self.expect(":")
            arms.append((test, then))
            test = self.binary(1)
            if not self.accept("?"):
                break
        for condition, then in reversed(arms):
            test = n.Cond(condition, then, test)
        return test

    def binary(self, lowest: int) -> n.Node:
        """Binary operators that bind at least as tightly as ``lowest``."""
        left = self.unary()
        while self.token.kind == "op":
            op = self.token.text
            precedence = _PRECEDENCE.get(op, 0)
            if precedence < lowest:
                break
            self.at += 1
            left = n.Binary(op, left, self.binary(precedence + 1))
        return left

    def unary(self) -> n.Node:
        """Prefix operators, casts, sizeof."""
        token = self.token
        if token.kind == "op" and token.text in "-+~!*&":
            self.at += 1
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                raise UnsupportedPrintFmt(f"the expression at column {token.offset} is nested too deeply")
            of = self.unary()
            self.depth -= 1
            return n.Unary(token.text, of)
        if token.kind == "name" and token.text == "sizeof":
            self.at += 1
            if self.ahead("(") and self.is_type(1):
                self.at += 1
                of = self.type_name()
                self.expect(")")
                return n.Sizeof(of)
            return n.Sizeof(self.unary())
        if token.kind == "name" and token.text == "__extension__":
            self.at += 1
            return self.unary()
        if self.ahead("(") and self.is_type(1):
            self.at += 1
            to = self.type_name()
            self.expect(")")
            return self.postfix(n.Cast(to, self.braces())) if self.ahead("{") else n.Cast(to, self.unary())
        return self.postfix(self.primary())

    def postfix(self, of: n.Node) -> n.Node:
        """Calls, members and indices behind an operand."""
        while True:
            word = self.words[self.at]
            if word in ("->", "."):
                self.at += 1
                of = n.Member(of, self.name())
            elif word == "[":
                self.at += 1
                index = self.comma()
                self.expect("]")
                of = n.Index(of, index)
            elif word == "(" and isinstance(of, n.Ident):
                self.at += 1
                of = n.Call(of.name, self.arguments())
            else:
                return of

    def arguments(self) -> tuple[n.Node, ...]:
        """Call arguments up to the closing parenthesis: expressions, type names, brace lists."""
        args: list[n.Node] = []
        while not self.accept(")"):
            if self.ahead("{"):
                args.append(self.braces())
            elif self.is_type(0):
                args.append(self.type_name())
            else:
                args.append(self.assignment())
            if not self.accept(","):
                self.expect(")")
                break
        return tuple(args)

    def braces(self) -> n.InitList:
        """``{ a, { b }, }``."""
        self.expect("{")
        items: list[n.Node] = []
        while not self.accept("}"):
            items.append(self.braces() if self.ahead("{") else self.assignment())
            if not self.accept(","):
                self.expect("}")
                break
        return n.InitList(tuple(items))

    def primary(self) -> n.Node:
        """Literals, names and parentheses."""
        token = self.token
        self.at += 1
        if token.kind == "number":
            return self.number(token)
        if token.kind == "char":
            value = 0
            for character in token.text:
                value = value << 8 | ord(character) & 0xFF
            return n.Number(value, self.types.int)
        if token.kind == "string":
            text = token.text
            while self.token.kind == "string":
                text += self.token.text
                self.at += 1
            return n.String(text)
        if token.kind == "name":
            return n.Ident(token.text)
        if token.text == "(":
            if self.ahead("{"):
                self.at += 1
                body = self.statements()
                self.expect("}")
                self.expect(")")
                return n.StatementExpr(body)
            inner = self.comma()
            self.expect(")")
            return inner
        self.at -= 1
        raise self.fail("an operand")

    def number(self, token: Token) -> n.Number:
        """An integer constant with the first type of ISO C 6.4.4.1 that holds it."""
        digits = token.text.rstrip("uUlL")
        suffix = token.text[len(digits) :].lower()
        octal = len(digits) > 1 and digits.isdigit() and digits.startswith("0")
        try:
            value = int(digits, 8) if octal else int(digits, 0)
        except ValueError:
            raise UnsupportedPrintFmt(f"{token.text!r} at column {token.offset} is no number") from None
        if not suffix and value < 1 << 31:
            return n.Number(value, self.types.int)
        decimal = digits.isdigit() and not octal
        candidates: list[CType] = []
        types = self.types
        for size, signed_type, unsigned_type in (
            (0, types.int, types.unsigned),
            (1, types.long, types.ulong),
            (2, types.s64, types.u64),
        ):
            if size < suffix.count("l"):
                continue
            if "u" not in suffix:
                candidates.append(signed_type)
            if "u" in suffix or not decimal:
                candidates.append(unsigned_type)
        for candidate in candidates:
            if value <= (1 << (candidate.bits - int(candidate.signed))) - 1:
                return n.Number(value, candidate)
        return n.Number(value & (1 << 64) - 1, types.u64)


def parse_print_fmt(text: str, types: TypeTable) -> tuple[str, tuple[n.Node, ...]]:
    """The template and the arguments of a print fmt. Raises UnsupportedPrintFmt."""
    return parse_once(text, types) if len(text) <= KEPT_LENGTH else _parse(text, types)


@lru_cache(256)
def parse_once(text: str, types: TypeTable) -> tuple[str, tuple[n.Node, ...]]:
    """`parse_print_fmt` for a text of at most `KEPT_LENGTH`: events of one class have the same, and ``--jobs`` parses
    before it compiles.
    """
    try:
        return _parse(text, types)
    except UnsupportedPrintFmt:
        # TP_printk() puts quotes around the template as it is in memory: quotes in it are not escaped, and it ends at a
        # later one. Events made at run time, such as kprobes, have theirs escaped.
        for end in islice(_TEMPLATE_END.finditer(text, 1), _ENDS):
            inner = text[1 : end.start()]
            if text.startswith('"') and '"' in inner:
                with suppress(UnsupportedPrintFmt):
                    return inner, _parse(f'""{text[end.start() + 1 :]}', types)[1]
        raise


def _parse(text: str, types: TypeTable) -> tuple[str, tuple[n.Node, ...]]:
    parser = Parser(text, types)
    template = parser.primary()
    if not isinstance(template, n.String):
        raise UnsupportedPrintFmt("the print fmt does not begin with a string literal")
    args: list[n.Node] = []
    while parser.accept(","):
        if parser.at_end():
            break
        args.append(parser.assignment())
    if not parser.at_end():
        raise parser.fail("',' or the end")
    return template.text, tuple(args)
