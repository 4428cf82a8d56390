# SPDX-License-Identifier: Apache-2.0
"""Regions that lie behind one another in one input: the first one alone is opened, and the other one named."""

from __future__ import annotations

import lzma
from itertools import product

import numpy as np
import pytest

from rbdump.ring import find_regions, open_region, walk_region
from rbdump.ring.layout import LAYOUTS
from tests.conftest import SAMPLES, Run
from tests.ring.test_walk import SHAPES, assert_same, load, merged, rows, steady
from tests.ringwriter import Consume, RegionWriter

FAR = 0xFFA0000000000000
"""An address whose lower half, in the header of the first CPU of another layout, can pass for the size of a page."""
REGIONS = {path.parent.name: path for path in sorted(SAMPLES.glob("*/region.bin.xz"))}


def region(layout: str, cpus: int, nr_subbufs: int = 8, **options: object) -> RegionWriter:
    events = [steady(55 * nr_subbufs, cpu=cpu) for cpu in range(cpus)]
    return RegionWriter(events, layout=layout, nr_subbufs=nr_subbufs, **options)  # type: ignore[arg-type]


def assert_apart(one: RegionWriter, two: RegionWriter, gap: int, front: int = 0) -> None:
    """Each of two regions with ``gap`` bytes between them gives its own records, wherever it is opened."""
    data = load(bytes(front) + one.region() + bytes(gap) + two.region())
    second = front + one.size + gap
    first = open_region(data)
    assert (first.offset, first.other_regions) == (front, (second,))
    assert find_regions(data) == [front, second]
    assert not first.findings
    for offset, writer in ((front, one), (second, two)):
        opened = open_region(data, offset=offset)
        assert opened.layout.name == writer.layout
        assert [cpu.offset for cpu in opened.cpus] == [offset + at for at in writer.cpu_offsets]
        assert_same(rows(opened, walk_region(opened)), merged(writer, len(writer.rings)))


@pytest.mark.parametrize(("number", "layouts"), [*enumerate(product(LAYOUTS, LAYOUTS))], ids=str)
def test_any_two_layouts(number: int, layouts: tuple[str, str]) -> None:
    for at, ((cpus, count), (others, other_count), addr) in enumerate(
        [
            ((2, 8), (2, 8), None),
            ((2, 8), (2, 8), FAR),
            ((1, 8), (1, 8), FAR),
            ((1, 8), (3, 8), None),
            ((2, 12), (1, 5), FAR),
            ((2, 15), (4, 7), None),
        ]
    ):
        one, two = region(layouts[0], cpus, count), region(layouts[1], others, other_count, map_addr=addr)
        assert_apart(one, two, gap=(0, 4096, 65536)[(at + number) % 3])  # all with all would take 40 s


@pytest.mark.parametrize("layouts", [*product(["B", "B'", "C1", "C2"], repeat=2)], ids="-".join)
@pytest.mark.parametrize("gap", [32, 1000])
def test_a_gap_that_is_no_whole_page(layouts: tuple[str, str], gap: int) -> None:
    """As between the ranges of a LiME dump."""
    assert_apart(region(layouts[0], 2), region(layouts[1], 2), gap)


@pytest.mark.parametrize("shapes", [*product(SHAPES, SHAPES)], ids=str)
@pytest.mark.parametrize("layouts", [("B", "C2"), ("C2", "B"), ("B", "B"), ("C2", "C2")], ids="-".join)
def test_any_two_machines(shapes: tuple[tuple[str, int], tuple[str, int]], layouts: tuple[str, str]) -> None:
    one, two = (
        region(layout, 2, byteorder=order, long_size=size, subbuf_size=subbuf_size)
        for layout, (order, size), subbuf_size in zip(layouts, shapes, (4096, 16384), strict=True)
    )
    assert_apart(one, two, 0)
    assert_apart(two, one, 0, front=16384)


@pytest.mark.parametrize("layouts", [*product(["A", "B", "C2"], repeat=2)], ids="-".join)
def test_arrays_that_readers_wrote_wrong(layouts: tuple[str, str]) -> None:
    """A `buffers[]` that is no array of all indices does not hide whose header it is."""
    one, two = (
        RegionWriter(
            [[*steady(300, cpu=cpu), Consume(1)] for cpu in range(2)],
            layout=layout,
            nr_subbufs=24,
            swap_bug=True,
            map_addr=addr,
        )
        for layout, addr in zip(layouts, (None, FAR), strict=True)
    )
    opened = open_region(load(one.region() + two.region()))
    assert (len(opened.cpus), opened.other_regions) == (2, (one.size,))
    assert len(walk_region(opened)) == len(walk_region(open_region(load(one.region()))))


@pytest.mark.parametrize("layout", ["A", "B", "B'"])
def test_regions_that_were_mapped_in_another_order(layout: str) -> None:
    """Their headers are not taken for exchanged ones of the first region."""
    size = region(layout, 2).size
    base = region(layout, 2).map_addr
    data = b"".join(region(layout, 2, map_addr=base + size * place).region() for place in (0, 2, 1))
    opened = open_region(load(data))
    assert (len(opened.cpus), opened.other_regions) == (2, (size, 2 * size))


@pytest.mark.parametrize("layout", ["A", "B", "B'"])
@pytest.mark.parametrize("cpus", [2, 3])
@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_regions_that_were_mapped_one_after_the_other(layout: str, cpus: int, pages: int) -> None:
    """vmap() leaves one page free in between: the addresses can be one wrong bit away from those of more CPUs."""
    base = 0xFFA0000000100000 + pages * 4096
    one = region(layout, cpus, map_addr=base)
    two = region(layout, cpus, map_addr=base + one.size + 4096)
    opened = open_region(load(one.region() + two.region()))
    assert (len(opened.cpus), opened.other_regions, opened.findings) == (cpus, (one.size,), [])


@pytest.mark.parametrize("layout", ["A", "B", "B'"])
@pytest.mark.parametrize(
    ("cpus", "damaged", "distance", "pages"),
    [*product([3], [1], [4096, 3 << 12], range(4)), *product([4], [2], [4096], range(4)), (4, 0, -4096, 0)],
)
def test_an_address_that_is_pages_off_is_no_other_region(
    layout: str, cpus: int, damaged: int, distance: int, pages: int
) -> None:
    """Other CPUs of the region follow, and the regions of a machine have as many CPUs each."""
    one = region(layout, cpus, map_addr=0xFFA0000000100000 + pages * 4096)
    offset, size = one.header_field(damaged, "first")
    value = int.from_bytes(one.data[offset : offset + size], "little")
    one.poke(offset, size, value + distance)
    opened = open_region(load(one.region()))
    assert len(opened.cpus) == cpus
    assert [(found.code, found.cpu) for found in opened.findings if found.code == "first-buffer-mismatch"] == [
        ("first-buffer-mismatch", damaged)
    ]
    assert len(walk_region(opened)) == len(merged(one, cpus))


@pytest.mark.parametrize("second", ["A", "B", "C2"])
@pytest.mark.parametrize("gap", [0, 4096])
@pytest.mark.parametrize("bit", [0, 12, 13, 16, 40])
def test_a_damaged_size_in_front_of_another_region(second: str, gap: int, bit: int) -> None:
    one, two = region("C2", 3), region(second, 2)
    one.poke(8, 8, one.size ^ 1 << bit)
    opened = open_region(load(one.region() + bytes(gap) + two.region()))
    assert len(opened.cpus) == 3
    assert_same(rows(opened, walk_region(opened)), merged(one, 3))


@pytest.mark.parametrize("cpus", [2, 3, 6])
def test_a_size_that_damage_made_that_of_fewer_cpus(cpus: int) -> None:
    """CPUs whose headers are in order go on behind it."""
    one = region("C2", cpus)
    one.poke(8, 8, one.cpu_offsets[1])
    opened = open_region(load(one.region()))
    assert "total-size-mismatch" in {finding.code for finding in opened.findings}
    assert_same(rows(opened, walk_region(opened)), merged(one, cpus))


@pytest.mark.parametrize(
    ("first", "second", "broken"),
    [
        *product(["B", "B'"], ["B", "B'", "C1", "C2"], [0, 1, 2]),
        *product(["C1", "C2"], ["B", "B'", "C1", "C2"], [1, 2]),
    ],
)
def test_a_lost_header_in_front_of_another_region(first: str, second: str, broken: int) -> None:
    """The CPU is found by its sub-buffers, and those of the other region are left to it."""
    one, two = region(first, 3), region(second, 2)
    at = one.cpu_offsets[broken]
    one.data[at : at + one.cpu_header_size + 32] = bytes(one.cpu_header_size + 32)
    opened = open_region(load(bytes(4096) + one.region() + two.region()))
    assert (opened.offset, opened.other_regions) == (4096, (4096 + one.size,))
    assert_same(rows(opened, walk_region(opened)), merged(one, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("page", [1, 4])
def test_a_header_at_a_wrong_place_is_no_other_region(layout: str, page: int) -> None:
    """It has the addresses of this one."""
    one = region(layout, 3)
    at, other = one.cpu_offsets[2], one.subbuf_offset(2, page)
    one.data[at : at + 4096], one.data[other : other + 4096] = one.data[other : other + 4096], one.data[at : at + 4096]
    opened = open_region(load(one.region()))
    assert len(opened.cpus) == 3
    found = {row[:2] for row in rows(opened, walk_region(opened))}
    lost = {(ts, 2) for ts, _ in one.rings[2].subbufs[page].events}
    assert {row[:2] for row in merged(one, 3)} - lost <= found


@pytest.mark.parametrize("layout", [*LAYOUTS][1:])
def test_a_wild_first_address_does_not_cut_the_region(layout: str) -> None:
    """What makes no sense is no address of another mapping."""
    one = region(layout, 3)
    offset, size = one.header_field(0, "first")
    one.poke(offset, size, 0x123456789ABCDEF0)
    opened = open_region(load(one.region()))
    assert opened.other_regions == ()
    assert_same(rows(opened, walk_region(opened)), merged(one, 3))


def read(name: str) -> bytes:
    if name not in REGIONS:
        pytest.skip(f"no sample {name} in this checkout")
    return lzma.decompress(REGIONS[name].read_bytes())


PAIRS = [*product(["6.12.43-sched", "7.3.4-sched", "7.3.4-consumed", "armhf-6.12.107-sched"], repeat=2)]


@pytest.mark.parametrize("names", PAIRS, ids=" ".join)
@pytest.mark.parametrize("gap", [0, 65536])
def test_real_regions(names: tuple[str, str], gap: int) -> None:
    one, two = map(read, names)
    data = load(one + bytes(gap) + two)
    alone, first = open_region(load(one)), open_region(data)
    assert first.other_regions == (len(one) + gap,)
    assert first.findings == alone.findings
    for opened, raw in ((first, one), (open_region(data, offset=len(one) + gap), two)):
        expected, found = walk_region(open_region(load(raw))), walk_region(opened)
        assert np.array_equal(found.ts, expected.ts)
        assert np.array_equal(found.cpu, expected.cpu)
        assert np.array_equal(found.offset - opened.offset, expected.offset)


@pytest.mark.parametrize("names", [("6.12.43-sched", "7.3.4-sched"), ("7.3.4-sched", "6.12.43-sched")], ids=" ".join)
def test_the_other_region_is_named(names: tuple[str, str], run: Run) -> None:
    one, two = map(read, names)
    result = run("info", "-", stdin=one + two)
    assert b"other-regions" in result.stdout + result.stderr
    assert b"at 0x200000 (--offset opens another)" in result.stdout + result.stderr
