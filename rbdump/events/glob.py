# SPDX-License-Identifier: Apache-2.0
"""Shell patterns over bytes as glob_match() of lib/glob.c takes them: ``*``, ``?``, ``[a-z]``, ``[!a-z]``, ``\\``.

A ``[`` without its ``]`` stands for itself. Matching takes time proportional to pattern times text at worst.
"""

from __future__ import annotations

__all__ = ["Glob"]

_STAR = None
_ANY = frozenset(range(256))


def _bracket(pattern: bytes, start: int) -> tuple[frozenset[int], int] | None:
    """The bytes that the class behind a ``[`` allows, and where it ends; None when it never ends."""
    at = start
    inverted = pattern[at : at + 1] == b"!"
    at += inverted
    allowed: set[int] = set()
    first = at
    while at < len(pattern):
        if pattern[at] == ord("]") and at > first:
            return (_ANY - allowed if inverted else frozenset(allowed)), at + 1
        low = high = pattern[at]
        at += 1
        if pattern[at : at + 1] == b"-" and pattern[at + 1 : at + 2] not in (b"", b"]"):
            high = pattern[at + 1]
            at += 2
        allowed.update(range(low, high + 1))
    return None


class Glob:
    """One compiled pattern; it must match the whole text."""

    def __init__(self, pattern: bytes) -> None:
        self._items: list[frozenset[int] | None] = []
        at = 0
        while at < len(pattern):
            byte = pattern[at : at + 1]
            at += 1
            if byte == b"*":
                if not self._items or self._items[-1] is not _STAR:
                    self._items.append(_STAR)
                continue
            if byte == b"?":
                self._items.append(_ANY)
                continue
            if byte == b"[" and (found := _bracket(pattern, at)) is not None:
                allowed, at = found
                self._items.append(allowed)
                continue
            if byte == b"\\" and at < len(pattern):
                byte = pattern[at : at + 1]
                at += 1
            self._items.append(frozenset(byte))

    def matches(self, text: bytes) -> bool:
        """Whether the whole of ``text`` fits."""
        items = self._items
        at = item = 0
        star, resume = -1, 0
        while at < len(text):
            allowed = items[item] if item < len(items) else frozenset()
            if allowed is _STAR:
                star, resume = item, at
                item += 1
            elif text[at] in allowed:
                at += 1
                item += 1
            elif star >= 0:
                resume += 1
                at, item = resume, star + 1
            else:
                return False
        return all(rest is _STAR for rest in items[item:])
