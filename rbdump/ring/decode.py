# SPDX-License-Identifier: Apache-2.0
"""From an opened region to the table of its records: walk, order, epochs, merge.

The merge mirrors __find_next_entry() of kernel/trace/trace.c: again and again the CPU whose next record is oldest,
the lowest CPU among equals, never reordering one CPU. A stable sort by the running maximum of each CPU's time
stamps gives the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.ring.order import Chains, wide_order
from rbdump.ring.records import RecordState, RecordTable
from rbdump.ring.region import Region
from rbdump.ring.subbufs import SubbufState
from rbdump.ring.walk import ChainError, Walked, Words, walk_chains

__all__ = ["walk_region"]

Ints = npt.NDArray[np.int64]

_STATES = {
    SubbufState.READER: RecordState.LIVE,
    SubbufState.RING: RecordState.LIVE,
    SubbufState.CONSUMED: RecordState.CONSUMED,
    SubbufState.STRAY: RecordState.STRAY,
}


def walk_region(region: Region) -> RecordTable:
    """All records of ``region`` in the kernel's order."""
    words = Words.of(region.data, region.offset, region.abi)
    offset = np.concatenate([cpu.subbufs.offset for cpu in region.cpus])
    size = np.concatenate([cpu.subbufs.size for cpu in region.cpus])
    stamp = np.concatenate([cpu.subbufs.time_stamp for cpu in region.cpus])
    missing = np.concatenate([cpu.subbufs.state for cpu in region.cpus]) == SubbufState.MISSING
    header = int(region.structs.subbuf.sizeof())
    begin = (offset + header - region.offset) // 4
    capacity = np.minimum(region.data_size, np.maximum(len(region.data) - offset - header, 0)) // 4
    length = np.minimum(size // 4, capacity)
    unknown = (size == 0) & (stamp != 0)
    length[unknown] = capacity[unknown]
    length[missing] = 0
    walked = walk_chains(words, begin, begin + length, stamp)
    complete = (walked.stop == begin + capacity) | (
        (walked.error == ChainError.NULL_PADDING) & (walked.stop == begin + capacity - 1)
    )

    orders: list[list[int]] = []
    first = 0
    for cpu in region.cpus:
        part = slice(first, first + len(cpu))
        chains = Chains(
            walked.nr_events[part],
            walked.last_ts[part],
            walked.check_ts[part],
            walked.error[part],
            complete[part],
            walked.backwards[part] >= 0,
        )
        orders.append(wide_order(cpu, chains))
        first += len(cpu)
    return _merge(region, words, walked, orders)


def _merge(region: Region, words: Words, walked: Walked, orders: list[list[int]]) -> RecordTable:
    bases = np.cumsum([0, *(len(cpu) for cpu in region.cpus)])
    order = np.concatenate([np.array(part, np.int64) + base for part, base in zip(orders, bases, strict=False)])
    counts = walked.nr_events[order]
    first_row = np.full(len(walked.nr_events), -1, np.int64)
    ends = np.cumsum(counts)
    rows = int(ends[-1]) if len(ends) else 0
    first_row[order] = ends - counts
    hidden = first_row < 0
    total = rows
    if hidden.any():
        more = np.cumsum(walked.nr_events[hidden])
        first_row[hidden] = rows + more - walked.nr_events[hidden]
        total += int(more[-1])
    ts, pos, length, subbuf = walked.place(first_row, total)
    ts, pos, length, subbuf = ts[:rows], pos[:rows], length[:rows], subbuf[:rows]

    cpu_of = np.repeat(np.arange(len(region.cpus), dtype=np.uint16), [len(cpu) for cpu in region.cpus])
    state_of = np.concatenate([cpu.subbufs.state for cpu in region.cpus])
    key = ts.copy()
    cpu_rows = np.bincount(cpu_of[order], weights=counts, minlength=len(region.cpus)).astype(np.int64)
    end = 0
    for count in cpu_rows.tolist():
        np.maximum.accumulate(key[end : end + count], out=key[end : end + count])
        end += count
    perm = np.argsort(key, kind="stable")
    del key
    sub = subbuf[perm]
    lut = np.zeros(16, np.uint8)
    for subbuf_state, record_state in _STATES.items():
        lut[subbuf_state] = record_state
    index_of = (np.arange(len(walked.nr_events)) - np.repeat(bases[:-1], np.diff(bases))).astype(np.int32)
    return RecordTable(
        ts=ts[perm],
        cpu=cpu_of[sub],
        offset=pos[perm] * 4 + words.offset,
        length=length[perm] * 4,
        subbuf=index_of[sub],
        epoch=np.zeros(rows, np.uint8),
        state=lut[state_of][sub],
        lost=np.zeros(rows, np.int64),
    )
