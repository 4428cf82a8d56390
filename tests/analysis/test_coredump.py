# SPDX-License-Identifier: Apache-2.0
"""Dumps of all memory: a region is read from those that have it whole, and refused from others, which are named."""

from __future__ import annotations

import lzma
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

import rbdump
from rbdump.abi import Abi
from rbdump.analysis.coredump import torn_at
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


def test_as_many_segments_as_a_core_dump_can_have_that_all_hold_the_region() -> None:
    """Made to be slow: each has it at another address."""
    count = 65534
    row = struct.Struct("<IIQQQQQQ")
    head = core_dump(Abi("little", 8), [])[:56] + struct.pack("<4H", count, 0, 0, 0)
    table = b"".join(row.pack(1, 7, at, 7 * at, 3 * at * at, 4 << 20, 0, 0) for at in range(count))
    data = np.frombuffer((head + table).ljust(8 << 20, b"\0"), np.uint8)
    assert torn_at(data, 4 << 19, 4 << 19) is None
    begin = time.process_time()
    assert torn_at(data, 4 << 19, 4 << 20) == 4 << 19
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("magic", "words"),
    [
        (b"QEVM\0\0\0\3", "a QEMU migration stream"),
        (b"LibvirtQemudSave", "a save file of libvirt"),
        (b"QFI\xfb\0\0\0\3", "a qcow2 image"),
        (b"KDUMP   ", "a compressed kdump"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_holds_memory_page_by_page_is_no_damaged_region(
    tmp_path: Path, magic: bytes, words: str, jobs: int
) -> None:
    path = tmp_path / "memory"
    path.write_bytes(magic.ljust(4096, b"\0") + write_region([[(1000, bytes(16))] * 9]))
    with pytest.raises(NotARegionError, match=f"no persistent ring buffer lies whole in the input; it .* {words}"):
        rbdump.open(str(path), jobs=jobs)
    assert rbdump.open(str(path), offset=4096, jobs=jobs).region.offset == 4096


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_region_in_what_is_left_of_a_compressed_file(tmp_path: Path, jobs: int) -> None:
    path = tmp_path / "memory.xz"
    path.write_bytes(lzma.compress(os.urandom(1 << 20))[:-5000])
    with pytest.raises(
        NotARegionError, match=r"looks like binary .*; the xz stream ends in the middle; \d+ bytes could"
    ):
        rbdump.open(str(path), jobs=jobs)
