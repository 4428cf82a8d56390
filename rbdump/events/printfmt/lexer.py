# SPDX-License-Identifier: Apache-2.0
"""Tokens of a print fmt: the C lexical grammar (ISO C 6.4) without preprocessing."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["Token", "tokenize", "unescape"]


class Token(NamedTuple):
    """One token; ``text`` of a string or character literal is its content with escapes resolved."""

    kind: Literal["number", "string", "char", "name", "op", "end"]
    text: str
    offset: int


_TOKEN = re.compile(
    r"""(?>\s+|/\*.*?\*/)*+
      (?:(?P<number>(?:0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)[uUlL]*(?![.\w]))
      | (?P<prefix>[uUL]|u8)?(?:"(?P<string>(?:[^"\\]|\\.)*)"|'(?P<char>(?:[^'\\]|\\.)+)')
      | (?P<name>[A-Za-z_$][\w$]*)
      | (?P<op>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*%&|^~!<>=?:;,.(){}\[\]\#]|/(?!\*))
      | (?P<end>\Z)
      | (?P<bad>.))
    """,
    re.VERBOSE | re.DOTALL,
)
_token = Token._make
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]+)|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"}


def unescape(text: str) -> str:
    """A literal's content with its backslash escapes resolved; bytes beyond ASCII are surrogates, as in all texts."""

    def resolve(match: re.Match[str]) -> str:
        octal, hexadecimal, simple = match.groups()
        if octal or hexadecimal:
            byte = int(octal, 8) if octal else int(hexadecimal, 16)
            return bytes((byte & 0xFF,)).decode("ascii", "surrogateescape")
        return _SIMPLE.get(simple, simple)

    return _ESCAPE.sub(resolve, text) if "\\" in text else text


def tokenize(text: str) -> list[Token]:
    """All tokens of ``text``, closed by an ``end`` token. Raises UnsupportedPrintFmt."""
    tokens: list[Token] = []
    for found in _TOKEN.finditer(text):
        kind: Any = found.lastgroup
        begin, word = found.start(kind), found[kind]
        if kind in ("string", "char"):  # without their quotes
            begin = found.start("prefix") if found["prefix"] else begin - 1
            word = unescape(word)
        elif kind == "bad":
            raise UnsupportedPrintFmt(f"{text[begin : begin + 12]!r} at column {begin} is no C token")
        tokens.append(_token((kind, word, begin)))
        if kind == "end":
            break
    return tokens
