# SPDX-License-Identifier: Apache-2.0
"""Finding a region and opening it: junk around it, several in one file, broken headers, truncation."""

from __future__ import annotations

import random
import struct
import time

import numpy as np
import pytest

from rbdump.errors import NotARegionError, UsageError
from rbdump.findings import Severity
from rbdump.ring import MAX_OTHER_REGIONS, Region, SubbufState, find_regions, open_region, walk_region
from rbdump.ring.geometry import nr_subbufs_for
from rbdump.ring.identify import identify
from rbdump.ring.layout import LAYOUTS
from rbdump.ring.structs import member_offset
from tests.ring.test_walk import SHAPES, assert_same, load, merged, rows, steady
from tests.ringwriter import RegionWriter, write_region

MAGIC_LAYOUTS = ["B", "B'", "C1", "C2", "C2-inject"]


def junk(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def codes(region: Region) -> set[str]:
    return {finding.code for finding in region.findings}


@pytest.mark.parametrize("layout", MAGIC_LAYOUTS)
@pytest.mark.parametrize("front", [4096, 8, 1000, 13, 5_003])
def test_junk_in_front_and_behind(layout: str, front: int) -> None:
    writer = RegionWriter([steady(300), steady(200, cpu=1)], layout=layout)
    data = junk(front) + writer.region() + junk(50_000, 2)
    region = open_region(load(data))
    assert region.offset == front
    assert len(region.cpus) == 2
    assert_same(rows(region, walk_region(region)), merged(writer, 2))
    assert open_region(load(data), offset=front).offset == front
    assert not {finding for finding in region.findings if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("layout", ["A0", "A", "A'"])
def test_junk_around_a_region_without_magic(layout: str) -> None:
    writer = RegionWriter([steady(300), steady(200, cpu=1)], layout=layout)
    region = open_region(load(junk(8192) + writer.region() + junk(10_000, 2)))
    assert (region.offset, region.layout.name) == (8192, layout)
    assert_same(rows(region, walk_region(region)), merged(writer, 2))


def test_several_regions_in_one_file() -> None:
    one, two = write_region([steady(50)], layout="B"), write_region([steady(60)], layout="C2", byteorder="big")
    data = load(junk(4096) + one + junk(4096, 2) + two + junk(100, 3))
    second = 4096 + len(one) + 4096
    assert find_regions(data) == [4096, second]
    region = open_region(data)
    assert (region.offset, region.other_regions) == (4096, (second,))
    assert len(walk_region(open_region(data, offset=second))) == 60


@pytest.mark.parametrize("layout", [*LAYOUTS][1:])
@pytest.mark.parametrize("map_addr", [0xFF11000010000000, 0xFFA0000000A51000])
def test_two_regions_without_a_gap(layout: str, map_addr: int) -> None:
    """Era B has nothing that says where a region ends but the addresses, which do not go on."""
    one = RegionWriter([steady(50), steady(20, cpu=1)], layout=layout)
    two = RegionWriter([steady(60), steady(30, cpu=1)], layout=layout, map_addr=map_addr)
    data = load(one.region() + two.region())
    region = open_region(data)
    assert region.other_regions == (one.size,)
    assert_same(rows(region, walk_region(region)), merged(one, 2))
    other = open_region(data, offset=one.size)
    assert_same(rows(other, walk_region(other)), merged(two, 2))


@pytest.mark.parametrize("gap", [0, 4096, 65536])
@pytest.mark.parametrize(("first", "second"), [(a, b) for a in LAYOUTS for b in MAGIC_LAYOUTS if a != b])
def test_two_regions_of_different_layouts(first: str, second: str, gap: int) -> None:
    """Two of the same size look like the four CPUs that the room of both would have."""
    one = RegionWriter([steady(150), steady(120, cpu=1)], layout=first)
    two = RegionWriter([steady(160), steady(130, cpu=1)], layout=second)
    data = load(one.region() + bytes(gap) + two.region())
    region = open_region(data, offset=0)
    assert len(region.cpus) == 2
    assert_same(rows(region, walk_region(region)), merged(one, 2))
    if first in MAGIC_LAYOUTS:  # a region with a magic is found before one without
        region = open_region(data)
        assert (region.offset, len(region.cpus), region.other_regions) == (0, 2, (one.size + gap,))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("damaged", [7, 5, 4])
def test_a_number_of_subbufs_made_smaller_by_damage_loses_nothing(layout: str, damaged: int) -> None:
    """The begin of an array that is in order is an array in order: the header looks intact."""
    raw = write_region([steady(420)], layout=layout, nr_subbufs=8)
    region = open_region(load(raw))
    assert region.nr_subbufs == 8
    at = region.cpus[0].offset + member_offset(region.structs.cpu_meta, "nr_subbufs")
    hurt = open_region(load(raw[:at] + damaged.to_bytes(4, "little") + raw[at + 4 :]))
    assert hurt.nr_subbufs == 8
    assert len(walk_region(hurt)) == len(walk_region(region)) == 420


def test_regions_without_end_are_not_all_looked_for() -> None:
    one = write_region([steady(5)], layout="C1", nr_subbufs=3)
    data = load(one * (MAX_OTHER_REGIONS + 9))
    assert len(find_regions(data)) == MAX_OTHER_REGIONS + 9
    assert open_region(data).other_regions == tuple(range(len(one), (MAX_OTHER_REGIONS + 1) * len(one), len(one)))


@pytest.mark.parametrize("data", [b"", b"\0" * 100_000, b"text\n" * 30_000, junk(200_000), b"\x1f\x8b" + junk(5000)])
def test_what_is_no_region(data: bytes) -> None:
    with pytest.raises(NotARegionError):
        open_region(load(data))
    assert find_regions(load(data)) == []


def test_no_region_at_an_offset() -> None:
    data = load(write_region([steady(5)]))
    for offset in (8, 4096):
        with pytest.raises(UsageError, match=f"--offset {offset:#x}: no region begins there, but one at 0x0"):
            open_region(data, offset=offset)
    with pytest.raises(NotARegionError, match="at offset 0x1000, nor anywhere else"):
        open_region(load(junk(9000)), offset=4096)
    for offset in (len(data), -1):
        with pytest.raises(UsageError, match=f"{offset:#x} lies outside of the input, which ends at {len(data):#x}"):
            open_region(data, offset=offset)


@pytest.mark.parametrize("layout", ["B", "B'", "C1", "C2", "C2-inject"])
@pytest.mark.parametrize("broken", [0, 1, 2, 3])
@pytest.mark.parametrize("front", [0, 4096])
def test_the_header_of_one_cpu_is_destroyed(layout: str, broken: int, front: int) -> None:
    writer = RegionWriter([steady(300, cpu=cpu) for cpu in range(4)], layout=layout, slack=4096 if front else 0)
    at = writer.cpu_offsets[broken]
    size = writer.cpu_header_size + 4 * writer.nr_subbufs
    writer.data[at : at + size] = junk(size)
    region = open_region(load(bytes(front) + writer.region()))
    assert region.offset == front
    assert [cpu.offset for cpu in region.cpus] == [front + offset for offset in writer.cpu_offsets]
    assert_same(rows(region, walk_region(region)), merged(writer, 4))
    assert {finding.cpu for finding in region.findings} == {broken}
    assert set(walk_region(region, policy="7.2").cpu.tolist()) == {0, 1, 2, 3} - {broken}


@pytest.mark.parametrize("name", ["first", "head", "commit", "subbuf_size", "nr_subbufs"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cpu", [0, 1])
def test_one_broken_word_costs_nothing(name: str, layout: str, cpu: int) -> None:
    if layout == "A0" and name == "first":
        pytest.skip("A0 has no first_buffer")
    writer = RegionWriter([steady(400), steady(300, cpu=1)], layout=layout)
    offset, size = writer.header_field(cpu, name)
    for bit in (0, 3, 12, 14, 8 * size - 1):
        value = int.from_bytes(writer.data[offset : offset + size], "little")
        writer.poke(offset, size, value ^ (1 << bit))
        region = open_region(load(writer.region()))
        found = sorted(rows(region, walk_region(region)))
        assert_same(found, sorted(merged(writer, 2)))
        writer.poke(offset, size, value)


@pytest.mark.parametrize("layout", ["C1", "C2", "C2-inject"])
@pytest.mark.parametrize(("right", "wrong"), [(4096, 8192), (4096, 65536), (8192, 4096), (16384, 4096), (65536, 16384)])
def test_the_size_of_the_region_tells_the_sub_buffer_size_of_an_only_cpu(layout: str, right: int, wrong: int) -> None:
    writer = RegionWriter([steady(right // 6)], layout=layout, subbuf_size=right)
    writer.poke(*writer.header_field(0, "subbuf_size"), wrong)
    for behind in (b"", bytes(100_000)):
        region = open_region(load(writer.region() + behind))
        assert (region.subbuf_size, region.nr_subbufs, len(region.cpus)) == (right, 8, 1)
        assert_same(rows(region, walk_region(region)), merged(writer, 1))
        assert [finding.code for finding in region.findings] == ["subbuf-size-mismatch"]


@pytest.mark.parametrize("offset", [0, 4, 8, 16])
@pytest.mark.parametrize("bit", [0, 7, 13, 30])
def test_a_broken_global_header(offset: int, bit: int) -> None:
    writer = RegionWriter([steady(300), steady(200, cpu=1)])
    value = int.from_bytes(writer.data[offset : offset + 4], "little")
    writer.poke(offset, 4, value ^ (1 << bit))
    region = open_region(load(writer.region()))
    assert region.layout.name == "C2"
    assert_same(rows(region, walk_region(region)), merged(writer, 2))
    assert codes(region) & {
        "magic-mismatch",
        "struct-size-mismatch",
        "total-size-mismatch",
        "buffers-offset-mismatch",
        "truncated",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncated_input_shows_what_is_there(layout: str) -> None:
    writer = RegionWriter([steady(1000), steady(1000, cpu=1)], layout=layout)
    cut = writer.subbuf_offset(1, 3) + 2000
    region = open_region(load(writer.region()[:cut]))
    table = walk_region(region)
    assert "truncated" in codes(region)
    expected = [row for row in merged(writer, 2) if row[1] == 0]
    assert_same([row for row in rows(region, table) if row[1] == 0], expected)
    other = [row for row in rows(region, table) if row[1] == 1]
    assert_same(other, [row for row in merged(writer, 2) if row[1] == 1][: len(other)])
    assert len(other) > 2 * 140
    assert (region.cpus[1].subbufs.state == SubbufState.MISSING).any()
    inside = writer.subbuf_offset(0, 2)
    shorter = open_region(load(writer.region()[:inside]))
    assert len(walk_region(shorter)) == len(writer.rings[0].subbufs[1].events)


@pytest.mark.parametrize(
    ("layout", "size", "cpus", "count"),
    [
        ("B", 1 << 20, 2, 127),
        ("C2", 1 << 20, 2, 126),
        ("B", 192 << 10, 2, 23),
        ("C2", 192 << 10, 2, 22),
        ("B", 8 << 20, 2, 1022),
        ("C2", 8 << 20, 2, 1021),
        ("B", 4 << 20, 2, 511),
        ("C2", 4 << 20, 2, 510),
    ],
)
def test_the_kernels_number_of_subbufs(layout: str, size: int, cpus: int, count: int) -> None:
    identity = identify(load(write_region([[]], layout=layout)), 0)
    assert identity is not None
    assert nr_subbufs_for(identity, size, cpus, 4096) == count


@pytest.mark.parametrize(("byteorder", "long_size"), SHAPES)
def test_a_wild_number_of_modules(byteorder: str, long_size: int) -> None:
    writer = RegionWriter([steady(30)], byteorder=byteorder, long_size=long_size, modules=[("a", 1)])
    entries = 8 + 2 * long_size + 2 * long_size
    writer.poke(entries, long_size, 1 << 30)
    region = open_region(load(writer.region()))
    assert region.modules == ()
    assert "module-count" in codes(region)
    assert len(walk_region(region)) == 30


def test_many_cpus() -> None:
    cpus = [steady(5, cpu=cpu) if cpu % 3 else None for cpu in range(200)]
    writer = RegionWriter(cpus, nr_subbufs=3)
    region = open_region(load(writer.region()))
    assert len(region.cpus) == 200
    assert_same(rows(region, walk_region(region)), merged(writer, 200))


def test_a_region_inside_a_core_dump_like_file() -> None:
    region_bytes = write_region([steady(77)], layout="B")
    header = b"\x7fELF" + struct.pack("<4B", 2, 1, 1, 0) + bytes(4084)
    region = open_region(np.frombuffer(header + region_bytes, np.uint8))
    assert region.offset == 4092
    assert len(walk_region(region)) == 77


@pytest.mark.parametrize("second", [56, 48, 0x00180020, 0x00180028, 4096])
def test_magics_without_a_region_take_no_time(second: int) -> None:
    spam = np.tile(np.frombuffer(struct.pack("<II", 0x0BADFEED, second), np.uint8), 1 << 17)
    start = time.process_time()
    with pytest.raises(NotARegionError):
        open_region(spam)
    assert time.process_time() - start < 5
