# SPDX-License-Identifier: Apache-2.0
"""Walks the records of many sub-buffers in lockstep: step k reads the k-th record header of every one still alive.

Mirrors rb_event_length(), rb_update_iter_read_stamp() and rb_read_data_buffer() of kernel/trace/ring_buffer.c.
A record begins with a 32-bit header (5 bits type_len, 27 bits time_delta; the first declared bit-field is the
lowest on little endian, the highest on big endian) and is a multiple of 4 bytes long.

Time: a discarded record keeps its time_delta, the kernel's readers skip it and its validator adds it. The columns
follow the readers, so that a line has the time that the kernel itself prints; `Walked.check_ts` follows the
validator.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi

__all__ = ["ChainError", "Walked", "Words", "walk_chains"]

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]
Stamps = npt.NDArray[np.uint64]

PADDING = 29
TIME_EXTEND = 30
DELTA_BITS = np.uint64(27)
HIGH_BITS = np.uint64(0xF800_0000_0000_0000)
"""Bits that a 59-bit absolute time stamp does not hold."""

_LENGTH = np.array([0, *range(2, 30), 0, 0, 0], np.int32)
"""Words of a small data record by type_len; 0 for those that need a closer look."""
_NOTHING = np.empty(0, np.intp)
_NARROW = (1 << 31) - (1 << 16)
"""Words of an input whose positions are kept in 32 bits, with room for a step over the end."""


class ChainError(IntEnum):
    """Why the chain of records of a sub-buffer ended before its committed bytes did."""

    NONE = 0
    NULL_PADDING = 1
    """Padding without length: whatever follows is void."""
    BAD_LENGTH = 2
    """A length that no record can have: too small or no multiple of 4."""
    OVERRUN = 3
    """A record that is longer than what is left."""


@dataclass(frozen=True, slots=True)
class Words:
    """The input as native 32-bit words beginning at byte ``offset`` of the input."""

    words: npt.NDArray[np.uint32]
    offset: int
    big: bool
    """The dump is big endian."""
    swapped: bool
    """The dump is in the other byte order than this machine."""

    @classmethod
    def of(cls, data: npt.NDArray[np.uint8], offset: int, abi: Abi) -> Words:
        """Words of ``data`` from ``offset`` on; copies only when they would not be aligned."""
        part = data[offset : offset + (len(data) - offset) // 4 * 4]
        if part.ctypes.data % 4:
            part = part.copy()
        return cls(part.view(np.uint32), offset, abi.byteorder == "big", abi.byteorder != sys.byteorder)

    def take(self, index: Ints | Small) -> npt.NDArray[np.uint32]:
        """Words at ``index`` in native byte order; an index behind the end reads the last word."""
        words = self.words.take(index, mode="clip")
        return words.byteswap(inplace=True) if self.swapped else words


@dataclass(slots=True)
class Walked:
    """What the walk found in each sub-buffer (arrays of one item each), and the records themselves."""

    nr_events: Ints
    last_ts: Stamps
    """Time of the last record as a reader of the kernel computes it."""
    check_ts: Stamps
    """Time of the last record as the kernel's validator computes it."""
    stop: Ints
    """Word index where the walk ended."""
    error: npt.NDArray[np.uint8]
    """A `ChainError`."""
    backwards: Ints
    """Word index of the first absolute time stamp that lies before the time reached; -1 none."""
    stalled: npt.NDArray[np.bool_]
    """Holds a time extend of 0: what rb_add_timestamp() writes where the trace clock went backwards."""
    discarded: Ints
    """Discarded records that carry time, the fillers at the end left out."""
    discarded_time: Stamps
    """Time that these carry together."""
    steps: list[tuple[Ints, Small, Stamps, Small, Small, npt.NDArray[np.intp]]] = field(default_factory=list)
    """Per step: sub-buffer, ordinal of the event in it, time stamp, word index and words of the payload, and which of
    these rows have no event."""

    def place(self, first_row: Ints, rows: int) -> tuple[Stamps, Small, Small, Small]:
        """Columns (ts, word index, payload words, sub-buffer) of the events, of sub-buffer i from ``first_row[i]`` on.

        Sub-buffers with a negative first row are left out. Empties ``steps``, to hold the events only once.
        """
        # one row more, for what is no event or not shown
        ts = np.empty(rows + 1, np.uint64)
        pos = np.empty(rows + 1, self.steps[0][3].dtype if self.steps else np.int32)
        length = np.empty(rows + 1, np.int32)
        hidden = first_row < 0
        some_hidden = bool(hidden[self.nr_events > 0].any())
        while self.steps:
            subs, ordinals, stamps, words, lengths, without = self.steps.pop()
            row = first_row[subs]
            row += ordinals
            if some_hidden:
                row[hidden[subs]] = rows
            row[without] = rows
            ts[row] = stamps
            pos[row] = words
            length[row] = lengths
        shown = np.flatnonzero(~hidden & (self.nr_events > 0))
        shown = shown[np.argsort(first_row[shown])]
        return ts[:rows], pos[:rows], length[:rows], np.repeat(shown.astype(np.int32), self.nr_events[shown])


def walk_chains(words: Words, begin: Ints, end: Ints, base_ts: Stamps) -> Walked:
    """Walk the records in ``[begin, end)`` (word indices) of each sub-buffer, whose header says ``base_ts``.

    Takes at most one step for each 8 bytes of the longest sub-buffer, whatever the bytes are.
    """
    count = len(begin)
    out = Walked(
        nr_events=np.zeros(count, np.int64),
        last_ts=base_ts.copy(),
        check_ts=base_ts.copy(),
        stop=begin.copy(),
        error=np.zeros(count, np.uint8),
        backwards=np.full(count, -1, np.int64),
        stalled=np.zeros(count, np.bool_),
        discarded=np.zeros(count, np.int64),
        discarded_time=np.zeros(count, np.uint64),
    )
    sub = np.flatnonzero(begin < end)
    walker = _Lockstep(words, out, sub, begin[sub], end[sub], base_ts[sub])
    while len(walker.sub):
        walker.step()
    return out


class _Lockstep:
    """The sub-buffers still alive, as compact columns that shrink when one reaches its end."""

    def __init__(self, words: Words, out: Walked, sub: Ints, pos: Ints, end: Ints, ts: Stamps) -> None:
        self.words = words
        self.out = out
        self.sub = sub
        width: Any = np.int32 if len(words.words) < _NARROW else np.int64
        self.pos: Small = pos.astype(width)
        self.end: Small = end.astype(width)
        self.ts = ts
        self.events = np.zeros(len(sub), np.int32)
        self.skew = np.zeros(len(sub), np.uint64)
        """What the validator has added to the time and the readers have not: the time of discarded records."""

    def step(self) -> None:
        """Read one record of each sub-buffer."""
        header = self.words.take(self.pos)
        if self.words.big:
            kind = header >> np.uint32(27)
            delta = header & np.uint32(0x07FFFFFF)
        else:
            kind = header & np.uint32(31)
            delta = header >> np.uint32(5)
        length = _LENGTH.take(kind)
        payload = self.pos + 1
        special = np.flatnonzero(length == 0)
        without = self._take_special(special, kind, delta, length, payload) if len(special) else _NOTHING
        following = self.pos + length
        over = following > self.end
        if over.any():
            row = np.flatnonzero(over)
            self._end_with(row, np.uint8(ChainError.OVERRUN))
            following[row] = self.pos[row]
            delta[row] = 0
            without = np.concatenate([without, row])
        self.ts += delta
        self.out.steps.append((self.sub, self.events, self.ts.copy(), payload, following - payload, without))
        self.events = self.events + np.int32(1)
        self.events[without] -= 1
        self.pos = following
        alive = following < self.end
        if not alive.all():
            self._retire(alive)

    def _take_special(
        self,
        row: npt.NDArray[np.intp],
        kind: npt.NDArray[np.uint32],
        delta: npt.NDArray[np.uint32],
        length: Small,
        payload: Small,
    ) -> npt.NDArray[np.intp]:
        """Fill in the columns of the rows that hold no small data record; returns those that hold no event at all."""
        out, pos = self.out, self.pos[row]
        rest = self.end[row] - pos
        array0 = self.words.take(pos + 1).astype(np.int64)
        kinds, deltas = kind[row], delta[row].astype(np.uint64)
        sized = kinds < TIME_EXTEND  # large data and padding: array[0] counts its own 4 bytes
        words = np.where(sized, (array0 >> 2) + 1, 2)
        error = np.zeros(len(row), np.uint8)
        error[sized & ((array0 < 4) | (array0 & 3 != 0))] = ChainError.BAD_LENGTH
        error[words > rest] = ChainError.OVERRUN
        error[(rest < 2) & sized] = ChainError.OVERRUN
        error[(kinds == PADDING) & (deltas == 0)] = ChainError.NULL_PADDING
        good = error == 0
        length[row] = np.where(good, words, 0)
        if not good.all():
            self._end_with(row[~good], error[~good])

        dropped = good & (kinds == PADDING) & (deltas > 1)
        if dropped.any():
            self.skew[row[dropped]] += deltas[dropped]
            out.discarded[self.sub[row[dropped]]] += 1
            out.discarded_time[self.sub[row[dropped]]] += deltas[dropped]
        timed = good & (kinds >= TIME_EXTEND)
        if timed.any():
            stamps = (array0[timed].astype(np.uint64) << DELTA_BITS) + deltas[timed]
            self._set_time(row[timed], kinds[timed], stamps)
        payload[row] += 1
        without: npt.NDArray[np.intp] = row[~good | (kinds >= PADDING)]
        delta[without] = 0
        return without

    def _end_with(self, row: npt.NDArray[np.intp], error: npt.NDArray[np.uint8] | np.uint8) -> None:
        """The chains of these rows end where they are."""
        self.out.error[self.sub[row]] = error
        self.end[row] = self.pos[row]

    def _set_time(self, row: Ints, kind: npt.NDArray[np.uint32], stamp: Stamps) -> None:
        """Apply time extends (relative) and time stamps (absolute, the low 59 bits only)."""
        extend = kind == TIME_EXTEND
        self.ts[row[extend]] += stamp[extend]
        self.out.stalled[self.sub[row[extend & (stamp == 0)]]] = True
        row, stamp = row[~extend], stamp[~extend]
        if not len(row):
            return
        checked = self.ts[row] + self.skew[row]
        behind = row[_fix_abs(stamp, checked) < checked]
        behind = behind[self.out.backwards[self.sub[behind]] < 0]
        self.out.backwards[self.sub[behind]] = self.pos[behind]
        self.ts[row] = _fix_abs(stamp, self.ts[row])
        self.skew[row] = 0

    def _retire(self, alive: npt.NDArray[np.bool_]) -> None:
        """Record the final state of those that end here and keep the others."""
        out, done, left = self.out, np.flatnonzero(~alive), np.flatnonzero(alive)
        sub = self.sub[done]
        out.nr_events[sub] = self.events[done]
        out.last_ts[sub] = self.ts[done]
        out.check_ts[sub] = self.ts[done] + self.skew[done]
        out.stop[sub] = self.pos[done]
        self.sub, self.pos, self.end = self.sub[left], self.pos[left], self.end[left]
        self.ts, self.events, self.skew = self.ts[left], self.events[left], self.skew[left]


def _fix_abs(stamp: Stamps, reached: Stamps) -> Stamps:
    """Give absolute stamps the high bits of the time reached so far (rb_fix_abs_ts)."""
    high = reached & HIGH_BITS
    fixed = stamp | high
    wrapped = (high != 0) & (fixed < reached)
    return np.where(wrapped, fixed + (np.uint64(1) << np.uint64(59)), fixed)
