# SPDX-License-Identifier: Apache-2.0
"""The symbol tables that a kernel carries inside itself (scripts/kallsyms.c writes them, kernel/kallsyms.c reads them).

All labels are gone from a stripped image, so the tables are found by their structure and no count is believed
before the tables agree about it. Two neighbours are unmistakable: ``kallsyms_token_table``, 256 NUL-terminated
strings of which 48 to 57 are the digits, and ``kallsyms_token_index``, the 256 offsets of these strings. Before
them lie ``kallsyms_markers`` (the offset of every 256th name), ``kallsyms_names`` and ``kallsyms_num_syms``.

The addresses have moved and changed over time:

=============  ==========================================================  ======================================
kernel         where                                                       what
=============  ==========================================================  ======================================
before 4.6     in front of kallsyms_num_syms                               pointers
4.6 to 6.3     in front of kallsyms_num_syms, kallsyms_relative_base last  u32 from the base; or, where per-CPU
6.4 to 6.19    behind kallsyms_token_index, kallsyms_relative_base last    symbols are absolute, s32: >= 0 is a
                                                                           value, < 0 is base - 1 - s32
7.0 and later  behind kallsyms_token_index                                 s32 from the entry's own address; a
                                                                           fixed 32-bit kernel: the address itself
=============  ==========================================================  ======================================

Markers were pointers wide before 5.0. Names of 128 tokens and more (since 6.1) have a length of two bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.kernel.memory import find_bytes
from rbdump.kernel.symboldata import Names

__all__ = ["Encoding", "Tables", "decode_names", "find_tables"]

Octets = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]

_DIGITS = b"".join(bytes((code, 0)) for code in b"0123456789")
_FIRST_DIGIT = 0x30
_MAX_TOKEN_TABLE = 0x10000
_MAX_SYMBOLS = 4_000_000
_MAX_TOKEN = 1024
_MAX_NAMES = 1 << 28
_MAX_KERNEL = 1 << 30
_MAX_BLOCK = 256 * 192
"""Bytes that 256 names take at most, for all that is known of real names (about 12 each)."""
_MAX_RUNS = 32
_OVERRUN = 4
_MAX_TRIES = 4096
"""Chance matches that are followed up; a real table is among the first few."""
_BLOCK = 256
"""Names for each marker."""


class Encoding(Enum):
    """What the table of addresses holds."""

    POINTERS = "pointers"
    BASE_RELATIVE = "unsigned offsets from kallsyms_relative_base"
    ABSOLUTE_PERCPU = "offsets from kallsyms_relative_base below 0, values from 0"
    PLACE_RELATIVE = "offsets from the entry"
    ADDRESSES_32 = "32-bit addresses"


@dataclass(frozen=True, slots=True)
class Tables:
    """Where the tables lie: positions are bytes from the start of the data that was searched."""

    abi: Abi
    count: int
    """Number of symbols."""
    names: int
    marks: Index
    """Offset of every 256th name from `names`."""
    token_table: int
    token_index: Index
    """Offset of each token from `token_table`, and the end of the last."""
    encoding: Encoding
    values: int
    """Position of the table of addresses."""
    relative_base: int | None
    """Position of kallsyms_relative_base, a pointer; None where the encoding has none."""

    def offsets(self, data: Octets) -> npt.NDArray[np.int64]:
        """The table of addresses as it is stored, as signed integers (POINTERS: bit patterns)."""
        size = self.abi.long_size if self.encoding is Encoding.POINTERS else 4
        signed = self.encoding in (Encoding.ABSOLUTE_PERCPU, Encoding.PLACE_RELATIVE)
        stored = np.ndarray((self.count,), self.abi.dtype(size, signed=signed), buffer=data, offset=self.values)
        return stored.astype(np.int64)


def find_tables(data: Octets, abis: tuple[Abi, ...]) -> Tables | None:
    """The tables of a kernel in memory order, tried as each of ``abis``; None when there are none that agree."""
    for position in islice(_digit_runs(data), 64):
        for abi in abis:
            for table, index_at, index in _token_tables(data, position, abi):
                found = _names_before(data, table, abi)
                if found is None:
                    continue
                count_at, names, marks, count = found
                values = _values(data, abi, count, count_at, index_at + 512)
                if values is not None:
                    return Tables(abi, count, names, marks, table, index, *values)
    return None


def _digit_runs(data: Octets) -> Iterator[int]:
    """Positions of the ten digits as strings, one after the other."""
    at = find_bytes(data, _DIGITS)
    while at >= 0:
        yield at
        at = find_bytes(data, _DIGITS, at + 1)


def _token_tables(data: Octets, position: int, abi: Abi) -> Iterator[tuple[int, int, Index]]:
    """(token table, token index, offsets) for the digit strings at ``position``, where an index agrees with them."""
    after = data[position : position + _MAX_TOKEN_TABLE]
    nuls = np.flatnonzero(after == 0)
    if len(nuls) < 256 - _FIRST_DIGIT:
        return
    end = position + int(nuls[255 - _FIRST_DIGIT]) + 1
    for index_at in _aligned_after(end, abi):
        if index_at + 512 > len(data):
            return
        index = np.ndarray((256,), abi.dtype(2), buffer=data, offset=index_at).astype(np.int64)
        table = position - int(index[_FIRST_DIGIT])
        if index[0] != 0 or table < 0 or not bool((np.diff(index) > 0).all()):
            continue
        index = np.append(index, end - table)
        if index[-1] > index[-2] and int(np.diff(index).max()) <= _MAX_TOKEN and not data[table + index[1:] - 1].any():
            yield table, index_at, index
            return


def _names_before(data: Octets, table: int, abi: Abi) -> tuple[int, int, Index, int] | None:
    """(position of num_syms, position of the names, markers, number of symbols) in front of the token table."""
    for size in (4, abi.long_size) if abi.long_size != 4 else (4,):
        for marks_at, marks in _marker_runs(data, table, abi.dtype(size), size):
            for count_at, names, count in islice(_counts_before(data, marks_at, marks, abi), _MAX_TRIES):
                if _chain_agrees(data, names, marks, count):
                    return count_at, names, marks, count
    return None


def _marker_runs(data: Octets, table: int, dtype: np.dtype[np.generic], size: int) -> Iterator[tuple[int, Index]]:
    """Runs of integers that begin with 0 and grow like markers, nearest to the token table first.

    kallsyms_seqs_of_names (three bytes a symbol) lies between in 6.2 and 6.3.
    """
    reach = min(table, 3 * _MAX_SYMBOLS + 8 * (_MAX_SYMBOLS // _BLOCK))
    begin = (table - reach + size - 1) // size * size
    count = (table - begin) // size
    if count < 1:
        return
    words = np.ndarray((count,), dtype, buffer=data, offset=begin).astype(np.int64)
    steps = np.diff(words, append=0)
    grows = (steps >= 2 * _BLOCK) & (steps <= _MAX_BLOCK)
    stops = np.flatnonzero(~grows)
    starts = np.flatnonzero(words == 0)
    lengths = stops[np.searchsorted(stops, starts)] - starts + 1
    many = lengths >= 2
    runs = sorted(zip(starts[many].tolist(), lengths[many].tolist(), strict=True), key=lambda run: -run[0])
    for start, length in runs[:_MAX_RUNS]:
        for shorter in range(length, max(1, length - _OVERRUN), -1):  # what follows may look like more of them
            yield begin + start * size, words[start : start + shorter]
    # a small kernel has a single marker, the last word that is not padding
    for back in range(1, 4):
        if count >= back and not words[count - back :].any():
            yield begin + (count - back) * size, words[count - back : count - back + 1]


def _counts_before(data: Octets, marks_at: int, marks: Index, abi: Abi) -> Iterator[tuple[int, int, int]]:
    """Places where a plausible kallsyms_num_syms is followed by names that could end at the markers."""
    low, high = (len(marks) - 1) * _BLOCK + 1, len(marks) * _BLOCK
    end = marks_at - int(marks[-1])
    begin = max(0, end - _MAX_BLOCK) // 4 * 4
    if end - begin < 8:
        return
    words = np.ndarray(((end - begin) // 4,), abi.dtype(4), buffer=data, offset=begin).astype(np.int64)
    for word in np.flatnonzero((words >= low) & (words <= high))[::-1].tolist():
        count, at = int(words[word]), begin + 4 * word
        if abi.byteorder == "big" and abi.long_size == 8 and words[word - 1 : word] == 0:
            at -= 4  # the low half of an unsigned long, as before 5.0, or chance
            yield from ((at, names, count) for names in _aligned_after(at + 8, abi))
            at += 4
        yield from ((at, names, count) for names in _aligned_after(at + 4, abi))


def _aligned_after(position: int, abi: Abi) -> list[int]:
    """Where the next label can be. ``.align`` of older kernels meant a power of two on some machines (arm, arm64)."""
    return list(dict.fromkeys(-(-position // alignment) * alignment for alignment in _alignments(abi)))


def _alignments(abi: Abi) -> tuple[int, ...]:
    return (8, 256, 4) if abi.long_size == 8 else (4, 16)


def _chain_agrees(data: Octets, names: int, marks: Index, count: int) -> bool:
    """Whether the lengths of the first names lead to the second marker (or, with one, through all names)."""
    position, wanted = names, names + int(marks[1]) if len(marks) > 1 else None
    for _ in range(min(count, _BLOCK)):
        if position + 2 > len(data):
            return False
        length = int(data[position])
        if length == 0:
            return False
        position += 1
        if length & 0x80:
            length = length & 0x7F | int(data[position]) << 7
            position += 1
        position += length
    return position == wanted if wanted is not None else position <= len(data)


Values = tuple[Encoding, int, int | None]


def _values(data: Octets, abi: Abi, count: int, count_at: int, behind: int) -> Values | None:
    """The table of addresses: it is the one whose entries, read in the right way, never go down."""
    word = abi.long_size
    for at in _aligned_after(behind, abi):
        for base in _aligned_after(at + 4 * count, abi):
            found = _from_base(data, abi, count, at, base)
            if found is not None:
                return found
    # Since 7.0 the table is aligned to its entries: one entry further it would hardly look worse.
    without = _without_base(data, abi, count, -(-behind // 4) * 4)
    if without is not None:
        return without
    for alignment in _alignments(abi):
        base = count_at - max(alignment, word)
        at = base - -(-4 * count // alignment) * alignment
        if at >= 0 and (found := _from_base(data, abi, count, at, base)):
            return found
    for alignment in _alignments(abi):
        at = count_at - -(-word * count // alignment) * alignment
        if at >= 0:
            stored = np.ndarray((count,), abi.dtype(word), buffer=data, offset=at)
            if bool((stored[1:] >= stored[:-1]).all()) and int(stored[-1]) > int(stored[0]):
                return Encoding.POINTERS, at, None
    return None


def _entries(data: Octets, abi: Abi, count: int, at: int) -> Index | None:
    """The signed entries of a table at ``at``, if there can be one."""
    if at + 4 * count > len(data):
        return None
    stored = np.ndarray((count,), abi.dtype(4, signed=True), buffer=data, offset=at).astype(np.int64)
    # few symbols share an address
    return stored if int(np.count_nonzero(np.diff(stored))) >= count // 2 else None


def _from_base(data: Octets, abi: Abi, count: int, at: int, base: int) -> Values | None:
    stored = _entries(data, abi, count, at)
    if stored is None or base + abi.long_size > len(data):
        return None
    unsigned = stored & 0xFFFF_FFFF
    # the first offset is not always 0: the base is that of a symbol which may have been left out
    if 0 < unsigned[-1] < _MAX_KERNEL and bool((unsigned[1:] >= unsigned[:-1]).all()):
        return Encoding.BASE_RELATIVE, at, base
    below = stored < 0
    split = int(np.argmax(below)) if below.any() else count
    if 0 < split < count and bool(below[split:].all()) and stored[split] == -1:
        rising, falling = stored[:split], stored[split:]
        if bool((rising[1:] >= rising[:-1]).all() and (falling[1:] <= falling[:-1]).all()):
            return Encoding.ABSOLUTE_PERCPU, at, base
    if split == 0 and stored[0] == -1 and bool((stored[1:] <= stored[:-1]).all()):
        return Encoding.ABSOLUTE_PERCPU, at, base
    return None


def _without_base(data: Octets, abi: Abi, count: int, at: int) -> Values | None:
    stored = _entries(data, abi, count, at)
    if stored is None:
        return None
    unsigned = stored & 0xFFFF_FFFF
    if abi.long_size == 4 and unsigned[0] >= _MAX_KERNEL // 16 and bool((unsigned[1:] >= unsigned[:-1]).all()):
        return Encoding.ADDRESSES_32, at, None
    places = stored + 4 * np.arange(count)
    return (Encoding.PLACE_RELATIVE, at, None) if bool((places[1:] >= places[:-1]).all()) else None


def decode_names(data: Octets, tables: Tables) -> tuple[Names, npt.NDArray[np.uint8]] | None:
    """All names (expanded, without their type letter) and all type letters; None when the names do not add up."""
    headers = _name_positions(data, tables)
    if headers is None:
        return None
    starts, lengths = headers
    total = int(lengths.sum())
    begins = np.cumsum(lengths) - lengths
    compressed = data[np.repeat(starts - begins, lengths) + np.arange(total)]
    index = tables.token_index
    token_lengths = np.diff(index) - 1
    sizes = token_lengths[compressed]
    ends = np.cumsum(sizes)
    expanded = int(ends[-1])
    if expanded > _MAX_NAMES:
        return None
    tokens = data[tables.token_table : tables.token_table + int(index[-1])]
    blob = tokens[np.repeat(index[compressed] - (ends - sizes), sizes) + np.arange(expanded)]
    name_ends = ends[begins + lengths - 1]
    name_starts = np.append(0, name_ends[:-1])
    if bool((name_ends <= name_starts).any()):
        return None
    return Names(blob.tobytes(), name_starts + 1, name_ends), blob[name_starts]


def _name_positions(data: Octets, tables: Tables) -> tuple[Index, Index] | None:
    """Position and number of the tokens of each name: all blocks of 256 names advance in lockstep."""
    blocks = len(tables.marks)
    cursor = tables.names + tables.marks
    starts = np.zeros((blocks, _BLOCK), np.int64)
    lengths = np.zeros((blocks, _BLOCK), np.int64)
    limit = len(data) - 2
    for step in range(_BLOCK):
        live = blocks if step < (tables.count - 1) % _BLOCK + 1 else blocks - 1
        if not live:
            break
        here = cursor[:live]
        if int(here.max()) > limit:
            return None
        length = data[here].astype(np.int64)
        big = length >= 0x80
        if big.any():
            length = np.where(big, length & 0x7F | data[here + 1].astype(np.int64) << 7, length)
        starts[:live, step] = here + 1 + big
        lengths[:live, step] = length
        cursor[:live] = here + 1 + big + length
    if blocks > 1 and not np.array_equal(cursor[:-1], tables.names + tables.marks[1:]):
        return None
    starts, lengths = starts.ravel()[: tables.count], lengths.ravel()[: tables.count]
    if int((starts + lengths).max()) > len(data) or int(lengths.min()) < 1:
        return None
    return starts, lengths
