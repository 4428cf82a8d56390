# SPDX-License-Identifier: Apache-2.0
"""Lists of CPU numbers as the kernel reads them: ``0-3,5,8-15:2/4`` (bitmap_parselist() of lib/bitmap-str.c)."""

from __future__ import annotations

import re

from rbdump.errors import UsageError

__all__ = ["parse_cpulist"]

_LIMIT = 1 << 16  # the cpu column of a region's records has 16 bits
_NUMBER = r"(\d{1,99})"  # Python does not read numbers of thousands of digits
_ITEM = re.compile(rf"{_NUMBER}(?:-{_NUMBER}(?::{_NUMBER}/{_NUMBER})?)?", re.ASCII)


def parse_cpulist(text: str) -> frozenset[int]:
    """The numbers of a list; ``a-b:used/group`` takes the first ``used`` of each ``group``. UsageError if malformed."""
    cpus: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise UsageError(
                f"{text!r} is no list of CPUs like 0-3,5: {item.strip()!r} is neither a number nor a range"
            )
        first = int(match[1])
        last = int(match[2] or first)
        used, group = int(match[3] or 1), int(match[4] or 1)
        if max(first, last) >= _LIMIT:
            raise UsageError(f"{text!r} is no list of CPUs like 0-3,5: no CPU has a number above {_LIMIT - 1}")
        if last < first or not 0 < used <= group:
            raise UsageError(f"{text!r} is no list of CPUs like 0-3,5: the range {item.strip()!r} makes no sense")
        cpus.update(cpu for cpu in range(first, last + 1) if (cpu - first) % group < used)
    return frozenset(cpus)
