# SPDX-License-Identifier: Apache-2.0
"""A region is read from an ELF core dump that has all of it, and refused from one that leaves pages of it out."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import rbdump
from rbdump.abi import Abi
from rbdump.errors import NotARegionError
from tests.ringwriter import write_region


def core_dump(abi: Abi, segments: list[tuple[int, int, bytes]]) -> bytes:
    """An ELF core dump: for each segment its virtual and physical address, and what the file has of it."""
    wide = abi.long_size == 8
    order = "<" if abi.byteorder == "little" else ">"
    head, row = ("HHIQQQIHHHHHH", "IIQQQQQQ") if wide else ("HHIIIIIHHHHHH", "IIIIIIII")
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if abi.byteorder == "little" else 2, 1]) + bytes(9)
    sizes = 16 + struct.calcsize("<" + head), struct.calcsize("<" + row)
    count = len(segments)
    out = ident + struct.pack(order + head, 4, 62, 1, 0, sizes[0], 0, 0, sizes[0], sizes[1], count, 0, 0, 0)
    at = sizes[0] + sizes[1] * count
    for vaddr, paddr, data in segments:
        middle = (7, at, vaddr, paddr) if wide else (at, vaddr, paddr)
        out += struct.pack(order + row, 1, *middle, len(data), 1 << 24, *(() if wide else (7,)), 4096)
        at += len(data)
    return out + b"".join(data for _, _, data in segments)


@pytest.mark.parametrize("abi", [Abi("little", 8), Abi("big", 4)])
def test_a_core_dump_without_the_zero_pages_of_a_region(tmp_path: Path, abi: Abi) -> None:
    region = write_region(
        [[(ts, bytes(16)) for ts in range(1000, 2000)]], byteorder=abi.byteorder, long_size=abi.long_size
    )
    half = len(region) // 8192 * 4096
    path = tmp_path / "vmcore"

    def opened(*segments: tuple[int, int, bytes]) -> rbdump.Trace:
        path.write_bytes(core_dump(abi, list(segments)))
        return rbdump.open(str(path))

    parts = region[:half], region[half:]
    assert opened((0x1000, 0x100000, region)).region.size == len(region)
    assert opened((0x1000, 0x100000, parts[0]), (0x1000 + half, 0x100000 + half, parts[1])).region.size == len(region)
    assert opened((0x1000, 0x100000, parts[0]), (0x1000 + half, 0, parts[1])).region.size == len(region)
    with pytest.raises(NotARegionError, match=r"lacks pages .* rd -p -r region\.bin 0x100000 BYTES"):
        opened((0x1000, 0x100000, parts[0]), (0x9000 + half, 0x108000 + half, parts[1]))
