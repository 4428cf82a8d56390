# SPDX-License-Identifier: Apache-2.0
"""Walks the sub-buffers of all CPUs at once and keeps what was found, CPU by CPU.

How far a sub-buffer is walked: to its commit; to its end when the commit word is impossible; to its end as well
when nothing is committed but it has a time stamp, for a reader's kernel may have cleared the commit word
(rb_get_reader_page in kernel/trace/ring_buffer.c) and left the records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.ring.order import Chains
from rbdump.ring.region import Region
from rbdump.ring.structs import size_of
from rbdump.ring.walk import ChainError, Walked, Words, walk_chains

__all__ = ["Sweep", "sweep"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All sub-buffers of a region, walked. Arrays run over the CPUs one after the other."""

    region: Region
    bases: Ints
    """Index of each CPU's sub-buffer 0 in the arrays; one more item for the end."""
    words: Words
    begin: Ints
    """Word index of each sub-buffer's first record."""
    capacity: Ints
    """Words of each sub-buffer for records, less what a truncated input lacks."""
    walked: Walked

    def part(self, number: int) -> slice:
        """Where the sub-buffers of the ``number``-th CPU are."""
        return slice(int(self.bases[number]), int(self.bases[number + 1]))

    def chains(self, number: int) -> Chains:
        """What was found in the sub-buffers of the ``number``-th CPU."""
        part, subbufs, walked = self.part(number), self.region.cpus[number].subbufs, self.walked
        nothing = subbufs.size == 0
        error, stop = walked.error[part], walked.stop[part]
        fits = (subbufs.size <= self.region.data_size) & (subbufs.size % 4 == 0)
        end = self.begin[part] + self.capacity[part]
        # With 4 bytes left the writer ends a sub-buffer with null padding, which has no length.
        full = (stop == end) | ((error == int(ChainError.NULL_PADDING)) & (stop == end - 1))
        return Chains(
            nr_events=walked.nr_events[part],
            last_ts=walked.last_ts[part],
            check_ts=np.where(nothing, subbufs.time_stamp, walked.check_ts[part]),
            ok=nothing | (fits & (error == 0) & (walked.backwards[part] < 0)),
            full=full & (walked.nr_events[part] > 0),
            leftover=nothing & (self.words.take(self.begin[part]) != 0),
        )

    def first_halves(self, step: int) -> npt.NDArray[np.uint16]:
        """The first two bytes of the payload of one of ``step`` records, and of what lies where some end; unordered."""
        payloads = [payload for _, _, _, payload, _, _ in self.walked.steps[::step]]
        words = self.words.take(np.concatenate([np.empty(0, np.int32), *payloads]))
        return (words >> np.uint32(16) if self.words.big else words).astype(np.uint16)


def sweep(region: Region) -> Sweep:
    """Walk all sub-buffers of a region."""
    cpus = region.cpus
    words = Words.of(region.data, region.offset, region.abi)
    header = size_of(region.structs.subbuf)
    offset = np.concatenate([cpu.subbufs.offset for cpu in cpus])
    size = np.concatenate([cpu.subbufs.size for cpu in cpus])
    stamp = np.concatenate([cpu.subbufs.time_stamp for cpu in cpus])
    begin = (offset + header - region.offset) // 4
    capacity = np.clip(len(region.data) - offset - header, 0, region.data_size) // 4
    length = np.minimum(-(-size // 4), capacity)
    missed = np.concatenate([cpu.subbufs.missed for cpu in cpus])
    unknown = (size == 0) & (stamp != 0) & ~missed
    length[unknown] = capacity[unknown]
    walked = walk_chains(words, begin, begin + length, stamp)
    bases = np.cumsum([0, *(len(cpu) for cpu in cpus)])
    return Sweep(region, bases, words, begin, capacity, walked)
