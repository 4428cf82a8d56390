# SPDX-License-Identifier: Apache-2.0
"""What the writer writes, the walk reads: every layout, byte order, word size and sub-buffer size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.findings import Severity
from rbdump.ring import POLICIES, RecordState, RecordTable, Region, open_region, walk, walk_region
from rbdump.ring.layout import LAYOUTS
from tests.ringwriter import Consume, Discarded, Item, RegionWriter, Reset, Stamped

SHAPES = [(order, size) for order in ("little", "big") for size in (4, 8)]


def load(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def rows(region: Region, table: RecordTable) -> list[tuple[int, int, bytes]]:
    """(time stamp, cpu, payload) of each record, in order."""
    columns = zip(table.ts.tolist(), table.cpu.tolist(), table.offset.tolist(), table.length.tolist(), strict=True)
    return [(ts, cpu, region.data[offset : offset + length].tobytes()) for ts, cpu, offset, length in columns]


def merged(writer: RegionWriter, count: int) -> list[tuple[int, int, bytes]]:
    """The kernel's merge, taken literally: always the oldest next event, the lowest CPU among equals."""
    queues = [list(writer.events(cpu)) for cpu in range(count)]
    out = []
    while any(queues):
        cpu = min((cpu for cpu in range(count) if queues[cpu]), key=lambda cpu: queues[cpu][0][0])
        ts, payload = queues[cpu].pop(0)
        out.append((ts, cpu, payload))
    return out


def assert_same(found: list[tuple[int, int, bytes]], expected: list[tuple[int, int, bytes]]) -> None:
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for (_, _, payload), (_, _, wanted) in zip(found, expected, strict=True):
        assert payload[: len(wanted)] == wanted
        assert not payload[len(wanted) :].strip(b"\0")
        assert len(payload) - len(wanted) < 8 or len(wanted) < 4


def steady(count: int, *, cpu: int = 0, step: int = 10, size: int = 24) -> list[Item]:
    """``count`` events of ``size`` bytes, each different from all others."""
    return [
        (1000 + index * step + cpu, bytes([cpu, *index.to_bytes(4, "big")]).ljust(size, b"x")) for index in range(count)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("byteorder", "long_size"), SHAPES)
def test_every_layout(layout: str, byteorder: str, long_size: int) -> None:
    cpus = [steady(400), steady(50, cpu=1, step=7), None, steady(500, cpu=3)]
    writer = RegionWriter(cpus, layout=layout, byteorder=byteorder, long_size=long_size, nr_subbufs=6)
    region = open_region(load(writer.region()))
    assert region.layout.name == layout
    assert region.abi.byteorder == byteorder
    assert region.abi.long_size == long_size
    assert (region.subbuf_size, region.nr_subbufs, len(region.cpus)) == (4096, 6, 4)
    assert [cpu.online for cpu in region.cpus] == [True, True, False, True]
    table = walk_region(region)
    assert_same(rows(region, table), merged(writer, 4))
    assert not region.findings
    assert not table.lost.any()
    assert not table.epoch.any()


@pytest.mark.parametrize("subbuf_size", [4096, 8192, 16384, 32768, 65536])
@pytest.mark.parametrize("layout", ["B", "C2"])
def test_every_subbuf_size(layout: str, subbuf_size: int) -> None:
    cpus = [steady(9000, step=3), steady(700, cpu=1)]
    writer = RegionWriter(cpus, layout=layout, subbuf_size=subbuf_size, nr_subbufs=5)
    region = open_region(load(writer.region()))
    assert region.subbuf_size == subbuf_size
    assert_same(rows(region, walk_region(region)), merged(writer, 2))
    assert not region.findings


sizes = st.integers(1, 160) | st.integers(4000, 4060)
gaps = st.integers(0, 3) | st.integers(0, 1 << 20) | st.integers((1 << 27) - 2, (1 << 27) + 2) | st.integers(0, 1 << 40)


@st.composite
def streams(draw: st.DrawFn) -> list[Item]:
    ts = draw(st.integers(1, 1 << 50) | st.integers((1 << 59) - 100, (1 << 61)))
    items: list[Item] = []
    for gap, size, kind in draw(st.lists(st.tuples(gaps, sizes, st.sampled_from("eeeeeeds")), max_size=60)):
        crosses = ts < 1 << 59 <= ts + gap
        ts += gap
        payload = ts.to_bytes(8, "big") * (size // 8) + bytes(range(1, size % 8 + 1))
        if kind == "d":
            items.append(Discarded(ts, payload))
        elif (
            kind == "s" and not crosses
        ):  # the kernel gives a stamp the high bits of the time before, and there are none
            items.append(Stamped(ts, payload[:4000]))
        else:
            items.append((ts, payload))
    return items


@settings(max_examples=60, deadline=None)
@given(
    cpus=st.lists(streams() | st.none(), min_size=1, max_size=4),
    layout=st.sampled_from([*LAYOUTS]),
    shape=st.sampled_from(SHAPES),
    force_8byte=st.booleans(),
    nr_subbufs=st.integers(4, 9),
)
def test_written_is_read(
    cpus: list[list[Item] | None], layout: str, shape: tuple[str, int], force_8byte: bool, nr_subbufs: int
) -> None:
    writer = RegionWriter(
        cpus, layout=layout, byteorder=shape[0], long_size=shape[1], nr_subbufs=nr_subbufs, force_8byte=force_8byte
    )
    if layout == "A0" and not all(writer.events(cpu) for cpu in range(len(cpus))):
        return  # an empty CPU does not tell where its sub-buffers were mapped, and has nothing to lose
    region = open_region(load(writer.region()))
    assert_same(rows(region, walk_region(region)), merged(writer, len(cpus)))


def test_positions_in_64_bits_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(RegionWriter([steady(900), [*steady(90, cpu=1), Stamped(99_999, b"late")]]).region())
    narrow = walk_region(open_region(data))
    monkeypatch.setattr(walk, "_NARROW", 0)
    wide = walk_region(open_region(data))
    for column in ("ts", "cpu", "offset", "length", "subbuf"):
        assert np.array_equal(getattr(narrow, column), getattr(wide, column))
        assert getattr(narrow, column).dtype == getattr(wide, column).dtype


def test_wrapped_ring_shows_the_newest_laps() -> None:
    writer = RegionWriter([steady(5000), steady(4000, cpu=1, step=13)], nr_subbufs=5)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert len(table) < 1500
    assert_same(rows(region, table), merged(writer, 2))
    assert not region.findings


def test_discarded_records_take_no_time_as_for_the_kernels_readers() -> None:
    items: list[Item] = [(100, b"a" * 8), Discarded(150, b"b" * 8), (160, b"c" * 8), Stamped(200, b"d" * 8)]
    region = open_region(load(RegionWriter([items]).region()))
    assert walk_region(region).ts.tolist() == [100, 110, 200]
    assert [finding.code for finding in region.findings] == ["discarded-records"]


def test_consumed_subbufs_come_first() -> None:
    for kernel in ("6.12", "6.17"):
        writer = RegionWriter([[*steady(700), Consume(3, kernel)], steady(20, cpu=1)], nr_subbufs=12)
        region = open_region(load(writer.region()))
        table = walk_region(region)
        assert table.select(table.cpu == 0).ts.tolist() == [ts for ts, _ in steady(700)]
        assert (table.state == 1).any()
        strict = walk_region(region, policy="6.12")
        assert_same(rows(region, strict), merged(writer, 2))


def test_a_sub_buffer_that_was_cleared_half_full_and_read_hides_older_bytes() -> None:
    def events(begin: int, count: int, step: int) -> list[Item]:
        return [(begin + step * n, begin.to_bytes(4, "big") + bytes(20)) for n in range(count)]

    lap, half, after = events(1000, 1200, 100), events(200_000, 40, 10), events(200_500, 500, 10)
    writer = RegionWriter([[*lap, Consume(9), *half, Reset(), *after[:200], Consume(2), *after[200:]]], nr_subbufs=6)
    shown = walk_region(open_region(load(writer.region()))).ts.tolist()
    assert {ts for ts, _ in after} <= set(shown)
    assert set(shown) <= {ts for ts, _ in (*lap, *half, *after)}, "no time is made up"
    assert shown == sorted(shown)


@pytest.mark.parametrize("kernel", ["6.12", "6.17"])
def test_a_reader_that_keeps_up_goes_around_the_ring_and_hides_nothing(kernel: str) -> None:
    in_order = False
    for reads in range(9, 59):  # from then on it looks like one that was cleared, and read for the first time
        items: list[Item] = []
        for at, event in enumerate(steady(20 * reads, size=100)):
            items += [event, Consume(1, kernel)] if at % 20 == 19 else [event]
        writer = RegionWriter([items], nr_subbufs=6)
        ring = writer.rings[0]
        there = sorted(ts for subbuf in ring.subbufs for ts, _ in subbuf.events)
        assert walk_region(open_region(load(writer.region()))).ts.tolist() == there, ring.buffers
        in_order |= ring.buffers == sorted(ring.buffers)
    assert in_order, "after some laps every entry is where it was at first"


@pytest.mark.parametrize("kernel", ["6.12", "6.17", "7.2"])
@pytest.mark.parametrize(("laps", "taken"), [(0, 1), (0, 3), (2, 1), (2, 4)])
def test_a_reader_was_taking_the_head_page(kernel: Literal["6.12", "6.17", "7.2"], laps: int, taken: int) -> None:
    """rb_update_meta_reader() has swapped the entries of `buffers[]` and not yet moved the head pointer on."""
    writer = RegionWriter([[*steady(1200 * laps + 900), Consume(taken, kernel)], steady(300, cpu=1)])
    offset, size = writer.header_field(0, "first")
    first = int.from_bytes(writer.data[offset : offset + size], "little")
    writer.poke(writer.header_field(0, "head")[0], size, first + 4096 * writer.rings[0].buffers[0])
    region = open_region(load(writer.region()))
    table = walk_region(region)
    live = table.select(table.state == RecordState.LIVE)
    assert_same(rows(region, live), merged(writer, 2))
    assert not (table.state == RecordState.STRAY).any()
    assert {finding.code for finding in region.findings} - {"consumed", "stale"} == {"reader-swap"}
    for policy in POLICIES:
        assert set(walk_region(region, policy=policy).cpu.tolist()) == {1}, "the kernel finds no commit page"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clock_that_goes_backwards_is_no_damage(shape: tuple[Literal["little", "big"], Literal[4, 8]]) -> None:
    items: list[Item] = [*steady(40), *((ts - 300, payload) for ts, payload in steady(900)[40:])]
    writer = RegionWriter([items], byteorder=shape[0], long_size=shape[1], nr_subbufs=40)
    region = open_region(load(writer.region()))
    assert_same(rows(region, walk_region(region)), merged(writer, 1))
    found = [(finding.severity, finding.code) for finding in region.findings]
    assert found == [(Severity.WARNING, "clock-backwards")]
