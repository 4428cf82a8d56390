# SPDX-License-Identifier: Apache-2.0
"""A cursor over the tokens of a print fmt."""

from __future__ import annotations

from rbdump.events.printfmt.lexer import Token, tokenize
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["Tokens"]


class Tokens:
    """Looks ahead, accepts and expects tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text)
        self.at = 0
        self.words = [token.text if token.kind in ("op", "name") else None for token in self.tokens]
        self.words.append(None)
        """Operators and names by position, None for other tokens: one item more than there are tokens."""

    @property
    def token(self) -> Token:
        """The token ahead."""
        return self.tokens[self.at]

    def peek(self, distance: int) -> Token:
        """The token ``distance`` further on, the last one at the end."""
        return self.tokens[min(self.at + distance, len(self.tokens) - 1)]

    def at_end(self) -> bool:
        """Whether all tokens are consumed."""
        return self.token.kind == "end"

    def fail(self, what: str) -> UnsupportedPrintFmt:
        """The error for an unexpected token."""
        return UnsupportedPrintFmt(f"{what} expected at column {self.token.offset}, found {self.token.text!r}")

    def ahead(self, text: str) -> bool:
        """Whether the operator or name ``text`` comes next."""
        return self.words[self.at] == text

    def accept(self, text: str) -> bool:
        """Skip ``text`` if it comes next."""
        if self.words[self.at] != text:
            return False
        self.at += 1
        return True

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
