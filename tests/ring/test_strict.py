# SPDX-License-Identifier: Apache-2.0
"""The kernel's own validation, release by release: what it refuses, and that every refusal is said."""

from __future__ import annotations

import pytest

from rbdump.ring import Policy, SubbufState, default_policy, open_region, walk_region
from tests.ring.test_walk import load, steady
from tests.ringwriter import Consume, RegionWriter

POLICY_OF = {"A": "6.12", "B": "6.12", "B'": "6.12", "C1": "6.12", "C2": "7.2", "C2-inject": "7.2"}


@pytest.mark.parametrize(("layout", "policy"), POLICY_OF.items())
def test_the_default_follows_the_layout(layout: str, policy: str) -> None:
    assert default_policy(open_region(load(RegionWriter([steady(9)], layout=layout).region()))) == policy


@pytest.mark.parametrize("name", ["magic", "header_size", "subbuf_size", "nr_subbufs", "head", "commit"])
def test_each_check_of_the_header_costs_the_cpu(name: str) -> None:
    writer = RegionWriter([steady(300), steady(300, cpu=1)], layout="B")
    offset, size = writer.header_field(1, name)
    writer.poke(offset, size, 0x7F0001)
    region = open_region(load(writer.region()))
    assert set(walk_region(region).cpu.tolist()) == {0, 1}
    assert any(finding.cpu == 1 and finding.offset == writer.cpu_offsets[1] for finding in region.findings)
    assert set(walk_region(region, policy="6.12").cpu.tolist()) == {0}
    assert any(finding.code == "cpu-rejected" and finding.cpu == 1 for finding in region.findings)


@pytest.mark.parametrize(
    ("entry", "code"), [(-1, "buffers-out-of-range"), (99, "buffers-out-of-range"), (3, "buffers-duplicate")]
)
def test_each_check_of_the_array_costs_the_cpu(entry: int, code: str) -> None:
    writer = RegionWriter([steady(300), steady(300, cpu=1)], layout="B")
    writer.poke(writer.cpu_offsets[1] + writer.cpu_header_size + 4 * 5, 4, entry)
    region = open_region(load(writer.region()))
    assert len(walk_region(region)) == 600
    assert code in {finding.code for finding in region.findings if finding.cpu == 1}
    for policy in ("6.12", "6.17", "7.2"):
        assert set(walk_region(region, policy=policy).cpu.tolist()) == {0}


def test_before_7_2_any_wild_commit_word_costs_the_cpu() -> None:
    writer = RegionWriter([steady(300)])
    unused = next(index for index in range(8) if index not in writer.order(0))
    writer.poke_commit(0, unused, 5000)
    region = open_region(load(writer.region()))
    assert not len(walk_region(region, policy="6.12"))
    assert not len(walk_region(region, policy="6.17"))
    assert len(walk_region(region, policy="7.2")) == 300
    assert len(walk_region(region)) == 300


def test_since_7_2_time_must_not_fall_from_one_subbuf_to_the_next() -> None:
    writer = RegionWriter([steady(600)])
    index = writer.order(0)[2]
    writer.poke(writer.subbuf_offset(0, index), 8, 5)
    region = open_region(load(writer.region()))
    strict = walk_region(region, policy="7.2")
    assert index not in strict.subbuf
    assert len(strict) == 600 - len(writer.rings[0].subbufs[index].events)
    assert region.cpus[0].subbufs.state[index] == SubbufState.DISCARDED
    assert strict.lost[int((strict.ts < 1000 + 10 * 435).sum()) - 145] in (0, -1)
    assert (strict.lost == -1).sum() == 1


def test_since_7_2_a_bad_head_page_ends_the_rewind() -> None:
    writer = RegionWriter([[*steady(900), Consume(4, "6.17")]], nr_subbufs=12)
    head = writer.order(0)[1]
    writer.poke(writer.subbuf_offset(0, head) + 16, 8, 0)
    region = open_region(load(writer.region()))
    strict = walk_region(region, policy="7.2")
    kept = [index for index in writer.order(0) if index != head]
    assert sorted(set(strict.subbuf.tolist())) == sorted(kept)


def test_a_drained_cpu_shows_its_reader_page() -> None:
    writer = RegionWriter([[*steady(300), Consume(9)]])
    region = open_region(load(writer.region()))
    reader = writer.rings[0].buffers[0]
    for policy in ("6.12", "6.17"):
        assert set(walk_region(region, policy=policy).subbuf.tolist()) == {reader}
    assert walk_region(region).ts.tolist() == [ts for ts, _ in steady(300)]
    by_itself = open_region(load(RegionWriter([[*steady(300), Consume(9, "7.2")]]).region()))
    assert set(walk_region(by_itself, policy="7.2").subbuf.tolist()) == {reader}


def test_since_7_2_a_rewind_from_the_reader_page_as_commit_page_costs_the_cpu() -> None:
    region = open_region(load(RegionWriter([[*steady(300), Consume(9)], steady(20, cpu=1)]).region()))
    assert set(walk_region(region, policy="7.2").cpu.tolist()) == {1}
    (finding,) = (finding for finding in region.findings if finding.code == "cpu-rejected")
    assert "commit page is not found" in finding.message


def test_since_7_2_a_rewind_all_around_changes_nothing() -> None:
    writer = RegionWriter([[*steady(700), Consume(9)]], nr_subbufs=6)
    ring = writer.rings[0]
    head = ring.buffers[ring.head]
    writer.poke(writer.subbuf_offset(0, head), 8, 0)
    region = open_region(load(writer.region()))
    assert set(walk_region(region, policy="7.2").subbuf.tolist()) == {ring.buffers[0]}


@pytest.mark.parametrize("name", ["magic", "struct_sizes", "total_size", "buffers_offset"])
def test_each_check_of_the_global_header_costs_all_cpus(name: str) -> None:
    writer = RegionWriter([steady(300), steady(300, cpu=1)])
    offset, size = {"magic": (0, 4), "struct_sizes": (4, 4), "total_size": (8, 8), "buffers_offset": (16, 8)}[name]
    writer.data[offset : offset + size] = bytes(size)
    region = open_region(load(writer.region()))
    assert set(walk_region(region).cpu.tolist()) == {0, 1}
    assert not len(walk_region(region, policy="7.2"))
    assert sum(finding.code == "cpu-rejected" for finding in region.findings) == 2


def test_no_line_of_lost_events_stands_where_the_kernel_begins_to_read() -> None:
    writer = RegionWriter([[*steady(900), Consume(4, "6.17")]], nr_subbufs=12)
    reader = writer.rings[0].buffers[0]
    writer.poke(writer.subbuf_offset(0, reader) + 16, 8, 0)
    region = open_region(load(writer.region()))
    strict = walk_region(region, policy="7.2")
    assert reader not in strict.subbuf
    assert (strict.lost == -1).sum() == 1, "what was rewound lies in front of it"
    alone = RegionWriter([[*steady(300), Consume(1, "7.2")]])
    alone.poke(alone.subbuf_offset(0, alone.rings[0].buffers[0]) + 16, 8, 0)
    assert not walk_region(open_region(load(alone.region())), policy="7.2").lost.any()


@pytest.mark.parametrize("policy", ["6.12", "6.17", "7.2"])
def test_a_reader_was_taking_the_head_page_which_is_the_commit_page(policy: Policy) -> None:
    """The reader page is all that the kernel looks at; since 7.2 it may not end later than the head page begins."""
    writer = RegionWriter([[*steady(300), Consume(9, "7.2")]])
    (reader,) = writer.order(0)
    offset, size = writer.header_field(0, "commit")
    writer.data[offset - size : offset] = writer.data[offset : offset + size]
    region = open_region(load(writer.region()))
    table = walk_region(region, policy=policy)
    assert len(table) == (0 if policy == "7.2" else len(writer.events(0)))
    assert region.cpus[0].subbufs.state[reader] == (SubbufState.DISCARDED if policy == "7.2" else SubbufState.READER)
    assert "cpu-rejected" not in {finding.code for finding in region.findings}
