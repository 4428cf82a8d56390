# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.kernel.files.relocations import RELATIVE, apply_rela, find_rela
from rbdump.kernel.memory import Segment

BASE = 0xFFFF_8000_8000_0000
NO_SYMBOLS = np.zeros(1, np.uint64)


def octets(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


def rela(abi: Abi, rows: list[tuple[int, int, int]]) -> bytes:
    return b"".join(struct.pack(abi.endian + "QQQ", *row) for row in rows)


@pytest.mark.parametrize(("machine", "order"), [("aarch64", "little"), ("s390x", "big"), ("ppc64le", "little")])
def test_stores_addends(machine: str, order: str) -> None:
    abi = Abi(order, 8)  # type: ignore[arg-type]
    table = rela(
        abi,
        [
            (BASE + 8, RELATIVE[machine], 0x1122_3344_5566_7788),
            (BASE + 17, RELATIVE[machine], 5),  # unaligned
            (BASE + 33, RELATIVE[machine], 6),  # reaches behind the segment
            (BASE - 8, RELATIVE[machine], 7),
            (BASE, 999, 8),  # another kind
        ],
    )
    segment = Segment(BASE, octets(bytes(40)))
    (moved,) = apply_rela([segment], [octets(table)], NO_SYMBOLS, abi, machine)
    expected = bytearray(40)
    expected[8:16] = (0x1122_3344_5566_7788).to_bytes(8, order)  # type: ignore[arg-type]
    expected[17:25] = (5).to_bytes(8, order)  # type: ignore[arg-type]
    assert moved.data.tobytes() == bytes(expected)
    assert not segment.data.any(), "the file stays as it is"


def test_unknown_machines_stay_as_they_are() -> None:
    segment = Segment(BASE, octets(bytes(40)))
    table = octets(rela(Abi("little", 8), [(BASE, 8, 1)]))
    assert apply_rela([segment], [table], NO_SYMBOLS, Abi("little", 8), "unknown") == [segment]
    assert apply_rela([segment], [table[:10]], NO_SYMBOLS, Abi("little", 8), "aarch64") == [segment]


@pytest.mark.parametrize("shift", [0, 8, 16])
def test_finds_the_table_by_its_shape(shift: int) -> None:
    abi = Abi("little", 8)
    table = rela(abi, [(BASE + 8 * n, 1027, BASE + n) for n in range(100)])
    data = octets(bytes(4800 + shift) + table + bytes(800))
    assert find_rela(data, abi, "aarch64").tobytes() == table
    assert len(find_rela(data, abi, "s390x")) == 0


def test_other_tables_with_such_a_column_do_not_count() -> None:
    abi = Abi("big", 8)
    same = octets(rela(abi, [(0x100000, 12, n) for n in range(100)]) + bytes(4096))
    small = octets(rela(abi, [(n, 12, n) for n in range(100)]) + bytes(4096))
    wide = octets(rela(abi, [(0x100000 + n * 100_000, 12, n) for n in range(100)]) + bytes(4096))
    for data in (same, small, wide, octets(bytes(4096)), octets(b"")):
        assert len(find_rela(data, abi, "s390x")) == 0
