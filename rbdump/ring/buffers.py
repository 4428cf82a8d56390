# SPDX-License-Identifier: Apache-2.0
"""`buffers[]`: ring position -> sub-buffer, checked, and repaired where the kernel itself or damage made it wrong.

Mirrors rb_meta_validate_cpu() and rb_meta_subbuf_idx() of kernel/trace/ring_buffer.c. Position 0 is the reader page,
positions 1 .. n-1 are the ring. Until Linux 7.3 the kernel left the size of the header out when it turned an
address into an index: where the sub-buffers begin a page later for it, entries written by a reader's swap are one too
large.
"""

from __future__ import annotations

import heapq
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["is_permutation", "repair_buffers", "ring_from", "ring_position"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]
T = TypeVar("T", np.int64, np.bool_)


def is_permutation(buffers: Ints) -> bool:
    """Whether every sub-buffer 0 .. n-1 is named exactly once."""
    return bool((np.sort(buffers) == np.arange(len(buffers))).all())


def ring_from(buffers: npt.NDArray[T], position: int) -> npt.NDArray[T]:
    """The items of all ring positions once around, beginning at ring position ``position`` (1 .. n-1)."""
    return np.concatenate([buffers[position:], buffers[1:position]])


def ring_position(buffers: Ints, subbuf: int | None) -> int | None:
    """Position (1 .. n-1) of a sub-buffer in the ring; None for the reader page."""
    found = np.flatnonzero(buffers[1:] == subbuf)
    return int(found[0]) + 1 if len(found) else None


def repair_buffers(
    buffers: Ints, stamps: Stamps, head: int | None, commit: int | None, *, shifted: bool
) -> Ints | None:
    """`buffers` with what is wrong corrected, None when that is not known.

    Either the kernel wrote entries that are one too large, which it can where ``shifted``, or one entry is damaged and
    stands for the sub-buffer that is missing. Taken is what makes ``stamps``, the time stamps of the sub-buffers, fall
    least often from the reader page on and then from ``head`` around the ring; a reader page that is ``commit`` as well
    is the newest one.
    """
    if is_permutation(buffers):
        return buffers
    count = len(buffers)
    found: list[Ints] = []
    if shifted and (plain := _without_shift(buffers)) is not None:
        found.append(plain)
    missing = np.setdiff1d(np.arange(count), buffers)
    if len(missing) == 1:
        wrong = (buffers < 0) | (buffers >= count)
        if not wrong.any():
            wrong = np.bincount(buffers)[buffers] > 1
        for position in sorted(np.flatnonzero(wrong).tolist(), key=lambda position: position != missing[0]):
            found.append(buffers.copy())
            found[-1][position] = missing[0]
    return min(found, key=lambda one: _falls(one, stamps, head, commit), default=None)


def _falls(buffers: Ints, stamps: Stamps, head: int | None, commit: int | None) -> int:
    """How often time stamps fall in the kernel's order; what was never written has none."""
    at = ring_position(buffers, head)
    if at is None and head is not None:
        return len(buffers)  # the head page is in the ring
    reader, ring = buffers[:1], ring_from(buffers, at or 1)
    along = stamps[np.concatenate([ring, reader] if reader[0] == commit else [reader, ring])]
    along = along[along != 0]
    return int(np.count_nonzero(along[1:] < along[:-1]))


def _without_shift(buffers: Ints) -> Ints | None:
    """The entries that are one too large corrected; None when that does not explain what is wrong.

    Each sub-buffer that is missing must have been written as its successor. Of two entries with that value one is
    the untouched one, and that is the one whose position equals the value: a swap moves the reader page's entry to
    another position, or to position 0.
    """
    count = len(buffers)
    if buffers.min() < 0 or buffers.max() > count:
        return None
    if buffers.min() == 1 and is_permutation(buffers - 1):
        return buffers - 1
    fixed = buffers.tolist()
    positions: dict[int, list[int]] = {}
    for position, value in enumerate(fixed):
        positions.setdefault(value, []).append(position)
    uses = [len(positions.get(value, ())) for value in range(count + 1)]
    unused = np.setdiff1d(np.arange(count), buffers).tolist()  # ascending, which is a heap
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
