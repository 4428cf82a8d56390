# SPDX-License-Identifier: Apache-2.0
"""Characters that records hold, row by row: fixed arrays and the dynamic kinds, whose place is never trusted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.events.format import Field
from rbdump.events.rows import Rows

__all__ = ["dynamic_bytes", "until_nul"]


def until_nul(raw: bytes) -> bytes:
    """A C string: what follows the first NUL is what the memory held before."""
    return raw.split(b"\0", 1)[0]


def dynamic_bytes(rows: Rows, field: Field) -> list[bytes | None]:
    """The bytes that a ``__data_loc`` or ``__rel_loc`` field points at; None where they leave the record.

    Every row must be long enough for the field's own four bytes.
    """
    where = rows.integers(field.offset, 4, signed=False).astype(np.int64)
    begin = where & 0xFFFF
    if field.is_rel_loc:
        begin += field.offset + 4
    end: npt.NDArray[np.int64] = begin + (where >> 16)
    good = end <= rows.length
    data = rows.memory.data.data
    spans = zip((rows.offset + begin).tolist(), (rows.offset + end).tolist(), good.tolist(), strict=True)
    return [bytes(data[a:b]) if inside else None for a, b, inside in spans]
