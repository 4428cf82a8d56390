# SPDX-License-Identifier: Apache-2.0
"""Damaged regions: always findings or one clear error, and a sub-buffer that was not touched loses nothing."""

from __future__ import annotations

import lzma
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rbdump.errors import NotARegionError, RbdumpError
from rbdump.ring import POLICIES, RecordState, Region, SubbufState, find, geometry, open_region, walk_region
from tests.ring.test_walk import SHAPES, load, rows, steady
from tests.ringwriter import CPU_HEADERS, Consume, Item, Missed, RegionWriter, Stamped

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def codes(region: Region) -> set[str]:
    return {finding.code for finding in region.findings}


def survive(data: np.ndarray) -> tuple[Region, set[tuple[int, int]]] | None:
    """Open and walk in every way; None when the one clear error says that it cannot be."""
    try:
        region = open_region(data)
    except RbdumpError:
        return None
    table = walk_region(region)
    assert (table.offset >= 0).all()
    assert (table.length >= 0).all()
    assert (table.offset + table.length <= len(data)).all()
    for policy in POLICIES:
        walk_region(region, policy=policy)
    assert all(str(finding) for finding in region.findings)
    return region, set(zip(table.offset.tolist(), table.ts.tolist(), strict=True))


def by_subbuf(data: np.ndarray, writer: RegionWriter) -> dict[int, set[tuple[int, int]]]:
    """Events of each sub-buffer, by its offset."""
    found: dict[int, set[tuple[int, int]]] = {}
    table = walk_region(open_region(data))
    for cpu, index, offset, ts in zip(table.cpu, table.subbuf, table.offset, table.ts, strict=True):
        found.setdefault(writer.subbuf_offset(int(cpu), int(index)), set()).add((int(offset), int(ts)))
    return found


damages = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
        st.tuples(st.just("zero"), st.floats(0, 1, exclude_max=True), st.integers(1, 9000)),
        st.tuples(st.just("swap"), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        st.tuples(st.just("commit"), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("random"), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=300)),
        st.tuples(st.just("cut"), st.floats(0.3, 1, exclude_max=True), st.just(0)),
    ),
    min_size=1,
    max_size=4,
)


def apply(data: np.ndarray, damage: list[tuple[str, float, object]], first: int) -> np.ndarray:
    """Damage the sub-buffers (everything from ``first`` on)."""
    data = data.copy()
    for kind, place, detail in damage:
        at = first + int(place * (len(data) - first))
        page = at // 4096 * 4096
        if kind == "flip":
            data[at] ^= 1 << int(detail)  # type: ignore[call-overload]
        elif kind == "zero":
            data[at : at + int(detail)] = 0  # type: ignore[call-overload]
        elif kind == "swap":
            other = (first + int(float(detail) * (len(data) - first))) // 4096 * 4096  # type: ignore[arg-type]
            if len(data[page : page + 4096]) == len(data[other : other + 4096]):
                one, two = data[page : page + 4096].copy(), data[other : other + 4096].copy()
                data[page : page + 4096], data[other : other + 4096] = two, one
        elif kind == "commit" and page + 12 <= len(data):
            data[page + 8 : page + 12] = np.frombuffer(int(detail).to_bytes(4, "little"), np.uint8)  # type: ignore[call-overload]
        elif kind == "random":
            noise = np.frombuffer(detail, np.uint8)  # type: ignore[call-overload]
            data[at : at + len(noise)] = noise[: len(data) - at]
        elif kind == "cut":
            data = data[:at]
    return data


def is_out_of_reach(data: np.ndarray, broken: np.ndarray, writer: RegionWriter) -> bool:
    """Whether headers are damaged so that CPUs cannot be found.

    A header that stands where another one's belongs is what another region looks like, unless that one is there in
    exchange. Those behind the last header are found by their sub-buffers, all of which but one must then be whole.
    """
    headers = [data[at : at + 48].tobytes() for at in writer.cpu_offsets]
    found = [broken[at : at + 48].tobytes() for at in writer.cpu_offsets]
    owners = [headers.index(header) if header in headers else None for header in found]
    if any(owner is not None and owners[owner] != cpu for cpu, owner in enumerate(owners)):
        return True
    last = max(cpu for cpu, owner in enumerate(owners) if owner is not None)
    for begin in writer.data_offsets[last + 1 :]:
        whole = data[begin : min(begin + 8 * 4096, len(broken) // 4096 * 4096)]
        if np.count_nonzero((whole != broken[begin : begin + len(whole)]).reshape(-1, 4096).any(axis=1)) > 1:
            return True
    return False


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    damage=damages,
    layout=st.sampled_from([*CPU_HEADERS]),
    shape=st.sampled_from(SHAPES),
    consumed=st.integers(0, 3),
    count=st.integers(100, 900),
)
@example(damage=[("cut", 0.875, 0), ("swap", 0.0, 0.75)], layout="A0", shape=("little", 4), consumed=0, count=100)
@example(
    damage=[("cut", 0.8125, 0), ("swap", 0.8125, 0.40625)], layout="A0", shape=("little", 4), consumed=0, count=100
)
@example(damage=[("cut", 0.5625, 0), ("swap", 0.75, 0.5625)], layout="A0", shape=("little", 4), consumed=0, count=100)
@example(
    damage=[("swap", 0.0, 0.3125), ("swap", 0.5625, 0.6875)], layout="A0", shape=("little", 4), consumed=0, count=100
)
def test_untouched_subbufs_lose_nothing(
    damage: list[tuple[str, float, object]], layout: str, shape: tuple[str, int], consumed: int, count: int
) -> None:
    cpus = [[*steady(count), Consume(consumed, "6.17")], steady(300, cpu=1), steady(80, cpu=2)]
    writer = RegionWriter(cpus, layout=layout, byteorder=shape[0], long_size=shape[1], nr_subbufs=8)
    data = load(writer.region())
    events = by_subbuf(data, writer)
    # The last CPU's header is spared as the first one's: a region all of whose headers are gone is no region.
    broken = apply(data, damage, writer.data_offsets[0])
    assume(not is_out_of_reach(data, broken, writer))
    survived = survive(broken)
    if survived is None:
        return
    _, found = survived
    for offset, wanted in events.items():
        if np.array_equal(broken[offset : offset + 4096], data[offset : offset + 4096]):
            assert wanted <= found


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(min_size=1, max_size=200), place=st.integers(0, 9000), layout=st.sampled_from([*CPU_HEADERS]))
def test_noise_in_headers_is_survived(noise: bytes, place: int, layout: str) -> None:
    writer = RegionWriter([steady(200), steady(100, cpu=1)], layout=layout)
    data = load(writer.region()).copy()
    data[place : place + len(noise)] = np.frombuffer(noise, np.uint8)
    survive(data)


@pytest.mark.parametrize("seed", range(4))
def test_real_regions_damaged(seed: int) -> None:
    paths = sorted(SAMPLES.rglob("region.bin.xz"))[:3]
    if not paths:
        pytest.skip("no samples in this checkout")
    rnd = np.random.default_rng(seed)
    for path in paths:
        data = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8).copy()
        original = data.copy()
        reference = walk_region(open_region(data))
        data[rnd.integers(4096, len(data), 300)] ^= np.uint8(1 << rnd.integers(0, 8))
        data[rnd.integers(1, len(data) // 4096) * 4096 :][:30000] = 0
        survived = survive(data)
        assert survived is not None
        same = (data.reshape(-1, 4096) == original.reshape(-1, 4096)).all(axis=1)
        kept = reference.select(same[reference.offset // 4096] & (reference.state == RecordState.LIVE))
        assert set(zip(kept.offset.tolist(), kept.ts.tolist(), strict=True)) <= survived[1]


@pytest.mark.parametrize("fill", [0, 0x1D, 0x3D, 0x1E, 0x1F, 0x01, 0xFF])
def test_a_hostile_fill_takes_no_time(fill: int) -> None:
    """Records of no length, padding without end, nothing but time extends: bounded by the size of a sub-buffer."""
    writer = RegionWriter([steady(3000, step=1)], subbuf_size=16384, nr_subbufs=40)
    for index in range(40):
        at = writer.subbuf_offset(0, index)
        writer.data[at + 16 : at + 16384] = bytes([fill, 0, 0, 0]) * ((16384 - 16) // 4)
        writer.poke_commit(0, index, 16368)
    start = time.process_time()
    survive(load(writer.region()))
    assert time.process_time() - start < 5


def test_a_size_of_the_region_without_end_takes_no_memory() -> None:
    data = np.frombuffer(lzma.decompress((SAMPLES / "7.3.4-modules" / "region.bin.xz").read_bytes()), np.uint8).copy()
    kept = len(walk_region(open_region(data)))
    data[:64] = 0xFF
    data[8288:8292] = 0x33  # an entry of buffers[]
    survived = survive(data)
    assert survived is not None
    assert len(survived[1]) == kept


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (0, 0, "record-length"),
        (28, 29, "null-padding"),
        (28, 28 | 7 << 5, "record-overrun"),
        (28, 0, "record-length"),
    ],
)
def test_a_torn_record_costs_the_tail(at: int, value: int, code: str) -> None:
    writer = RegionWriter([steady(300)])
    index = writer.order(0)[-1]
    page = writer.rings[0].subbufs[index]
    begin = writer.subbuf_offset(0, index) + 16
    if code == "record-overrun":
        at = page.commit - 28
    writer.poke(begin + at, 4, value)
    if code == "record-length":
        writer.poke(begin + at + 4, 4, 0)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    finding = next(finding for finding in region.findings if finding.code == code)
    assert (finding.cpu, finding.subbuf, finding.offset) == (0, index, begin + at)
    assert region.cpus[0].subbufs.bad_offset[index] == begin + at
    before = 300 - len(page.events)
    assert len(table) == before + at // 28
    assert not len(walk_region(region, policy="6.12"))
    strict = walk_region(region, policy="7.2")
    assert len(strict) == before
    assert "subbuf-rejected" in codes(region)


def test_a_wild_commit_shows_what_is_there() -> None:
    writer = RegionWriter([steady(600)])
    index = writer.order(0)[1]
    writer.poke_commit(0, index, 70000)
    region = open_region(load(writer.region()))
    assert len(walk_region(region)) == 600
    assert "commit-too-large" in codes(region)
    assert not len(walk_region(region, policy="6.12"))


def test_a_cleared_commit_between_head_and_commit_shows_what_is_there() -> None:
    writer = RegionWriter([steady(600)])
    index = writer.order(0)[1]
    writer.poke_commit(0, index, 0)
    region = open_region(load(writer.region()))
    assert walk_region(region).ts.tolist() == [ts for ts, _ in steady(600)]
    assert region.cpus[0].subbufs.state[index] == SubbufState.STRAY


@pytest.mark.parametrize("bit", [3, 20, 40, 62])
def test_a_wild_time_stamp_does_not_hold_the_others_back(bit: int) -> None:
    writer = RegionWriter([steady(600), steady(600, cpu=1)])
    index = writer.order(0)[1]
    stamp = writer.rings[0].subbufs[index].ts
    writer.poke(writer.subbuf_offset(0, index), 8, stamp ^ (1 << bit))
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert len(table) == 1200
    assert not table.epoch.any()
    untouched = table.select(~((table.cpu == 0) & (table.subbuf == index)))
    assert (np.diff(untouched.ts.astype(np.int64)) >= 0).all(), "the others merge as if nothing had happened"


def test_a_head_page_that_lags_behind() -> None:
    writer = RegionWriter([steady(1300)], nr_subbufs=6)
    offset, size = writer.header_field(0, "head")
    commit_offset, _ = writer.header_field(0, "commit")
    commit = int.from_bytes(writer.data[commit_offset : commit_offset + size], "little")
    expected = rows_of(writer)
    writer.poke(offset, size, commit)
    region = open_region(load(writer.region()))
    assert [row[0] for row in rows(region, walk_region(region))] == expected
    assert codes(region) & {"stray", "consumed"}


def rows_of(writer: RegionWriter) -> list[int]:
    return [ts for ts, _ in writer.events(0)]


def test_time_that_goes_back_is_said() -> None:
    writer = RegionWriter([[(1000, b"a" * 8), Stamped(2000, b"b" * 8), (2010, b"c" * 8)]])
    at = writer.subbuf_offset(0, 1) + 16 + 16
    writer.poke(at, 4, 31 | 500 << 5)
    region = open_region(load(writer.region()))
    assert walk_region(region).ts.tolist() == [1000, 500, 510]
    assert "time-backwards" in codes(region)
    assert not len(walk_region(region, policy="6.12"))


@pytest.mark.parametrize(("layout", "said"), [("A0", True), ("B", True), ("C2", False)])
def test_memory_that_may_be_of_one_more_cpu_is_told_of(layout: str, said: bool) -> None:
    region = RegionWriter([steady(100)], layout=layout, nr_subbufs=8).region()
    for behind in (bytes(60_000), bytes(60_000) + b"\1", b"\1" * 20_000):
        assert open_region(load(region + behind)).findings == []
    found = open_region(load(region + b"\1" + bytes(32767))).findings
    assert [(finding.code, finding.offset) for finding in found] == [("bytes-behind", len(region))] * said
    assert all(finding.message.startswith("32768 bytes lie behind the region") for finding in found)


@pytest.mark.parametrize("layout", ["A", "B", "B'"])
@pytest.mark.parametrize("left", [0, 1, 7])
def test_what_lies_where_one_more_cpu_fits_is_one_when_it_holds_events(layout: str, left: int) -> None:
    """Nothing tells how many CPUs there were, and an input twice as large as a region of one is as large as one of two.

    Of the memory of a CPU some may be left, of other memory nothing is decoded.
    """
    writer = RegionWriter([steady(300), steady(1100, cpu=1)], layout=layout)
    alone = writer.cpu_offsets[1]
    end = writer.size - left * 4096
    writer.data[alone:end] = np.random.default_rng(5).bytes(end - alone)
    region = open_region(load(writer.region()))
    table = walk_region(region)
    assert len(region.cpus) == 1 + bool(left)
    assert ("bytes-behind" in codes(region)) == (not left)
    kept = sum(len(ring.events) for ring in writer.rings[1].subbufs[8 - left :] if ring.commit) if left else 0
    intact = table.offset >= end
    assert int(intact.sum()) == kept
    assert int((table.offset < alone).sum()) == 300


def test_the_sizes_are_derived_once_however_many_cpus_in_front_lost_their_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = RegionWriter([steady(5, cpu=cpu) for cpu in range(40)], layout="B", nr_subbufs=3)
    for at in writer.cpu_offsets[:-1]:
        writer.data[at : at + 56] = bytes(56)
    derived = []

    def derive(*args: Any, **options: Any) -> geometry.Geometry:
        derived.append(args[1].offset)
        return geometry.derive_geometry(*args, **options)

    monkeypatch.setattr(find, "derive_geometry", derive)
    region = open_region(load(writer.region()))
    assert len(region.cpus) == 40
    assert derived == [writer.cpu_offsets[-1], 0]


def test_the_beginning_of_a_header_at_the_end_of_the_input_is_no_region() -> None:
    writer = RegionWriter([steady(30)], layout="C2")
    data = writer.region() + writer.region()[:8]
    assert len(walk_region(open_region(load(data)))) == 30


def test_counts_of_lost_events_that_cannot_be() -> None:
    items: list[Item] = [*steady(200), Missed(2**63 - 1), *steady(400)[200:]]
    region = open_region(load(RegionWriter([items]).region()))
    table = walk_region(region)
    assert sorted(set(table.lost.tolist())) == [-1, 0]
    assert region.cpus[0].subbufs.missed_count.min() == -1


def test_a_sub_buffer_that_the_input_cuts_has_no_broken_record() -> None:
    region = open_region(load(RegionWriter([steady(300)]).region()[: 4096 * 5 + 1000]))
    walk_region(region)
    assert "subbuf-cut-off" in codes(region)
    assert "record-overrun" not in codes(region)


@pytest.mark.parametrize("layout", ["C1", "C2"])
@pytest.mark.parametrize("subbuf_size", [4096, 8192, 16384, 65536])
@pytest.mark.parametrize("cpus", [1, 2, 5])
def test_sub_buffers_tell_the_sizes_when_all_headers_are_noise(layout: str, subbuf_size: int, cpus: int) -> None:
    filled = (4, 20, 9, 40, 1)
    events = [steady(filled[cpu] * subbuf_size // 32, cpu=cpu) for cpu in range(cpus)]
    writer = RegionWriter(events, layout=layout, subbuf_size=subbuf_size, nr_subbufs=16)
    data = load(writer.region())
    before = rows(region := open_region(data), walk_region(region))
    broken, noise = data.copy(), np.random.default_rng(cpus)
    for begin, end in zip(writer.cpu_offsets, writer.data_offsets, strict=True):
        broken[begin:end] = noise.integers(0, 256, end - begin)
    opened = open_region(broken)
    assert (opened.subbuf_size, opened.nr_subbufs, len(opened.cpus)) == (subbuf_size, 16, cpus)
    assert sorted(rows(opened, walk_region(opened))) == sorted(before)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize(
    ("layout", "byteorder", "long_size", "subbuf_size", "cpus"),
    [
        ("A0", "little", 8, 4096, 1),
        ("A", "big", 8, 4096, 2),
        ("A'", "little", 8, 16384, 3),
        ("B", "little", 4, 8192, 2),
        ("B", "little", 8, 4096, 5),
        ("B'", "big", 4, 4096, 2),
        ("C1", "little", 8, 4096, 1),
        ("C2", "big", 8, 65536, 2),
        ("C2", "little", 4, 4096, 5),
        ("C2-inject", "little", 8, 4096, 2),
    ],
)
def test_sub_buffers_alone_are_a_region(
    layout: str,
    byteorder: Literal["little", "big"],
    long_size: Literal[4, 8],
    subbuf_size: int,
    cpus: int,
    noise: bool,
) -> None:
    filled = (9, 20, 5, 40, 3)
    events = [steady(filled[cpu] * subbuf_size // 32, cpu=cpu) for cpu in range(cpus)]
    writer = RegionWriter(
        events, layout=layout, byteorder=byteorder, long_size=long_size, subbuf_size=subbuf_size, nr_subbufs=16
    )
    data = load(writer.region())
    before = rows(region := open_region(data), walk_region(region))
    broken, rng = data.copy(), np.random.default_rng(cpus)
    for begin, end in [(0, writer.data_offsets[0]), *zip(writer.cpu_offsets, writer.data_offsets, strict=True)]:
        broken[begin:end] = rng.integers(0, 256, end - begin) if noise else 0
    opened = open_region(broken)
    assert (opened.subbuf_size, opened.nr_subbufs, len(opened.cpus)) == (subbuf_size, 16, cpus)
    assert sorted(rows(opened, walk_region(opened))) == sorted(before)
    assert "headers-destroyed" in {finding.code for finding in opened.findings}
    broken[writer.data_offsets[0] :] = rng.integers(0, 256, len(broken) - writer.data_offsets[0])
    with pytest.raises(NotARegionError):
        open_region(broken)


def entry(writer: RegionWriter, position: int) -> int:
    """Offset of an entry of the first CPU's `buffers[]`."""
    return writer.cpu_offsets[0] + writer.cpu_header_size + 4 * position


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_a_header_of_zeros_with_one_wrong_byte_is_no_other_region(byteorder: Literal["little", "big"]) -> None:
    writer = RegionWriter([steady(500), steady(300, cpu=1)], byteorder=byteorder)
    broken = load(writer.region()).copy()
    wanted = rows(region := open_region(broken), walk_region(region))
    broken[writer.cpu_offsets[1] : writer.data_offsets[1]] = 0
    broken[sum(writer.header_field(1, "first")) - 5] = 0x80
    broken[entry(writer, 3) : entry(writer, 4)] = 0xEE
    region = open_region(broken)
    assert len(region.cpus) == 2
    assert sorted(rows(region, walk_region(region))) == sorted(wanted)


@pytest.mark.parametrize("layout", ["A0", "B", "C2"])
def test_a_wrong_entry_of_a_truncated_region_does_not_tell_other_sizes(layout: str) -> None:
    writer = RegionWriter([steady(4000), steady(4000, cpu=1)], layout=layout, nr_subbufs=120)
    data = load(writer.region())
    reference = walk_region(open_region(data))
    for pages in range(20, 115, 9):
        broken = data[: writer.data_offsets[0] + pages * 4096 + 100].copy()
        broken[entry(writer, 11) : entry(writer, 12)] = broken[entry(writer, 12) : entry(writer, 13)]
        region = open_region(broken)
        assert (region.nr_subbufs, len(region.cpus)) == (120, 1)
        kept = reference.select((reference.cpu == 0) & (reference.offset + reference.length <= len(broken) - 100))
        assert {*kept.offset.tolist()} <= {*walk_region(region).offset.tolist()}


@pytest.mark.parametrize("sample", ["6.12.43-modules", "7.3.4-modules", "arm64-16k-7.2.12-sched"])
def test_a_wrong_word_of_a_header_hides_nothing(sample: str) -> None:
    """Unless what it makes of the header is another region's."""
    data = load(lzma.decompress((SAMPLES / sample / "region.bin.xz").read_bytes()))
    region = open_region(data)
    wanted = walk_region(region).offset.tolist()
    for header in (cpu.offset for cpu in region.cpus):
        for at in range(header, header + int(region.structs.cpu_meta.sizeof()), 4):
            for value in (0, 1, 4096, 8192, 65536, 0xFFFFFFFF):
                broken = data.copy()
                broken[at : at + 4] = np.frombuffer(value.to_bytes(4, "little"), np.uint8)
                opened = open_region(broken)
                found = walk_region(opened)
                shown = {*found.offset[found.epoch == 0].tolist()}
                assert shown >= {*wanted} or opened.other_regions == (region.cpus[1].offset,)
