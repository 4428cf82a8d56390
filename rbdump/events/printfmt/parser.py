# SPDX-License-Identifier: Apache-2.0
"""Print fmt text to syntax tree: the C expression grammar (ISO C 6.5, GNU extensions), by precedence climbing.

``parse_print_fmt`` splits ``"template", arg, ...`` as trace_event_printf() receives it.
"""

from __future__ import annotations

import re
from contextlib import suppress

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType, TypeTable
from rbdump.events.printfmt.lexer import Token, tokenize
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["Parser", "parse_print_fmt"]

_PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
_BASE_WORDS = {"unsigned", "signed", "long", "short", "int", "char", "void", "bool", "_Bool", "double", "float"}
_QUALIFIERS = {
    "const", "volatile", "static", "register", "restrict", "__restrict", "__user", "__kernel", "__force", "__iomem",
    "__percpu", "__rcu", "__bitwise", "inline", "extern", "__auto_type_",
}  # fmt: skip
_TAGS = {"struct", "union", "enum"}
_TYPEOF = {"typeof", "__typeof__", "__typeof", "__typeof_unqual__", "typeof_unqual"}
_NOT_AN_OPERAND = {
    "__attribute__",
}
_MAX_DEPTH = 150


class Parser:
    """Recursive descent over the tokens of one print fmt."""

    def __init__(self, text: str, types: TypeTable) -> None:
        self.tokens = tokenize(text)
        self.types = types
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        """The token ahead."""
        return self.tokens[self.at]

    def fail(self, what: str) -> UnsupportedPrintFmt:
        """The error for an unexpected token."""
        return UnsupportedPrintFmt(f"{what} expected at column {self.token.offset}, found {self.token.text!r}")

    def at_end(self) -> bool:
        """Whether all tokens are consumed."""
        return self.token.kind == "end"

    def ahead(self, text: str, distance: int = 0) -> bool:
        """Whether the operator or name ``text`` comes next."""
        index = min(self.at + distance, len(self.tokens) - 1)
        token = self.tokens[index]
        return token.text == text and token.kind in ("op", "name")

    def accept(self, text: str) -> bool:
        """Skip ``text`` if it comes next."""
        if self.ahead(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Skip ``text``, which must come next."""
        if not self.accept(text):
            raise self.fail(repr(text))

    def name(self) -> str:
        """The identifier that must come next."""
        if self.token.kind != "name":
            raise self.fail("a name")
        self.at += 1
        return self.tokens[self.at - 1].text

    # expressions

    def comma(self) -> n.Node:
        """expression: assignment { ',' assignment }."""
        left = self.assignment()
        while self.accept(","):
            left = n.Comma(left, self.assignment())
        return left

    def assignment(self) -> n.Node:
        """Conditional expression, or ``name = value`` inside a statement expression."""
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
            if self.ahead("{"):
                raise self.fail("an operand (compound literals are not supported)")
            return n.Cast(to, self.unary())
        return self.postfix(self.primary())

    def postfix(self, of: n.Node) -> n.Node:
        """Calls, members and indices behind an operand."""
        while True:
            if self.accept("->") or self.accept("."):
                of = n.Member(of, self.name())
            elif self.accept("["):
                index = self.comma()
                self.expect("]")
                of = n.Index(of, index)
            elif self.ahead("(") and isinstance(of, n.Ident):
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

    # types

    def is_type(self, distance: int) -> bool:
        """Whether a type name begins ``distance`` tokens ahead."""
        token = self.tokens[min(self.at + distance, len(self.tokens) - 1)]
        if token.kind != "name":
            return False
        text = token.text
        if text in _BASE_WORDS or text in _QUALIFIERS or text in _TAGS or text in _TYPEOF or self.types.get(text):
            # a member or a variable may be called like a typedef: a type name is followed by ) * or more words
            following = self.tokens[min(self.at + distance + 1, len(self.tokens) - 1)]
            return following.kind == "name" or following.text in (")", "*", "(", ",", "[", "{")
        # an unknown typedef: (name)operand or (name *)
        index = self.at + distance + 1
        if not distance or index + 1 >= len(self.tokens):
            return False
        stars = 0
        while self.tokens[index].kind == "op" and self.tokens[index].text == "*":
            index += 1
            stars += 1
        if self.tokens[index].text != ")" or self.tokens[index].kind != "op":
            return False
        after = self.tokens[min(index + 1, len(self.tokens) - 1)]
        return bool(stars) or after.kind in ("name", "number", "char") or (after.text == "(" and text.endswith("_t"))

    def type_name(self) -> n.TypeName:
        """A type: words, typeof(...), pointers, ``[n]`` and function pointers reduced to pointers."""
        words: list[str] = []
        base: CType | None = None
        of: n.Node | None = None
        while self.token.kind == "name":
            word = self.token.text
            if word in _QUALIFIERS:
                self.at += 1
            elif word in _TYPEOF:
                self.at += 1
                self.expect("(")
                if self.is_type(0):
                    inner = self.type_name()
                    base, of = inner.type, inner.of
                    words.append(inner.name)
                else:
                    of = self.comma()
                self.expect(")")
                if not words or words == [""]:
                    words = ["typeof"]
            elif word in _TAGS:
                self.at += 1
                tag = "" if self.ahead("{") else self.name()
                words.append(f"{word} {tag}".strip())
                if self.ahead("{"):
                    base = self.anonymous(word)
            elif word in _BASE_WORDS or not words:
                self.at += 1
                words.append(word)
            else:
                break
        name = " ".join(words)
        if base is None and of is None:
            base = self.types.get(name)
            if base is None and not words:
                raise self.fail("a type")
        pointers = 0
        while True:
            if self.accept("*"):
                pointers += 1
            elif self.token.kind == "name" and self.token.text in _QUALIFIERS:
                self.at += 1
            else:
                break
        return n.TypeName(base, of, pointers, "" if base is not None or of is not None else name)

    def anonymous(self, tag: str) -> CType:
        """``struct { ... }`` as in BUILD_BUG_ON_ZERO: only its size 0 (bit fields, assertions) is ever used."""
        self.expect("{")
        depth = 1
        while depth:
            if self.token.kind == "end":
                raise self.fail("'}'")
            depth += self.ahead("{") - self.ahead("}")
            self.at += 1
        return CType("struct", 0, name=f"{tag} {{}}")

    # statements of ({ ... })

    def statements(self) -> tuple[n.Statement, ...]:
        """Statements up to a closing brace or a case label."""
        body: list[n.Statement] = []
        while not (self.ahead("}") or self.ahead("case") or self.ahead("default")):
            body.extend(self.statement())
        return tuple(body)

    def statement(self) -> list[n.Statement]:
        """One statement; a declaration may declare several names."""
        if self.accept(";"):
            return []
        if self.accept("{"):
            body = list(self.statements())
            self.expect("}")
            return body
        if self.accept("break"):
            self.expect(";")
            return [n.Break()]
        if self.accept("_Static_assert"):
            self.expect("(")
            self.arguments()
            self.expect(";")
            return []
        if self.accept("if"):
            self.expect("(")
            test = self.comma()
            self.expect(")")
            then = tuple(self.statement())
            return [n.If(test, then, tuple(self.statement()) if self.accept("else") else ())]
        if self.accept("switch"):
            return [self.switch()]
        if self.is_declaration():
            return self.declaration()
        of = self.comma()
        self.expect(";")
        return [n.Evaluate(of)]

    def is_declaration(self) -> bool:
        """Whether a declaration follows: a type and then a name."""
        token, following = self.token, self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if token.kind != "name":
            return False
        if token.text in _BASE_WORDS or token.text in _QUALIFIERS or token.text in _TAGS or token.text in _TYPEOF:
            return True
        return following.kind == "name" or (following.text == "*" and self.types.get(token.text) is not None)

    def declaration(self) -> list[n.Statement]:
        """``type name = init, *other;``."""
        to = self.type_name()
        declared: list[n.Statement] = []
        while True:
            pointers = to.pointers if not declared else 0
            while self.accept("*"):
                pointers += 1
            name = self.name()
            while self.accept("["):
                if not self.ahead("]"):
                    self.comma()
                self.expect("]")
            init: n.Node | None = None
            if self.accept("="):
                init = self.braces() if self.ahead("{") else self.assignment()
            declared.append(n.Declare(n.TypeName(to.type, to.of, pointers, to.name), name, init))
            if not self.accept(","):
                self.expect(";")
                return declared

    def switch(self) -> n.Switch:
        """``switch (x) { case a: case b: ...; default: ... }``."""
        self.expect("(")
        of = self.comma()
        self.expect(")")
        self.expect("{")
        arms: list[tuple[tuple[n.Node | None, ...], tuple[n.Statement, ...]]] = []
        while not self.accept("}"):
            labels: list[n.Node | None] = []
            while self.ahead("case") or self.ahead("default"):
                if self.accept("default"):
                    labels.append(None)
                else:
                    self.expect("case")
                    labels.append(self.binary(1))
                self.expect(":")
            if not labels:
                raise self.fail("a case label")
            arms.append((tuple(labels), self.statements()))
        return n.Switch(of, tuple(arms))


def parse_print_fmt(text: str, types: TypeTable) -> tuple[str, tuple[n.Node, ...]]:
    """The template and the arguments of a print fmt. Raises UnsupportedPrintFmt."""
    try:
        return _parse(text, types)
    except UnsupportedPrintFmt:
        # Files of old kernels hold the template as it is in memory, quotes in it not escaped: it ends at a later quote.
        for end in re.finditer(r'"\s*(?=,|$)', text[1:]):
            inner = text[1 : end.start() + 1]
            if text.startswith('"') and '"' in inner:
                with suppress(UnsupportedPrintFmt):
                    rest = text[end.end() + 1 :]
                    return inner, _parse(f'""{rest}', types)[1]
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
