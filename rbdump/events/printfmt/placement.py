# SPDX-License-Identifier: Apache-2.0
"""Fields that format files misplace: ``__field(type, name[n])`` instead of ``__array(type, name, n)``.

The kernel's structure has n elements, its description one. Sizes are added up (commit 04ae87a52074, Linux 5.9), so that
every later field is told too low (f2fs_truncate_partial_nodes until commit 0b04d4c0542e).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rbdump.events.format import Field

__all__ = ["placed"]


def placed(fields: Sequence[Field]) -> list[Field]:
    """The fields where the kernel's structure has them."""
    result: list[Field] = []
    end = 0
    for field in fields:
        declared = field.type.partition("[")[2].rstrip("] ")
        count = int(declared) if declared.isdigit() else 0
        size = field.element_size
        if end:
            align = min(size or 1, 8)
            field = replace(field, offset=end + -end % align)
        if 1 < count < 64 and field.size == size:
            end = field.offset + count * size
            field = replace(field, size=count * size, array_length=count)
        elif end:
            end = field.offset + field.size
        result.append(field)
    return result
