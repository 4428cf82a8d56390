# SPDX-License-Identifier: Apache-2.0
"""The dangerous traps of the format that concern the ring, one test each or more, named by their number.

Two of the fifteen belong to the floors above: 11 (event ids shift between kernels) and 14 (strings behind pointers).
"""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.ring import RecordState, Region, SubbufState, open_region, walk_region
from tests.ring.test_walk import SHAPES, assert_same, load, merged, rows, steady
from tests.ringwriter import Consume, Discarded, Missed, Reboot, RegionWriter, Reset, Stamped


def codes(region: Region) -> set[str]:
    return {finding.code for finding in region.findings}


def test_trap_01_the_second_word_selects_the_layout() -> None:
    words = {}
    for layout in ("B", "B'", "C1", "C2", "C2-inject"):
        for long_size in (8, 4):
            data = RegionWriter([steady(5)], layout=layout, long_size=long_size).region()
            words[layout, long_size] = int.from_bytes(data[4:8], "little")
            assert open_region(load(data)).layout.name == layout
    assert words["B", 8] == 56
    assert words["B'", 8] == 48
    assert words["C2", 8] == words["C1", 8] == 0x00180020
    assert words["C2-inject", 8] == 0x00180028
    assert words["B", 4] == 36
    assert words["C2", 4] == 0x00100014
    assert words["C2-inject", 4] == 0x0010001C


def test_trap_02_cpus_are_counted_and_offline_is_no_damage() -> None:
    for layout in ("B", "C2"):
        cpus = [steady(20), None, None, steady(30, cpu=3), None]
        region = open_region(load(RegionWriter(cpus, layout=layout).region()))
        walk_region(region)
        assert [cpu.online for cpu in region.cpus] == [True, False, False, True, False]
        assert not region.findings


def test_trap_02_only_differences_of_addresses_count() -> None:
    for addr in (0xFF11000010000000, 0xFFA0000000400000, 0, (1 << 64) - 0x8000):
        writer = RegionWriter([steady(400), steady(400, cpu=1)], map_addr=addr)
        region = open_region(load(writer.region()))
        assert_same(rows(region, walk_region(region)), merged(writer, 2))
        assert not region.findings


def test_trap_03_chunk_0_of_era_c_is_not_page_aligned() -> None:
    # 990 entries of 4 bytes and 32 of header still end in the page of 0x2030; 1011 do only if the header is left out.
    for count in (990, 1003, 1004, 1011, 1020):
        writer = RegionWriter([steady(300), steady(300, cpu=1)], nr_subbufs=count)
        region = open_region(load(writer.region()))
        assert [cpu.offset for cpu in region.cpus] == writer.cpu_offsets
        assert writer.cpu_offsets[0] == 0x2030
        assert writer.cpu_offsets[1] % 4096 == 0
        assert [cpu.data_offset for cpu in region.cpus] == writer.data_offsets
        assert_same(rows(region, walk_region(region)), merged(writer, 2))


@pytest.mark.parametrize(("layout", "count", "right"), [("B", 1022, set()), ("C2", 1021, {0})])
def test_trap_04_buffers_one_too_large_are_repaired(layout: str, count: int, right: set[int]) -> None:
    """The header of the first CPU of era C is not page-aligned: there other numbers of sub-buffers are affected."""
    items = [*steady(900), Consume(4), *[(ts + 10**6, payload) for ts, payload in steady(900)], Consume(2)]
    writer = RegionWriter([items, items], layout=layout, nr_subbufs=count, swap_bug=True)
    region = open_region(load(writer.region()))
    assert {"buffers-duplicate", "buffers-repaired"} <= codes(region)
    for cpu, ring in zip(region.cpus, writer.rings, strict=True):
        assert cpu.buffers is not None
        assert cpu.buffers.tolist() == ring.buffers
    table = walk_region(region)
    live = table.select(table.state == RecordState.LIVE)
    assert_same(rows(region, live), merged(writer, 2))
    assert {*walk_region(region, policy="6.12").cpu.tolist()} == right, "the kernel throws the others away"


@pytest.mark.parametrize("kernel", ["6.12", "6.17"])
def test_trap_04_the_reader_has_everything(kernel: str) -> None:
    """The reader page is the newest one then."""
    writer = RegionWriter([[*steady(2280, size=40), Consume(60, kernel)]], layout="B", nr_subbufs=1020, swap_bug=True)
    region = open_region(load(writer.region()))
    assert "buffers-repaired" in codes(region)
    assert region.cpus[0].buffers is not None
    assert region.cpus[0].buffers.tolist() == writer.rings[0].buffers


def test_trap_05_position_0_is_the_reader_page_and_the_ring_wraps_to_1() -> None:
    writer = RegionWriter([[*steady(1300), Consume(1)]], nr_subbufs=5)
    region = open_region(load(writer.region()))
    cpu, ring = region.cpus[0], writer.rings[0]
    assert cpu.reader == ring.buffers[0] != 0
    assert ring.tail < ring.head, "the ring goes around its end"
    strict = walk_region(region, policy="6.12")
    assert_same(rows(region, strict), merged(writer, 1))
    assert cpu.subbufs.state[cpu.reader] == SubbufState.READER


@pytest.mark.parametrize(("byteorder", "long_size"), SHAPES)
@pytest.mark.parametrize(("count", "lost"), [(None, -1), (7, 7)])
def test_trap_06_commit_flags(byteorder: str, long_size: int, count: int | None, lost: int) -> None:
    items = [*steady(200), Missed(count)]
    writer = RegionWriter([items], byteorder=byteorder, long_size=long_size)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert_same(rows(region, table), merged(writer, 1))
    flagged = writer.order(0)[-1]
    assert region.cpus[0].subbufs.missed[flagged]
    assert region.cpus[0].subbufs.size[flagged] == writer.rings[0].subbufs[flagged].commit
    first = int(np.flatnonzero(table.subbuf == flagged)[0])
    assert table.lost[first] == lost
    assert np.count_nonzero(table.lost) == 1


def test_trap_06_a_discarded_subbuf_has_a_made_up_time_stamp() -> None:
    writer = RegionWriter([steady(500)])
    index = writer.order(0)[1]
    writer.poke_commit(0, index, -(1 << 31))
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert index not in table.subbuf
    assert region.cpus[0].subbufs.state[index] == SubbufState.DISCARDED
    following = int(np.flatnonzero(table.subbuf == writer.order(0)[2])[0])
    assert table.lost[following] == -1
    assert {"discarded", "missed-events"} <= codes(region)


@pytest.mark.parametrize("kernel", ["6.12", "6.17", "7.2"])
def test_trap_07_the_rewind_differs_by_release(kernel: str) -> None:
    writer = RegionWriter([[*steady(900), Consume(4, kernel)]], nr_subbufs=12)
    region = open_region(load(writer.region()))
    everything = steady(900)
    kept = [event[0] for event in writer.events(0)]
    assert walk_region(region, policy="6.12").ts.tolist() == kept
    rewound = [ts for ts, _ in everything] if kernel == "6.17" else kept
    assert walk_region(region, policy="6.17").ts.tolist() == rewound
    assert walk_region(region, policy="7.2").ts.tolist() == rewound
    table = walk_region(region)
    if kernel == "7.2":
        assert table.ts.tolist() == kept
        assert np.count_nonzero(region.cpus[0].subbufs.state == SubbufState.STALE) == 3
        assert "stale" in codes(region)
    else:
        assert table.ts.tolist() == [ts for ts, _ in everything], "the reader page follows what was read before it"
        assert "consumed" in codes(region)


def test_trap_07_only_later_kernels_skip_what_is_invalid() -> None:
    writer = RegionWriter([[*steady(900), Consume(5, "6.17")]], nr_subbufs=12)
    bad = writer.rings[0].buffers[writer.rings[0].head - 2]
    writer.poke(writer.subbuf_offset(0, bad) + 16, 4, 0)
    region = open_region(load(writer.region()))
    counts = {policy: len(walk_region(region, policy=policy)) for policy in ("6.12", "6.17", "7.2")}
    assert counts["6.12"] < counts["6.17"] < counts["7.2"] < 900


def test_trap_08_what_an_erased_cpu_leaves_is_no_error() -> None:
    writer = RegionWriter([None, steady(300, cpu=1)])
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert set(table.cpu.tolist()) == {1}
    assert not region.findings


def test_trap_08_a_cleared_buffer_is_not_shown_and_not_silent() -> None:
    again = [(10**6 + ts, payload) for ts, payload in steady(30)]
    writer = RegionWriter([[*steady(700), Reset(), *again]], nr_subbufs=12)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert table.ts.tolist() == [ts for ts, _ in again]
    assert "stale" in codes(region)


@pytest.mark.parametrize("layout", ["B", "C2"])
def test_trap_09_two_boots_in_one_ring(layout: str) -> None:
    first = [[(10**9 + ts, p) for ts, p in steady(700, cpu=cpu)] for cpu in (0, 1)]
    second = [steady(500, cpu=cpu) for cpu in (0, 1)]
    cpus = [[*a, Reboot(), *b] for a, b in zip(first, second, strict=True)]
    writer = RegionWriter(cpus, layout=layout, nr_subbufs=20)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert sorted(set(table.epoch.tolist())) == [0, 1]
    last = table.select(table.epoch == 0)
    assert last.ts.tolist() == sorted(ts for events in second for ts, _ in events)
    assert (np.diff(table.epoch.astype(int)) <= 0).all(), "the older boot comes first and is never mixed in"
    assert (table.select(table.epoch == 1).ts >= 10**9).all()
    assert "several-boots" in codes(region)
    mixed = walk_region(region, policy="6.12")
    assert len(mixed) == len(table)
    assert not mixed.epoch.any(), "the kernel mixes them"


@pytest.mark.parametrize(("later", "said"), [(0, True), (-(10**9), False)])
def test_trap_09_a_cpu_that_may_have_been_silent_in_the_last_boot(later: int, said: bool) -> None:
    old = [(10**9 + ts, payload) for ts, payload in steady(700)]
    alone = [(10**9 + later + ts, payload) for ts, payload in steady(300, cpu=1)]
    region = open_region(load(RegionWriter([[*old, Reboot(), *steady(500)], alone], nr_subbufs=20).region()))
    assert not walk_region(region).select(walk_region(region).cpu == 1).epoch.any()
    assert ("boot-uncertain" in codes(region)) == said


def test_trap_10_what_text_addr_means_differs() -> None:
    b = open_region(load(RegionWriter([steady(3)], layout="B", text_addr=0xFFFFFFFF81234560).region()))
    assert (b.text_addr, b.kaslr_offset) == (0xFFFFFFFF81234560, None)
    slide = open_region(load(RegionWriter([steady(3)], layout="B'").region()))
    assert (slide.text_addr, slide.kaslr_offset) == (None, 0x5000000)
    modules = [("ext4", 0xFFFFFFFFC0001000), ("xfs", 0xFFFFFFFFC0101000)]
    c = open_region(load(RegionWriter([steady(3)], text_addr=0xFFFFFFFF9E000000, modules=modules, clock_id=2).region()))
    assert (c.text_addr, c.clock_name) == (0xFFFFFFFF9E000000, "counter")
    assert [(module.name, module.addr) for module in c.modules] == modules
    never = open_region(load(RegionWriter([steady(3)], text_addr=0).region()))
    assert never.text_addr is None
    c1 = open_region(load(RegionWriter([steady(3)], layout="C1").region()))
    assert c1.clock_name is None


def test_trap_12_padding_time_extends_and_absolute_stamps() -> None:
    top = 3 << 60
    items = [
        (top + 5, b"first"),
        (top + 5 + (1 << 27), b"extended"),
        Discarded(top + 100 + (1 << 27), b"discarded"),
        (top + 110 + (1 << 27), b"early"),
        Stamped(top + 500 + (1 << 40), b"stamped"),
        (top + 501 + (1 << 40), b"last"),
    ]
    for byteorder, long_size in SHAPES:
        writer = RegionWriter([items], byteorder=byteorder, long_size=long_size)
        region = open_region(load(writer.region()))
        readers = [5, 5 + (1 << 27), 15 + (1 << 27), 500 + (1 << 40), 501 + (1 << 40)]
        assert walk_region(region).ts.tolist() == [top + ts for ts in readers]


def test_trap_12_absolute_stamps_that_wrap_59_bits() -> None:
    edge = 3 << 59
    items = [(edge - 10, b"before"), Stamped(edge + 20, b"behind")]
    region = open_region(load(RegionWriter([items]).region()))
    assert walk_region(region).ts.tolist() == [edge - 10, edge + 20]


def test_trap_13_payload_lengths_are_padded() -> None:
    sizes = [1, 4, 5, 8, 9, 13, 112, 113, 116, 200]
    items = [(100 + index, b"x" * size) for index, size in enumerate(sizes)]
    region = open_region(load(RegionWriter([items]).region()))
    # A total of 12 bytes is written as 16; large events hold their own length in 4 bytes more.
    assert walk_region(region).length.tolist() == [4, 4, 12, 12, 12, 16, 112, 116, 116, 200]
    region = open_region(load(RegionWriter([items], force_8byte=True).region()))
    assert walk_region(region).length.tolist() == [8, 8, 8, 8, 16, 16, 112, 120, 120, 200]


def test_trap_15_nothing_behind_a_commit_is_shown() -> None:
    lap = steady(2000)
    writer = RegionWriter([lap], nr_subbufs=5)
    commit = writer.order(0)[-1]
    page = writer.rings[0].subbufs[commit]
    assert any(page.data[page.commit :]), "an older lap's events lie behind the commit"
    region = open_region(load(writer.region()))
    assert_same(rows(region, walk_region(region)), merged(writer, 1))
