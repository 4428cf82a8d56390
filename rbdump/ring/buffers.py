# SPDX-License-Identifier: Apache-2.0
"""`buffers[]`: ring position -> sub-buffer, checked, and repaired where the kernel itself wrote wrong entries.

Mirrors rb_meta_validate_cpu() and rb_meta_subbuf_idx() of kernel/trace/ring_buffer.c. Position 0 is the reader page,
positions 1 .. n-1 are the ring. Until Linux 7.3 the kernel left the size of the header out when it turned an
address into an index, so that entries written by a reader's swap can be one too large.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

__all__ = ["is_permutation", "repair_buffers"]

Ints = npt.NDArray[np.int64]


def is_permutation(buffers: Ints) -> bool:
    """Whether every sub-buffer 0 .. n-1 is named exactly once."""
    return bool((np.sort(buffers) == np.arange(len(buffers))).all())


def repair_buffers(buffers: Ints) -> Ints | None:
    """`buffers` with the entries that are one too large corrected; None when that does not explain what is wrong.

    A single entry that names no sub-buffer stands for the single one that is missing.
    Each sub-buffer that is missing must have been written as its successor. Of two entries with that value one is
    the untouched one, and that is the one whose position equals the value: a swap moves the reader page's entry to
    another position, or to position 0.
    """
    count = len(buffers)
    if is_permutation(buffers):
        return buffers
    outside = np.flatnonzero((buffers < 0) | (buffers > count))
    missing = np.setdiff1d(np.arange(count), buffers)
    if len(outside) == 1 and len(missing) == 1:
        only = buffers.copy()
        only[outside] = missing
        return only
    if buffers.min() < 0 or buffers.max() > count:
        return None
    if buffers.min() == 1 and is_permutation(buffers - 1):
        return buffers - 1
    fixed = buffers.tolist()
    positions: dict[int, list[int]] = {}
    for position, value in enumerate(fixed):
        positions.setdefault(value, []).append(position)
    uses = [len(positions.get(value, ())) for value in range(count + 1)]
    unused = missing.tolist()  # ascending, which is a heap
    while unused:
        value = heapq.heappop(unused)
        candidates = positions.get(value + 1, [])
        if not candidates:
            return None
        if 0 in candidates:
            chosen = 0
        else:
            chosen = next((position for position in candidates if position != value + 1), candidates[0])
        candidates.remove(chosen)
        fixed[chosen] = value
        uses[value] += 1
        uses[value + 1] -= 1
        if value + 1 < count and not uses[value + 1]:
            heapq.heappush(unused, value + 1)
    repaired = np.array(fixed, np.int64)
    return repaired if is_permutation(repaired) else None
