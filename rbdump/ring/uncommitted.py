# SPDX-License-Identifier: Apache-2.0
"""What was reserved behind the last commit when the machine died: listed apart, for it cannot be trusted.

Kernel fact (rb_commit, rb_set_commit_to_write in kernel/trace/ring_buffer.c): an interrupt's events are reserved
behind the event that it interrupted, and nothing is committed before the outermost writer is done. A machine that
dies in between leaves whole headers, with payloads that may be incomplete, behind the commit, and perhaps on
sub-buffers that follow. After one lap of the ring the same bytes hold what is left of older events instead; where
records of one lap end where those of another begin, nothing in the ring tells which is which.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.ring.buffers import ring_from, ring_position
from rbdump.ring.records import RecordState, RecordTable
from rbdump.ring.region import CpuBuffer, Region
from rbdump.ring.structs import size_of
from rbdump.ring.walk import Words, walk_chains

__all__ = ["walk_uncommitted"]

Ints = npt.NDArray[np.int64]


def walk_uncommitted(region: Region) -> RecordTable:
    """Records behind the last commit of each CPU, by time, as far as they chain; `walk_region` must have run before.

    The caller has to doubt them: only records whose payload makes sense can be real.
    """
    words = Words.of(region.data, region.offset, region.abi)
    header = size_of(region.structs.subbuf)
    chains: list[tuple[int, int, int, int, int]] = []  # cpu, sub-buffer, begin, end, time reached
    for number, cpu in enumerate(region.cpus):
        if cpu.buffers is None or cpu.commit is None:
            continue
        for index, reached in _tails(cpu):
            begin = int(cpu.subbufs.offset[index]) + header - region.offset
            end = min(begin + region.data_size, len(region.data) - region.offset) // 4
            skip = int(cpu.subbufs.size[index]) if index == cpu.commit else 0
            chains.append((number, index, (begin + skip) // 4, end, reached))
    if not chains:
        return RecordTable.empty()
    numbers, subbufs, begins, ends = (np.array(column, np.int64) for column in list(zip(*chains, strict=True))[:4])
    stamps = np.array([chain[4] for chain in chains], np.uint64)
    walked = walk_chains(words, begins, ends, stamps)
    rows = int(walked.nr_events.sum())
    ts, pos, length, chain = walked.place(np.cumsum(walked.nr_events) - walked.nr_events, rows)
    order = np.argsort(ts, kind="stable")
    chain = chain[order]
    cpu_numbers = np.array([cpu.cpu for cpu in region.cpus], np.uint16)
    return RecordTable(
        ts=ts[order],
        cpu=cpu_numbers[numbers[chain]],
        offset=pos[order].astype(np.int64) * 4 + words.offset,
        length=length[order] * 4,
        subbuf=subbufs[chain].astype(np.int32),
        epoch=np.zeros(rows, np.uint8),
        state=np.full(rows, RecordState.UNCOMMITTED, np.uint8),
        lost=np.zeros(rows, np.int64),
    )


def _tails(cpu: CpuBuffer) -> list[tuple[int, int]]:
    """The commit page and the sub-buffers behind it that the writer had entered, each with the time it begins."""
    assert cpu.buffers is not None
    assert cpu.commit is not None
    subbufs = cpu.subbufs
    reached = int(max(subbufs.last_ts[cpu.commit], subbufs.time_stamp[cpu.commit]))
    if subbufs.bad_offset[cpu.commit] >= 0:
        return []
    tails = [(cpu.commit, reached)]
    position, head = ring_position(cpu.buffers, cpu.commit), ring_position(cpu.buffers, cpu.head)
    if position:
        following = ring_from(cpu.buffers, position)[1:]
        if head:
            following = following[: (head - position - 1) % (len(cpu) - 1)]
    else:  # the reader page, whose link in the kernel's list leads to the head page
        following = ring_from(cpu.buffers, head) if head else cpu.buffers[:0]
    for index in following.tolist():
        stamp = int(subbufs.time_stamp[index])
        if subbufs.size[index] or stamp < reached:
            break
        tails.append((index, stamp))
        reached = stamp
    return tails
