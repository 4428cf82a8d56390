# SPDX-License-Identifier: Apache-2.0
"""What generated code calls: C integer arithmetic on columns, memory of the record, strings.

Division by zero, which would have stopped the kernel, gives 0 here; nothing in a record can raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.events.rows import Rows
from rbdump.events.strings import location

__all__ = [
    "BAD_LOC",
    "WIDTH_LIMIT",
    "blobs",
    "clip",
    "div",
    "load",
    "loc",
    "mod",
    "pad",
    "pointer_list",
    "rel_loc",
    "shl",
    "shr",
]

Array = npt.NDArray[Any]
WIDTH_LIMIT = 4096
"""Characters of one conversion that is padded: a width may come from a damaged record."""
BAD_LOC = "(bad __data_loc)"


def div(left: Any, right: Any) -> Any:
    """C division, which truncates toward zero."""
    left, right = np.broadcast_arrays(left, right)
    quotient = left // np.where(right == 0, 1, right).astype(right.dtype)
    if left.dtype.kind == "i":
        exact = quotient * right == left
        quotient = quotient + ((~exact) & ((left < 0) != (right < 0))).astype(left.dtype)
    return np.where(right == 0, 0, quotient).astype(left.dtype)


def mod(left: Any, right: Any) -> Any:
    """C remainder, which has the sign of the dividend."""
    left, right = np.broadcast_arrays(left, right)
    return np.where(right == 0, 0, np.fmod(left, np.where(right == 0, 1, right).astype(right.dtype))).astype(left.dtype)


def _count(left: Array, right: Any, bits: int) -> Array:
    counts = np.asarray(right).astype(np.int64)
    return np.where((counts < 0) | (counts >= bits), 0, counts).astype(left.dtype)


def shl(left: Any, right: Any, bits: int) -> Any:
    """``left << right``; C leaves counts outside the width undefined, here they give 0."""
    left = np.asarray(left)
    counts = np.asarray(right).astype(np.int64)
    shifted = left << _count(left, right, bits)
    return np.where((counts < 0) | (counts >= bits), 0, shifted).astype(left.dtype)


def shr(left: Any, right: Any, bits: int) -> Any:
    """``left >> right``; a count outside the width gives 0."""
    left = np.asarray(left)
    counts = np.asarray(right).astype(np.int64)
    shifted = left >> _count(left, right, bits)
    return np.where((counts < 0) | (counts >= bits), 0, shifted).astype(left.dtype)


def loc(rows: Rows, offset: int) -> tuple[Array, Array]:
    """Where the dynamic array of a __data_loc field lies: offset and length, -1 when not inside the record."""
    return _checked(rows, *location(rows, offset, relative=False))


def rel_loc(rows: Rows, offset: int) -> tuple[Array, Array]:
    """The same for a __rel_loc field, whose offset counts from its own end."""
    return _checked(rows, *location(rows, offset, relative=True))


def _checked(rows: Rows, begin: Array, length: Array) -> tuple[Array, Array]:
    bad = begin + length > rows.length
    if bad.any():
        begin, length = np.where(bad, 0, begin), np.where(bad, -1, length)
    return begin, length


def load(rows: Rows, offset: Any, size: int, signed: bool, avail: Any) -> Array:
    """Integers at offsets in the record that the record itself tells; 0 where they are not inside the object."""
    offset = np.broadcast_to(np.asarray(offset, np.int64), (len(rows),))
    good = (offset >= 0) & (offset + size <= rows.length) & (np.asarray(avail) >= size)
    at = np.where(good, offset, 0) + rows.offset
    if not good.all():
        at = np.minimum(at, len(rows.memory.data) - size)
    loaded = rows.memory.integers(at, size, signed=signed)
    return loaded if good.all() else np.where(good, loaded, 0).astype(loaded.dtype)


def blobs(rows: Rows, offset: Any, count: Any, avail: Any) -> list[bytes | None]:
    """``count`` bytes of each record from ``offset`` on; None where they do not lie inside the record."""
    size = len(rows)
    begin = np.broadcast_to(np.asarray(offset, np.int64), (size,))
    count = np.broadcast_to(np.asarray(count).astype(np.int64), (size,))
    bad = (begin < 0) | (count < 0) | (count > rows.length - begin) | (np.asarray(avail) < 0)
    first = rows.offset + begin
    data = rows.memory.data.data
    if bad.any():
        return [
            None if wrong else bytes(data[a : a + c])
            for a, c, wrong in zip(first.tolist(), count.tolist(), bad.tolist(), strict=True)
        ]
    return [bytes(data[a : a + c]) for a, c in zip(first.tolist(), count.tolist(), strict=True)]


def clip(texts: Iterable[str], sizes: Iterable[int]) -> list[str]:
    """At most that many bytes of each text; less than none is none (format_decode)."""
    return [
        text[: max(size, 0)]
        if text.isascii()
        else text.encode("utf-8", "surrogateescape")[: max(size, 0)].decode("utf-8", "surrogateescape")
        for text, size in zip(texts, sizes, strict=False)
    ]


def pad(texts: Iterable[str], widths: Iterable[int], left: bool) -> list[str]:
    """Blanks up to a width in bytes; a negative width means the left side, as ``-`` does (vsnprintf)."""
    padded = []
    for text, width in zip(texts, widths, strict=False):
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
        blanks = " " * (min(abs(width), WIDTH_LIMIT) - size)
        padded.append(text + blanks if left or width < 0 else blanks + text)
    return padded


def pointer_list(column: Array) -> Sequence[str]:
    """Zero-padded lower-case hexadecimal of an unsigned column, all digits."""
    if not len(column):
        return []
    size = column.dtype.itemsize
    return column.astype(f">u{size}").tobytes().hex(" ", size).split(" ")
