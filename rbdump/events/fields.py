# SPDX-License-Identifier: Apache-2.0
"""Values of one field of many records: integers, text, and lists of integers.

Where a field lies is what its format says; where a dynamic array lies is what the record says, and is checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rbdump.abi import Abi
from rbdump.events.format import Field
from rbdump.events.printfmt.runtime import Strings, blobs, loc, rel_loc
from rbdump.events.rows import Rows

__all__ = ["bytes_column", "field_values", "string_column"]

_INTEGERS = (1, 2, 4, 8)


def field_values(field: Field, rows: Rows, abi: Abi) -> list[Any]:
    """The value of ``field`` in each record.

    ``int`` for scalars and pointers, ``str`` for character arrays (surrogate escapes for what is not UTF-8),
    ``list[int]`` for other arrays, ``bytes`` for structures, None where a __data_loc points outside the record.
    The fixed part of the field must lie inside every record, or IndexError may come out of the input's end.
    """
    is_dynamic = field.is_data_loc or field.is_rel_loc
    if field.is_string:
        return string_column(field, rows)
    if not is_dynamic and field.array_length is None:
        if field.size in _INTEGERS:
            values: list[Any] = rows.integers(field.offset, field.size, signed=field.signed).tolist()
            return values
        return bytes_column(field, rows)
    size = abi.long_size if "cpumask" in field.type else field.element_size
    if size not in _INTEGERS:
        return bytes_column(field, rows)
    if not is_dynamic and field.size and field.size % size == 0:
        columns = [rows.integers(field.offset + at, size, signed=field.signed) for at in range(0, field.size, size)]
        lists: list[Any] = np.stack(columns, axis=1).tolist()
        return lists
    dtype = abi.dtype(size, signed=field.signed)
    return [
        None if raw is None else np.frombuffer(raw[: len(raw) // size * size], dtype).tolist()
        for raw in bytes_column(field, rows)
    ]


def bytes_column(field: Field, rows: Rows) -> list[bytes | None]:
    """The bytes of a field, for a dynamic array those it points to; None where they are not in the record."""
    if field.is_data_loc or field.is_rel_loc:
        begin, length = (loc if field.is_data_loc else rel_loc)(rows, field.offset)
        return blobs(rows, begin, length, length)
    if not field.size:  # a flexible array: the rest of the record
        return blobs(rows, field.offset, np.maximum(rows.length - field.offset, 0), 0)
    return blobs(rows, field.offset, field.size, field.size)


def string_column(field: Field, rows: Rows) -> list[Any]:
    """The text of a character array up to its first NUL; None where a __data_loc points outside the record."""
    texts = Strings()
    if field.size and not (field.is_data_loc or field.is_rel_loc):
        return [*map(texts.__getitem__, rows.char_arrays(field.offset, field.size).tolist())]
    return [None if raw is None else texts[raw] for raw in bytes_column(field, rows)]
