# SPDX-License-Identifier: Apache-2.0
"""Characters that records hold, row by row: fixed arrays and the dynamic kinds, whose place is never trusted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.events.format import Field
from rbdump.events.rows import Rows

__all__ = ["dynamic_bytes", "location", "text_of", "until_nul"]


def until_nul(raw: bytes) -> bytes:
    """A C string: what follows the first NUL is what the memory held before."""
    return raw.split(b"\0", 1)[0]


def text_of(raw: bytes) -> str:
    """The characters up to the first NUL; bytes that are no UTF-8 survive as surrogate escapes."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def location(rows: Rows, offset: int, *, relative: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offset in the record and length of what the u32 at ``offset`` says; neither is checked.

    ``relative``: the offset counts from the end of that u32 (``__rel_loc``), not from the start (``__data_loc``).
    """
    where = rows.integers(offset, 4, signed=False).astype(np.int64)
    begin = where & 0xFFFF
    if relative:
        begin += offset + 4
    return begin, where >> 16


def dynamic_bytes(rows: Rows, field: Field) -> list[bytes | None]:
    """The bytes that a ``__data_loc`` or ``__rel_loc`` field points at; None where they leave the record.

    Every row must be long enough for the field's own four bytes.
    """
    begin, length = location(rows, field.offset, relative=field.is_rel_loc)
    end: npt.NDArray[np.int64] = begin + length
    good = end <= rows.length
    data = rows.memory.data.data
    spans = zip((rows.offset + begin).tolist(), (rows.offset + end).tolist(), good.tolist(), strict=True)
    return [bytes(data[a:b]) if inside else None for a, b, inside in spans]
