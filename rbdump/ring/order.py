# SPDX-License-Identifier: Apache-2.0
"""Which sub-buffers of a CPU are shown, in which order, and which boot wrote each: everything that can be decoded.

Mirrors the order of the kernel's iterator (rb_iter_reset, rb_inc_iter in kernel/trace/ring_buffer.c): the reader
page, then from the head page to the commit page. Around that it keeps what the kernel would not show: consumed
sub-buffers in front, and those that damage hides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.ring.region import CpuBuffer
from rbdump.ring.subbufs import SubbufState
from rbdump.ring.walk import ChainError

__all__ = ["Chains", "kernel_order", "ring_from", "split_epochs", "wide_order"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]


@dataclass(slots=True)
class Chains:
    """What the walk found in the sub-buffers of one CPU, indexed like `Subbufs`."""

    nr_events: Ints
    last_ts: Stamps
    """As a reader computes it."""
    check_ts: Stamps
    """As the kernel's validator computes it."""
    error: npt.NDArray[np.uint8]
    """A `ChainError`."""
    complete: npt.NDArray[np.bool_]
    """The chain of records reaches the end of the sub-buffer, whatever the commit word says."""
    backwards: npt.NDArray[np.bool_]
    """An absolute time stamp goes back."""


def ring_from(buffers: Ints, position: int) -> Ints:
    """All ring positions' sub-buffers once around, beginning at ring position ``position`` (1 .. n-1)."""
    return np.concatenate([buffers[position:], buffers[1:position]])


def kernel_order(buffers: Ints, head: int, commit: int) -> list[int] | None:
    """Sub-buffers as the kernel follows them; None when the commit page cannot be reached."""
    reader = int(buffers[0])
    if commit == reader:
        return [reader]
    at = np.flatnonzero(buffers[1:] == head)
    if not len(at):
        return None
    ring = ring_from(buffers, int(at[0]) + 1)
    end = np.flatnonzero(ring == commit)
    return [reader, *ring[: int(end[0]) + 1].tolist()] if len(end) else None


def wide_order(cpu: CpuBuffer, chains: Chains) -> list[int]:
    """All sub-buffers of ``cpu`` that show events, oldest first; sets their state.

    A sub-buffer that holds nothing decodable is left out, unless it only says that events were lost.
    """
    subbufs = cpu.subbufs
    state = subbufs.state
    committed = (subbufs.size > 0) & (state != SubbufState.MISSING)
    shows = committed & (chains.nr_events > 0)
    state[committed & ~shows & (chains.error != ChainError.NONE)] = SubbufState.INVALID

    order: list[int] | None = None
    if cpu.buffers is not None and cpu.head is not None and cpu.commit is not None:
        order = kernel_order(cpu.buffers, cpu.head, cpu.commit)
    if cpu.buffers is None or order is None:
        return _by_time(cpu, shows)

    if len(order) > 1:
        inside = np.array(order[1:-1], np.int64)
        lost = inside[(subbufs.size[inside] == 0) & ~subbufs.missed[inside] & chains.complete[inside]]
        shows[lost] = True  # only damage can clear the commit word of a full sub-buffer between head and commit
        state[lost] = SubbufState.STRAY
    live = [index for index in order if shows[index] or subbufs.missed[index]]
    for index in live:
        if shows[index] and state[index] != SubbufState.STRAY:
            state[index] = SubbufState.READER if index == order[0] else SubbufState.RING
    state[subbufs.missed & (subbufs.size == 0)] = SubbufState.DISCARDED

    consumed = _rewind(cpu, chains, order, shows)
    state[consumed] = SubbufState.CONSUMED
    known = np.zeros(len(subbufs), np.bool_)
    known[order] = True
    known[consumed] = True
    at = np.flatnonzero(cpu.buffers[1:] == order[-1])
    start = (int(at[0]) + 1) % (len(cpu.buffers) - 1) + 1 if len(at) else 1
    strays = [index for index in ring_from(cpu.buffers, start).tolist() if shows[index] and not known[index]]
    state[strays] = SubbufState.STRAY
    return _insert(strays, consumed + live, subbufs.time_stamp, chains.last_ts)


def _by_time(cpu: CpuBuffer, shows: npt.NDArray[np.bool_]) -> list[int]:
    """The order when the header does not give one. Equal stamps keep the order of the memory."""
    subbufs = cpu.subbufs
    found = np.flatnonzero(shows)
    found = found[np.argsort(subbufs.time_stamp[found], kind="stable")]
    subbufs.state[found] = SubbufState.STRAY
    return [int(index) for index in found]


def _rewind(cpu: CpuBuffer, chains: Chains, order: list[int], shows: npt.NDArray[np.bool_]) -> list[int]:
    """Sub-buffers in front of the head page that a reader had taken, oldest first.

    Up to 6.16 the kernel sets the commit word of such a sub-buffer to 0 and leaves time stamp and data; 6.17 to 7.1
    leave all; from 7.2 on the time stamp is 0 as well, and nothing can be placed in time. A reset of the buffer up
    to 7.1 also leaves stamps and data behind a commit word of 0; those are told apart by time, and by `buffers[]`:
    where no entry was ever swapped, nothing was ever consumed.
    """
    assert cpu.buffers is not None
    subbufs, buffers = cpu.subbufs, cpu.buffers
    at = np.flatnonzero(buffers[1:] == cpu.head)
    if not len(at):
        return []
    swapped = bool((buffers != np.arange(len(buffers))).any())
    newer = subbufs.time_stamp[order[0]] if shows[order[0]] else subbufs.time_stamp[cpu.head]
    accepted: list[int] = []
    for index in ring_from(buffers, int(at[0]) + 1)[:0:-1].tolist():
        if index == cpu.commit or subbufs.time_stamp[index] == 0:
            break
        if subbufs.size[index] == 0 and not (swapped and chains.complete[index]):
            break
        if subbufs.missed[index] or chains.error[index] not in (ChainError.NONE, ChainError.NULL_PADDING):
            break
        if max(subbufs.time_stamp[index], chains.last_ts[index]) > newer:
            break
        newer = subbufs.time_stamp[index]
        accepted.append(index)
    shows[accepted] = True
    return accepted[::-1]


def _insert(strays: list[int], order: list[int], stamps: Stamps, last: Stamps) -> list[int]:
    """Put strays in front, where the ring has them, but behind the commit page when they are newer than it."""
    if not strays:
        return order
    newest = last[order[-1]] if order else np.uint64(0)
    behind = [index for index in strays if order and stamps[index] >= newest]
    front = [index for index in strays if not order or stamps[index] < newest]
    if front and order and stamps[order[0]] < stamps[front[0]]:
        # The reader page, or what follows a head page that lags behind, can be older than the strays.
        older = [index for index in order if stamps[index] < stamps[front[0]]]
        return older + front + [index for index in order if stamps[index] >= stamps[front[0]]] + behind
    return front + order + behind


def split_epochs(stamps: Stamps, last: Stamps) -> npt.NDArray[np.int64]:
    """Number of the boot that wrote each sub-buffer, counted from the oldest, for one CPU's sub-buffers in order.

    Time stamps fall where a new boot began. One sub-buffer that is out of line between two that are in order is
    damage and no boot.
    """
    del last
    number = np.zeros(len(stamps), np.int64)
    current, reached = 0, np.uint64(0)
    for index in range(len(stamps)):
        here = stamps[index]
        if here < reached:
            following = stamps[index + 1 : index + 2]
            before = stamps[index - 2] if index >= 2 and number[index - 2] == current else None
            if len(following) and following[0] >= reached:
                number[index] = current  # this one is too small
                continue
            if before is not None and here >= before and not (len(following) and following[0] < before):
                number[index] = current  # the one before was too large
                reached = here
                continue
            current += 1
        reached = here
        number[index] = current
    return number
