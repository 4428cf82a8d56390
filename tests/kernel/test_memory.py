# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from rbdump.abi import Abi
from rbdump.kernel.memory import ImageMemory, Segment, find_bytes


def octets(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


MEMORY = ImageMemory(
    [
        Segment(0x3000, octets(b""), 16),
        Segment(0x1000, octets(b"hello\0world"), 0),
        Segment(0x2000, octets(b"\x00\x01\x00\x02end"), 4),
    ],
    Abi("big", 4),
)


def test_read_stops_where_the_image_does() -> None:
    assert MEMORY.read(0x1000, 5) == b"hello"
    assert MEMORY.read(0x1006, 100) == b"world"
    assert MEMORY.read(0x2004, 100) == b"end" + bytes(4)
    assert MEMORY.read(0x3008, 100) == bytes(8)
    assert MEMORY.read(0x100B, 1) == MEMORY.read(0xFFF, 4) == MEMORY.read(1 << 63, 4) == b""
    assert MEMORY.read(0x1000, 0) == MEMORY.read(0x1000, -1) == b""


def test_strings() -> None:
    assert MEMORY.cstring(0x1000) == "hello"
    assert MEMORY.cstring(0x1006) is None  # no NUL before the image ends
    assert MEMORY.cstring(0x2004) == "end"  # cleared memory follows
    assert MEMORY.cstring(0x3000) == ""
    assert MEMORY.cstring(0x500) is None
    long = ImageMemory([Segment(0, octets(b"a" * 5000 + b"\0"))], Abi("little", 8))
    assert long.cstring(0) == "a" * 5000
    assert ImageMemory([Segment(0, octets(b"a" * (1 << 17) + b"\0"))], Abi("little", 8)).cstring(0) is None


def test_arrays_are_native() -> None:
    assert MEMORY.array(0x2000, 2, 2).tolist() == [1, 2]
    assert MEMORY.array(0x2000, 2, 2).dtype.isnative
    assert MEMORY.array(0x1000, 100, 4).tolist() == [0x68656C6C, 0x6F00776F]
    assert MEMORY.array(0x2007, 2, 2).tolist() == [0, 0]
    assert MEMORY.array(0x3000, 4, 4).tolist() == [0, 0, 0, 0]
    assert MEMORY.array(0x9000, 4, 8).tolist() == []
    assert MEMORY.array(0x1000, 0, 8).tolist() == MEMORY.array(0x1000, -5, 8).tolist() == []


def test_a_longer_segment_goes_on_behind_a_nested_one() -> None:
    memory = ImageMemory([Segment(0, octets(b"0123456789")), Segment(4, octets(b"xy"))], Abi("little", 8))
    assert memory.read(4, 1) == b"x"
    assert memory.read(6, 2) == b"67"


def test_find_bytes() -> None:
    data = octets(b"abcabc")
    assert [find_bytes(data, b"bc"), find_bytes(data, b"bc", 2), find_bytes(data, b"bc", 5)] == [1, 4, -1]
