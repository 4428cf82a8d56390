# SPDX-License-Identifier: Apache-2.0
"""Finds words in record payloads that may be kernel addresses, with no knowledge of any format.

Records are not cleared before they are written (ring_buffer_lock_reserve()): where a structure has padding, bytes of
older records show through, pointers among them, whole or with some bytes overwritten. But a place of an event either
holds an address in every record, or in few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.ring.records import TRACE_ENTRY_SIZE, RecordTable

__all__ = ["KernelWords", "kernel_words", "lowest_addr"]

Addrs = npt.NDArray[np.uint64]
KernelWords = tuple[Addrs, npt.NDArray[np.int64]]
"""Distinct words, and how often each occurs."""

_MAX_WORDS = 1 << 18
"""Words looked at; more of them would say the same. Records are taken from all of the table, evenly."""
_MAX_RECORDS = 1 << 16
"""Records looked at, taken evenly as well."""
_MAX_RECORD_WORDS = 512
"""Words looked at in one record: a stack trace has at most 128 or so."""
_PLACES = 64
"""Places of an event that are told apart; all behind them are one, or two where words overlap."""
_MIN_SHARE = 0.75
"""A place of an event holds addresses if this share of its words, zeros aside, may be addresses."""


def lowest_addr(abi: Abi) -> int:
    """Where kernel addresses may begin: with the upper half of the address space; on s390x, where not, at 2**32."""
    return 1 << 32 if abi.byteorder == "big" and abi.long_size == 8 else 1 << (8 * abi.long_size - 1)


def kernel_words(data: npt.NDArray[np.uint8], abi: Abi, records: RecordTable) -> KernelWords:
    """The distinct words of the last boot's records that may be kernel addresses, sorted, and how often each occurs.

    Words are as wide as the machine's ``unsigned long`` and begin at any multiple of 4 bytes of the payload. Those from
    `lowest_addr` on are taken. Places of an event whose words are mostly others are left out.
    """
    rows = np.flatnonzero(records.epoch == 0)
    rows = rows[:: -(-len(rows) // _MAX_RECORDS) or 1]
    offsets = records.offset[rows]
    counts = np.clip((records.length[rows] - TRACE_ENTRY_SIZE - abi.long_size) // 4 + 1, 0, _MAX_RECORD_WORDS).astype(
        np.int64
    )
    keep = (counts > 0) & (offsets >= 0) & (offsets + TRACE_ENTRY_SIZE + 4 * (counts - 1) + abi.long_size <= len(data))
    step = -(-int(counts[keep].sum()) // _MAX_WORDS) or 1
    offsets, counts = offsets[keep][::step], counts[keep][::step]
    if not len(offsets):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    # The k-th word of every record in one go would need a loop up to the longest record; this is one flat gather.
    starts = np.cumsum(counts) - counts
    flat = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)
    at = np.repeat(offsets + TRACE_ENTRY_SIZE, counts) + 4 * flat
    words = _integers(data, abi, at, abi.long_size)
    wanted = words >= np.uint64(lowest_addr(abi))
    ids = _integers(data, abi, offsets, 2).astype(np.int32)
    place = np.repeat(ids * _PLACES, counts) + np.minimum(flat, _PLACES - 2 + (flat & 1)).astype(np.int32)
    number = np.bincount(place[wanted], minlength=int(place.max()) + 1)
    filled = np.bincount(place[words != 0], minlength=len(number))
    return np.unique(words[wanted & (number >= _MIN_SHARE * filled)[place]], return_counts=True)


def _integers(data: npt.NDArray[np.uint8], abi: Abi, at: npt.NDArray[np.int64], size: int) -> Addrs:
    view = np.lib.stride_tricks.sliding_window_view(data, size)
    return np.ascontiguousarray(view[at]).view(abi.dtype(size)).ravel().astype(np.uint64)
