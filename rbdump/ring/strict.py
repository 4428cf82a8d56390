# SPDX-License-Identifier: Apache-2.0
"""What the kernel would have kept after a reboot: its validation of each CPU, as three policies.

Mirrors rb_meta_validate_events() and rb_cpu_meta_valid() of kernel/trace/ring_buffer.c as they changed: the first
version (6.12 to 6.16) gives a CPU up for one bad sub-buffer; 6.17 added the rewind over consumed sub-buffers; 7.2
discards a bad sub-buffer instead of the CPU. Distributions backport, so the policy can be named; the default
follows the layout.

Known differences: a record whose length is no multiple of 4, and a header word of 0 inside the committed bytes, count
as invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rbdump.ring.buffers import ring_from, ring_position
from rbdump.ring.order import Chains, kernel_order
from rbdump.ring.region import CpuBuffer, Region
from rbdump.ring.subbufs import SubbufState

__all__ = ["POLICIES", "Policy", "StrictOrder", "default_policy", "strict_order"]

Policy = Literal["6.12", "6.17", "7.2"]
"""Named after the first release that validates so."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StrictOrder:
    """The sub-buffers of a CPU that the kernel keeps, in its order."""

    order: Ints
    discarded: Ints
    """Those of ``order`` whose content it throws away, leaving a mark that events were lost."""
    why: str | None = None
    """Why the kernel gives the whole CPU up; None when it does not."""


def default_policy(region: Region) -> Policy:
    """The policy of the oldest kernel with the layout of ``region``, but for C2: there the newest, which keeps most.

    Consumed sub-buffers look different since 6.17 and again since 7.2, but do not decide it: 6.12 trees with layout C2
    carry later validations by themselves, a reset up to 7.1 leaves what 6.15 and 6.16 leave of a consumed sub-buffer,
    and behind a damaged head pointer live sub-buffers look like those that 6.17 to 7.1 leave. Where nothing is damaged
    the newest policy shows of them what the one of the kernel that wrote them does.
    """
    return "7.2" if region.layout.name in ("C2", "C2-inject") else "6.12"


def strict_order(region: Region, cpu: CpuBuffer, chains: Chains, policy: Policy) -> StrictOrder:
    """Apply ``policy`` to one CPU; sets the states of its sub-buffers."""
    result = _validate(region, cpu, chains, policy)
    state, subbufs = cpu.subbufs.state, cpu.subbufs
    there = state != SubbufState.MISSING
    state[there] = SubbufState.EMPTY
    state[there & (subbufs.size > 0)] = SubbufState.REJECTED
    kept = result.order
    used = kept[subbufs.size[kept] > 0]
    state[used] = SubbufState.RING
    if len(kept) and cpu.buffers is not None:
        reader = np.flatnonzero(kept == cpu.buffers[0])
        state[kept[: int(reader[0])]] = SubbufState.CONSUMED
        if subbufs.size[cpu.buffers[0]]:
            state[cpu.buffers[0]] = SubbufState.READER
    state[result.discarded] = SubbufState.DISCARDED
    return result


def _rejected(why: str) -> StrictOrder:
    empty = np.empty(0, np.int64)
    return StrictOrder(empty, empty, why)


def _validate(region: Region, cpu: CpuBuffer, chains: Chains, policy: Policy) -> StrictOrder:
    subbufs = cpu.subbufs
    if not region.meta_ok:
        return _rejected("the header of the region does not pass")
    if not cpu.meta_ok or cpu.head is None or cpu.commit is None or cpu.buffers is None:
        return _rejected("its header does not pass" if cpu.online else "")
    order = kernel_order(cpu.buffers, cpu.head, cpu.commit)
    if order is None:
        return _rejected("its commit page is not in the ring")
    # A reader that had just taken the head page left it the reader page: nothing is in front of it then.
    at = ring_position(cpu.buffers, cpu.head)
    older = ring_from(cpu.buffers, at)[:0:-1].tolist() if at else []
    if policy == "7.2":
        return _discard_invalid(region, cpu, chains, order, older)

    if ((subbufs.commit & np.uint64(0xFFFFFFFF)) > region.subbuf_size).any():
        return _rejected("a commit word is larger than a sub-buffer")
    if not chains.ok[order[0]]:
        return _rejected("its reader page is invalid")
    rewound: list[int] = []
    if policy == "6.17" and cpu.head != cpu.commit:
        ts = subbufs.time_stamp[cpu.head]
        for index in older:
            if index == cpu.commit or ts < subbufs.time_stamp[index]:
                break
            ts = subbufs.time_stamp[index]
            if ts == 0 or subbufs.size[index] == 0 or not chains.ok[index]:
                break
            rewound.append(index)
    bad = order[~chains.ok[order]]
    if len(bad):
        return _rejected(f"sub-buffer {bad[0]} is invalid")
    return StrictOrder(np.concatenate([np.array(rewound[::-1], np.int64), order]), order[:0])


def _discard_invalid(region: Region, cpu: CpuBuffer, chains: Chains, order: Ints, older: list[int]) -> StrictOrder:
    """The policy since 7.2: a sub-buffer is checked by itself and against the stamp of the valid one next to it."""
    subbufs = cpu.subbufs
    valid = chains.ok & (subbufs.commit <= np.uint64(region.data_size))
    stamps, ends = subbufs.time_stamp.tolist(), chains.check_ts.tolist()
    discarded: list[int] = []

    def check(index: int, before: int, after: int) -> bool:
        """Whether sub-buffer ``index`` is valid and ends between two stamps, 0 meaning not known."""
        good = bool(valid[index]) and not (before and before > ends[index]) and not (after and ends[index] > after)
        if not good:
            discarded.append(index)
        return good

    reader, head = int(order[0]), cpu.head
    assert head is not None
    head_ok = bool(valid[head])
    newest = stamps[head] if head_ok else 0
    if check(reader, 0, newest):
        newest = stamps[reader]
    rewound = []
    if head_ok and head != cpu.commit:
        for index in older:
            if index == cpu.commit or (stamps[index] == 0 and subbufs.commit[index] == 0):
                break
            rewound.append(index)
            if check(index, 0, newest):
                newest = stamps[index]
    if cpu.commit == reader:
        # The rewind makes another one the reader page, and the kernel then looks for this one in the ring and passes it
        # over; not where it comes all around to a head page that was never used.
        if rewound and not (len(rewound) == len(older) and stamps[head] == 0 and subbufs.commit[head] == 0):
            return _rejected("its commit page is not found behind what was rewound")
        rewound = []
        discarded = [index for index in discarded if index == reader]
    reached = stamps[head] if head_ok else 0
    for index in order[1:].tolist():
        if check(index, reached, 0):
            reached = stamps[index]
    return StrictOrder(
        np.concatenate([np.array(rewound[::-1], np.int64), order]), np.array(sorted(set(discarded)), np.int64)
    )
