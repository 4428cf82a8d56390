# SPDX-License-Identifier: Apache-2.0
"""Events that were reserved when the machine died: never in the table, listed apart."""

from __future__ import annotations

from rbdump.ring import RecordState, open_region, walk_region, walk_uncommitted
from tests.ring.test_walk import load, steady
from tests.ringwriter import Consume, RegionWriter


def test_the_tail_of_the_commit_page() -> None:
    writer = RegionWriter([steady(300), steady(30, cpu=1)])
    index = writer.order(0)[-1]
    page = writer.rings[0].subbufs[index]
    writer.poke_commit(0, index, page.commit - 3 * 28)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert len(table) == 327
    assert not (table.state == RecordState.UNCOMMITTED).any()
    tail = walk_uncommitted(region)
    assert tail.ts.tolist() == [ts for ts, _ in steady(300)][-3:]
    assert set(tail.subbuf.tolist()) == {index}
    assert (tail.state == RecordState.UNCOMMITTED).all()
    assert not region.findings


def test_subbufs_that_a_nested_writer_had_entered() -> None:
    writer = RegionWriter([steady(320)])
    commit, tail = writer.order(0)[-2:]
    page = writer.rings[0].subbufs[commit]
    writer.poke_commit(0, commit, page.commit - 20 - 2 * 28)
    writer.poke_commit(0, tail, 0)
    offset, size = writer.header_field(0, "commit")
    value = int.from_bytes(writer.data[offset : offset + size], "little")
    writer.poke(offset, size, value - 4096)
    region = open_region(load(writer.region()))
    table, behind = walk_region(region), walk_uncommitted(region)
    assert table.ts.tolist() + behind.ts.tolist() == [ts for ts, _ in steady(320)]
    assert len(behind) == 2 + len(writer.rings[0].subbufs[tail].events)


def test_behind_the_reader_page_comes_the_head_page() -> None:
    """A reader has caught up and has the commit page; the writer goes on in the ring, where the head page is."""
    events = steady(5 * 145 + 20)  # 145 fill a sub-buffer
    writer = RegionWriter([[*events[: 4 * 145 + 9], Consume(9), *events[4 * 145 + 9 :]]])
    ring = writer.rings[0]
    commit, tail = writer.order(0)
    assert (commit, tail) == (ring.buffers[0], ring.buffers[ring.head])
    writer.poke_commit(0, commit, 143 * 28)
    writer.poke_commit(0, tail, 0)
    offset, size = writer.header_field(0, "first")
    first = int.from_bytes(writer.data[offset : offset + size], "little")
    writer.poke(writer.header_field(0, "commit")[0], size, first + 4096 * commit)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    behind = walk_uncommitted(region)
    assert behind.ts.tolist() == [ts for ts, _ in events[5 * 145 - 2 :]]
    assert table.ts.tolist()[-1] < behind.ts.tolist()[0]


def test_nothing_reserved_and_no_cpu() -> None:
    region = open_region(load(RegionWriter([steady(300), None, [*steady(200, cpu=2), Consume(9)]]).region()))
    walk_region(region)
    assert not len(walk_uncommitted(region))
