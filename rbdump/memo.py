# SPDX-License-Identifier: Apache-2.0
"""A table of results that fills itself: columns repeat their values, and a look-up costs less than a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Memo"]

_LIMIT = 1 << 17
"""Items after which a table is emptied: a column of data that never repeats must not fill the memory."""

V = TypeVar("V")


class Memo(dict[Any, V], Generic[V]):
    """What ``make`` makes of each key, made on first use: ``list(map(memo.__getitem__, column.tolist()))``."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[Any], V]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, key: Any) -> V:
        if len(self) >= _LIMIT:
            self.clear()
        value = self[key] = self.make(key)
        return value
