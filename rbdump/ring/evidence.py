# SPDX-License-Identifier: Apache-2.0
"""Whether memory holds sub-buffers, by what these say and by the records in them, where no header tells.

Mirrors what struct buffer_data_page (kernel/trace/ring_buffer.c) can hold: a time, and no more bytes than fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.ring.identify import Identity
from rbdump.ring.structs import size_of
from rbdump.ring.subbufs import parse_subbufs
from rbdump.ring.walk import Words, walk_chains

__all__ = ["Look", "count_in_order", "look_at", "looks_like_subbufs", "may_be_subbufs"]

Bytes = npt.NDArray[np.uint8]

_SOME = 10
"""In a CPU's memory that was overwritten one sub-buffer of so many is left; of other data one of a hundred looks so."""


def looks_like_subbufs(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> bool:
    """Whether ``nr_subbufs`` sub-buffers lie at ``at``: nearly all say possible sizes, and some hold something.

    Of a truncated input what is there has to do.
    """
    return look_at(data, identity, at, subbuf_size, nr_subbufs).is_likely()


@dataclass(frozen=True, slots=True)
class Look:
    """What lies where sub-buffers should."""

    stamps: npt.NDArray[np.uint64]
    """Time stamps of those that hold something."""
    sizes: npt.NDArray[np.int64]
    """Bytes that these hold."""
    skipped: int
    """Others in front of the last of these."""
    wrong: int
    """How many are none."""
    number: int

    def is_likely(self) -> bool:
        """Whether these are sub-buffers."""
        return len(self.stamps) > 0 and (self.wrong <= 1 or self.wrong * 10 <= self.number)


def look_at(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> Look:
    """What the headers of ``nr_subbufs`` sub-buffers at ``at`` say."""
    structs = identity.structs
    header = size_of(structs.subbuf)
    nr_subbufs = min(nr_subbufs, (len(data) - at) // subbuf_size)
    if at < 0 or nr_subbufs < 1:
        return Look(np.empty(0, np.uint64), np.empty(0, np.int64), 0, 0, 0)
    subbufs = parse_subbufs(data, at, nr_subbufs, subbuf_size, header, structs.abi)
    possible = subbufs.size <= subbuf_size - header
    used = np.flatnonzero(possible & (subbufs.size > 0) & (subbufs.size % 4 == 0) & (subbufs.time_stamp != 0))
    skipped = int(used[-1]) + 1 - len(used) if len(used) else 0
    wrong = nr_subbufs - int(np.count_nonzero(possible))
    return Look(subbufs.time_stamp[used], subbufs.size[used], skipped, wrong, nr_subbufs)


def count_in_order(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> tuple[int, int, int]:
    """Of the sub-buffers at ``at``: how many hold events and are in order to their end, how many hold anything, how
    many have a time.
    """
    structs = identity.structs
    header = size_of(structs.subbuf)
    nr_subbufs = min(nr_subbufs, (len(data) - at) // subbuf_size)
    if nr_subbufs < 1:
        return 0, 0, 0
    words = Words.of(data, identity.offset, structs.abi)
    subbufs = parse_subbufs(data, at, nr_subbufs, subbuf_size, header, structs.abi)
    possible = subbufs.size <= subbuf_size - header
    filled = np.flatnonzero(possible & (subbufs.size > 0))
    begin = (subbufs.offset[filled] + header - identity.offset) // 4
    walked = walk_chains(words, begin, begin + subbufs.size[filled] // 4, subbufs.time_stamp[filled])
    good = int(np.count_nonzero((walked.error == 0) & (walked.backwards < 0) & (walked.nr_events > 0)))
    return good, int(np.count_nonzero(subbufs.size)), int(np.count_nonzero(possible & (subbufs.time_stamp != 0)))


def may_be_subbufs(data: Bytes, identity: Identity, at: int, subbuf_size: int, nr_subbufs: int) -> bool:
    """Whether nothing tells that no sub-buffers lie at ``at``: some hold events, or none holds anything."""
    good, used, _ = count_in_order(data, identity, at, subbuf_size, nr_subbufs)
    return used <= good * _SOME
