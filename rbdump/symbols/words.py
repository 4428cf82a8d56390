# SPDX-License-Identifier: Apache-2.0
"""Finds words in record payloads that may be kernel addresses, with no knowledge of any event."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.ring.records import RecordTable

__all__ = ["kernel_words"]

Addrs = npt.NDArray[np.uint64]

_ENTRY = 8
"""Bytes of struct trace_entry, which holds no address."""
_MAX_WORDS = 1 << 20
"""Words looked at; more of them would say the same. Records are taken from all of the table, evenly."""
_MAX_RECORD_WORDS = 512
"""Words looked at in one record: a stack trace has at most 128 or so."""


def kernel_words(
    data: npt.NDArray[np.uint8], abi: Abi, records: RecordTable, *, low: int | None = None, high: int | None = None
) -> tuple[Addrs, npt.NDArray[np.int64]]:
    """The distinct words of the last boot's records in ``low <= word < high``, sorted, and how often each occurs.

    Words are as wide as the machine's ``unsigned long`` and begin at any multiple of 4 bytes of the payload. Without
    bounds: all words in the upper half of the address space, which is the kernel's on most machines, and on s390x,
    where it is not, all words from 2**32 on.
    """
    rows = np.flatnonzero(records.epoch == 0)
    offsets = records.offset[rows]
    counts = np.clip((records.length[rows] - _ENTRY - abi.long_size) // 4 + 1, 0, _MAX_RECORD_WORDS).astype(np.int64)
    keep = (counts > 0) & (offsets >= 0) & (offsets + _ENTRY + 4 * (counts - 1) + abi.long_size <= len(data))
    step = -(-int(counts[keep].sum()) // _MAX_WORDS) or 1
    offsets, counts = offsets[keep][::step], counts[keep][::step]
    if not len(offsets):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    # The k-th word of every record in one go would need a loop up to the longest record; this is one flat gather.
    starts = np.cumsum(counts) - counts
    flat = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)
    at = np.repeat(offsets + _ENTRY, counts) + 4 * flat
    if low is None or high is None:
        top = 1 << (8 * abi.long_size)
        low, high = (1 << 32 if abi.byteorder == "big" and abi.long_size == 8 else top // 2), top
    return np.unique(_select(data, abi, at, low, high), return_counts=True)


def _select(data: npt.NDArray[np.uint8], abi: Abi, at: npt.NDArray[np.int64], low: int, high: int) -> Addrs:
    found = []
    view = np.lib.stride_tricks.sliding_window_view(data, abi.long_size)
    dtype = abi.dtype(abi.long_size)
    for begin in range(0, len(at), 1 << 20):
        words = np.ascontiguousarray(view[at[begin : begin + (1 << 20)]]).view(dtype).ravel().astype(np.uint64)
        found.append(words[(words >= np.uint64(low)) & (words <= np.uint64(high - 1))])
    return np.concatenate(found)
