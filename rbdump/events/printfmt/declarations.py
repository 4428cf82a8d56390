# SPDX-License-Identifier: Apache-2.0
"""Type names, declarations and the statements of ``({ ... })``: the lower half of the parser."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType, TypeTable
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.tokens import Tokens

__all__ = ["DeclarationParser"]

_BASE_WORDS = {"unsigned", "signed", "long", "short", "int", "char", "void", "bool", "_Bool", "double", "float"}
_QUALIFIERS = {
    "const", "volatile", "static", "register", "restrict", "__restrict", "__user", "__kernel", "__force", "__iomem",
    "__percpu", "__rcu", "__bitwise", "inline", "extern", "__auto_type_",
}  # fmt: skip
_TAGS = {"struct", "union", "enum"}
_TYPEOF = {"typeof", "__typeof__", "__typeof", "__typeof_unqual__", "typeof_unqual"}


class DeclarationParser(Tokens, ABC):
    """Parses types and statements; expressions are the subclass's."""

    def __init__(self, text: str, types: TypeTable) -> None:
        super().__init__(text)
        self.types = types

    @abstractmethod
    def comma(self) -> n.Node:
        """expression: assignment { ',' assignment }."""

    @abstractmethod
    def assignment(self) -> n.Node:
        """One argument or initialiser."""

    @abstractmethod
    def binary(self, lowest: int) -> n.Node:
        """Binary operators that bind at least as tightly as ``lowest``."""

    @abstractmethod
    def arguments(self) -> tuple[n.Node, ...]:
        """Call arguments up to the closing parenthesis."""

    @abstractmethod
    def braces(self) -> n.InitList:
        """``{ a, { b }, }``."""

    # types

    def is_type(self, distance: int) -> bool:
        """Whether a type name begins ``distance`` tokens ahead."""
        token = self.peek(distance)
        if token.kind != "name":
            return False
        text = token.text
        if text in _BASE_WORDS or text in _QUALIFIERS or text in _TAGS or text in _TYPEOF or self.types.get(text):
            # a member or a variable may be called like a typedef: a type name is followed by ) * or more words
            following = self.peek(distance + 1)
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
        self.skip_braces()
        return CType("struct", 0, name=f"{tag} {{}}")

    def skip_braces(self) -> None:
        """``{ ... }``, whatever it holds."""
        self.expect("{")
        depth = 1
        while depth:
            if self.token.kind == "end":
                raise self.fail("'}'")
            depth += self.ahead("{") - self.ahead("}")
            self.at += 1

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
        if self.accept("do"):
            return self.assertion()
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

    def assertion(self) -> list[n.Statement]:
        """``do { ... } while (0);`` of BUILD_BUG_ON_MSG(), which min() brings along: it did hold."""
        begin = self.at
        self.skip_braces()
        if not any("compiletime_assert" in token.text for token in self.tokens[begin : self.at]):
            raise UnsupportedPrintFmt("a loop in a statement expression")
        self.expect("while")
        self.expect("(")
        self.comma()
        self.expect(")")
        self.expect(";")
        return []

    def is_declaration(self) -> bool:
        """Whether a declaration follows: a type and then a name."""
        token, following = self.token, self.peek(1)
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
