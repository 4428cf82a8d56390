# SPDX-License-Identifier: Apache-2.0
"""Which sub-buffers of a CPU are shown, and in which order: everything that can be decoded and placed in time.

Mirrors the order of the kernel's iterator (rb_iter_reset, rb_inc_iter in kernel/trace/ring_buffer.c): the reader
page, then from the head page to the commit page. Around that it keeps what the kernel would not show: consumed
sub-buffers in front, and those that damage hides. What lies behind a commit is never shown here: after one lap of
the ring it looks like events and is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.ring.buffers import ring_from, ring_position
from rbdump.ring.epochs import outliers
from rbdump.ring.region import CpuBuffer
from rbdump.ring.subbufs import Subbufs, SubbufState

__all__ = ["Chains", "kernel_order", "wide_order"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

# An IntEnum costs a look-up in its metaclass for each use; these are compared with arrays.
EMPTY, INVALID, STALE, MISSING = (
    int(state) for state in (SubbufState.EMPTY, SubbufState.INVALID, SubbufState.STALE, SubbufState.MISSING)
)
_NEVER = np.array([2**64 - 1], np.uint64)
READER, RING, CONSUMED = int(SubbufState.READER), int(SubbufState.RING), int(SubbufState.CONSUMED)
STRAY, DISCARDED = int(SubbufState.STRAY), int(SubbufState.DISCARDED)


@dataclass(frozen=True, slots=True)
class Chains:
    """What the walk found in the sub-buffers of one CPU, indexed like `Subbufs`."""

    nr_events: Ints
    last_ts: Stamps
    """Time of the last record as a reader computes it."""
    check_ts: Stamps
    """The same as the kernel's validator computes it; the sub-buffer's own stamp when nothing is committed."""
    ok: Mask
    """The committed bytes are whole records and no absolute time stamp goes back: valid for the kernel."""
    full: Mask
    """The chain of records reaches the end of the sub-buffer, whatever the commit word says."""
    leftover: Mask
    """Nothing is committed and there are bytes."""


def kernel_order(buffers: Ints, head: int, commit: int) -> Ints | None:
    """Sub-buffers as the kernel follows them; None when the commit page cannot be reached."""
    reader = buffers[:1]
    if commit == reader[0]:
        return reader
    first, last = ring_position(buffers, head), ring_position(buffers, commit)
    if first is None or last is None:
        return None
    ring = ring_from(buffers, first)
    return np.concatenate([reader, ring[: (last - first) % len(ring) + 1]])


def wide_order(cpu: CpuBuffer, chains: Chains) -> Ints:
    """All sub-buffers of ``cpu`` that show events, or say that some were lost, oldest first; sets their states."""
    subbufs = cpu.subbufs
    state, stamps = subbufs.state, subbufs.time_stamp
    there = state != MISSING
    shows = there & (subbufs.size > 0) & (chains.nr_events > 0)
    state[there] = EMPTY
    state[there & chains.leftover] = STALE
    state[there & (subbufs.size > 0) & ~chains.ok & ~shows] = INVALID
    state[there & subbufs.missed & (subbufs.size == 0)] = DISCARDED

    head = order = None
    if cpu.buffers is not None and cpu.head is not None and cpu.commit is not None:
        head = _head_page(cpu.buffers, cpu.head, cpu.commit, stamps, chains.last_ts, shows)
        order = kernel_order(cpu.buffers, head, cpu.commit)
    if cpu.buffers is None or head is None or order is None:
        if shows.any():
            # What a reader consumed is older than all the rest; where readers went nothing says here.
            cleared = there & (subbufs.size == 0) & ~subbufs.missed & chains.full & (stamps != 0)
            shows |= cleared & (stamps <= stamps[shows].min())
        found = np.flatnonzero(shows)
        state[found] = STRAY
        return found[np.argsort(stamps[found], kind="stable")]

    # A full sub-buffer between head and commit has its commit word; only damage can clear it.
    inside = order[1:-1]
    lost = inside[(subbufs.size[inside] == 0) & ~subbufs.missed[inside] & chains.full[inside]]
    live = order[shows[order]]
    state[live] = RING
    if shows[order[0]]:
        state[order[0]] = READER
    state[lost] = STRAY
    shows[lost] = True
    live = order[shows[order] | subbufs.missed[order]]

    consumed = _rewind(cpu, chains, head, order, shows)
    state[consumed] = CONSUMED
    known = np.zeros(len(subbufs), np.bool_)
    known[order] = True
    known[consumed] = True
    end = ring_position(cpu.buffers, cpu.commit) or (ring_position(cpu.buffers, head) or 1) - 1
    around = ring_from(cpu.buffers, end % (len(subbufs) - 1) + 1)
    around = np.concatenate([cpu.buffers[:1], around])
    strays = around[(shows & ~known)[around]]
    state[strays] = STRAY
    return _insert(strays, np.concatenate([consumed, live]), stamps, chains.last_ts)


def _head_page(buffers: Ints, head: int, commit: int, stamps: Stamps, last_ts: Stamps, shows: Mask) -> int:
    """The head page, while a reader takes it as well: rb_update_meta_reader() swaps the entries of `buffers[]` and then
    moves the head pointer on, which in between names the reader page. The head page is the one behind the old reader
    page: from the commit page around the ring the first that is newer than what was taken.
    """
    if head != buffers[0]:
        return head
    at = ring_position(buffers, commit)
    newest = at or int(np.argmax(stamps[buffers[1:]])) + 1  # the commit page was taken: all in the ring is older
    around = ring_from(buffers, newest % (len(buffers) - 1) + 1)
    newer = around[shows[around] & (stamps[around] >= last_ts[head])]
    if len(newer):
        return int(newer[0])
    return commit if at else int(around[0])


def _rewind(cpu: CpuBuffer, chains: Chains, head: int, order: Ints, shows: Mask) -> Ints:
    """Sub-buffers in front of the head page that a reader had taken, oldest first.

    Up to 6.16 the kernel sets the commit word of such a sub-buffer to 0 and leaves time stamp and data; 6.17 to 7.1
    leave all; from 7.2 on the time stamp is 0 as well, and nothing can be placed in time. A reset of the buffer up
    to 7.1 also leaves stamps and data behind a commit word of 0. But a reader swaps the entries of `buffers[]`, and
    the reader page holds what it took last, whereas a reset empties it.
    """
    assert cpu.buffers is not None
    subbufs, buffers = cpu.subbufs, cpu.buffers
    at = ring_position(buffers, head)
    if at is None:
        return order[:0]
    reader = order[0]
    was_read = subbufs.size[reader] > 0 or (reader != 0 and subbufs.time_stamp[reader] == 0)
    around = ring_from(buffers, at)
    # The head page has gone around the ring since a reader swapped one that lies behind it: all that follow were taken
    # since. Where all entries are in order again, each was swapped.
    swapped = np.logical_or.accumulate(ring_from(buffers != np.arange(len(buffers)), at))
    cleared = np.zeros(len(buffers), np.bool_)
    cleared[around] = bool(was_read) & (swapped | (not swapped[-1] and bool(subbufs.size[reader] > 0)))
    cleared &= (subbufs.size == 0) & chains.full
    usable = (subbufs.time_stamp != 0) & ~subbufs.missed & (cleared | ((subbufs.size > 0) & chains.ok))

    end = np.flatnonzero(around == cpu.commit)
    older = around[int(end[0]) + 1 :] if len(end) else around  # a reader that has the commit page has taken all
    older = older[usable[older]]
    newer = order[shows[order]]
    if len(older) and len(newer):
        first, following = subbufs.time_stamp[[newer[0], older[0]]].tolist()
        last = int(chains.last_ts[newer[-1]])
        if 0 <= following - last <= last - first:
            return order[:0]  # it was written behind the commit page: the header names a wrong one
    stamps = subbufs.time_stamp[np.concatenate([older, newer[:3]])]
    accepted: Ints = older[~outliers(stamps)[: len(older)]]
    accepted = accepted[~_mixed(accepted, newer, subbufs, chains)]
    shows[accepted] = True
    return accepted


def _mixed(accepted: Ints, newer: Ints, subbufs: Subbufs, chains: Chains) -> Mask:
    """Which of these, oldest first, were cleared before they were full: behind their last record lie older ones, and
    all that shows it is that time leaves what lies between their own stamp and the following ones, one of which may be
    damaged.
    """
    own, count = subbufs.time_stamp[accepted], len(accepted)
    ahead = subbufs.time_stamp[newer[:2]] if len(newer) else _NEVER
    along = np.concatenate([own, ahead, ahead[-1:]])
    latest = np.maximum(along[1 : count + 1], along[2 : count + 2])
    ends = chains.last_ts[accepted]
    mixed: Mask = (subbufs.size[accepted] == 0) & ((ends < own) | (ends > latest))
    return mixed


def _insert(strays: Ints, order: Ints, stamps: Stamps, last_ts: Stamps) -> Ints:
    """Put strays where the ring has them, in front; behind the commit page when they are newer than it."""
    if not len(strays) or not len(order):
        return np.concatenate([strays, order])
    newer = stamps[strays] >= last_ts[order[-1]]
    front, behind = strays[~newer], strays[newer]
    if len(front):
        # The reader page, or what follows a head page that lags behind, can be older than the strays.
        older = stamps[order] < stamps[front[0]]
        return np.concatenate([order[older], front, order[~older], behind])
    return np.concatenate([order, behind])
