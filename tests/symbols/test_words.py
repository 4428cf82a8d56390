# SPDX-License-Identifier: Apache-2.0
"""Words of records that may be kernel addresses: those of places that hold addresses, and no stale bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.ring.records import RecordTable
from rbdump.symbols.words import kernel_words

LE64, BE64, LE32 = Abi("little", 8), Abi("big", 8), Abi("little", 4)
TEXT = {LE64: 0xFFFF_FFFF_8123_0000, BE64: 0x3FF_8123_0000, LE32: 0xC012_3000}


def records(abi: Abi, rows: Sequence[tuple[int, list[int]]], *, epoch: int = 0) -> tuple[np.ndarray, RecordTable]:
    """Records of these event ids with these words behind their struct trace_entry."""
    data, offsets, lengths = bytearray(), [], []
    for event_id, words in rows:
        data += bytes(4)
        offsets.append(len(data))
        payload = struct.pack(f"{abi.endian}HHi", event_id, 0, 1)
        payload += struct.pack(f"{abi.endian}{len(words)}{'Q' if abi.long_size == 8 else 'I'}", *words)
        lengths.append(len(payload))
        data += payload
    count = len(rows)
    zeros = np.zeros(count, np.int64)
    table = RecordTable(
        np.arange(count, dtype=np.uint64),
        zeros.astype(np.uint16),
        np.array(offsets, np.int64),
        np.array(lengths, np.int32),
        zeros.astype(np.int32),
        np.full(count, epoch, np.uint8),
        zeros.astype(np.uint8),
        zeros,
    )
    return np.frombuffer(bytes(data), np.uint8), table


@pytest.mark.parametrize("abi", list(TEXT))
def test_places_that_hold_addresses_count_and_stale_bytes_do_not(abi: Abi) -> None:
    text = TEXT[abi]
    rows = [(70, [text + 16 * n, 0 if n % 3 else text + 8, text + 4 if n == 5 else n]) for n in range(20)]
    data, table = records(abi, rows)
    words, counts = kernel_words(data, abi, table)
    near = words >> np.uint64(16) == text >> 16  # halves of two words look like an address too
    assert words[near].tolist() == sorted({text + 16 * n for n in range(20)} | {text + 8})
    assert counts[near].tolist() == [7 if word == text + 8 else 1 for word in words[near].tolist()]


def test_the_same_place_of_another_event_is_another_place() -> None:
    text = TEXT[LE64]
    data, table = records(LE64, [*((70, [5]) for _ in range(9)), (71, [text])])
    assert kernel_words(data, LE64, table)[0].tolist() == [text]


def test_long_stacks_are_one_place_at_their_end() -> None:
    text = TEXT[LE64]
    stack = [text + 4 * n for n in range(200)]
    data, table = records(LE64, [(5, stack)])
    assert set(stack) <= set(kernel_words(data, LE64, table)[0].tolist())


def test_other_boots_and_short_records_have_none() -> None:
    data, table = records(LE64, [(70, [TEXT[LE64]])], epoch=1)
    assert len(kernel_words(data, LE64, table)[0]) == 0
    data, table = records(LE64, [(70, [])])
    assert len(kernel_words(data, LE64, table)[0]) == 0
