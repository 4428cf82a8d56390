# SPDX-License-Identifier: Apache-2.0
"""Dumps that begin inside of a region: all that is whole in what is left is decoded."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rbdump.errors import NotARegionError
from rbdump.ring import RecordTable, Region, beginning, open_region, walk_region
from rbdump.ring.geometry import Geometry, count_all_in_order
from rbdump.ring.identify import Identity
from rbdump.ring.unaligned import unaligned_headers
from tests.ring.test_walk import load, steady
from tests.ringwriter import RegionWriter

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def codes(region: Region) -> set[str]:
    return {finding.code for finding in region.findings}


def places(region: Region, table: RecordTable, cut: int) -> set[tuple[int, int]]:
    """Time stamps and offsets in the cut input of the records in sub-buffers that it has from their header on."""
    starts = np.concatenate([cpu.subbufs.offset for cpu in region.cpus])[table.cpu * region.nr_subbufs + table.subbuf]
    chosen = starts >= cut
    return {*zip(table.ts[chosen].tolist(), (table.offset[chosen] - cut).tolist(), strict=True)}


def check_cut(data: np.ndarray, cut: int) -> Region:
    """Open the input without its first ``cut`` bytes: nothing whole may be lost, nothing else may be found."""
    whole = open_region(data)
    wanted = places(whole, walk_region(whole), cut)
    assert wanted
    region = open_region(data[cut:].copy())
    assert places(region, walk_region(region), region.lacking) == wanted
    return region


@pytest.mark.parametrize(
    ("layout", "byteorder", "long_size", "subbuf_size"),
    [
        ("A'", "little", 8, 4096),
        ("B", "little", 8, 4096),
        ("B", "big", 8, 4096),
        ("B", "little", 4, 4096),
        ("B'", "big", 4, 16384),
        ("C1", "little", 8, 4096),
        ("C2", "little", 8, 4096),
        ("C2", "big", 8, 4096),
        ("C2", "little", 4, 4096),
        ("C2", "little", 8, 65536),
        ("C2", "big", 4, 8192),
    ],
)
@pytest.mark.parametrize("pages", [1, 2.25, 5 + 1 / 4096])
def test_the_rest_of_a_cpu_is_shown_with_the_number_it_has(
    layout: str, byteorder: Literal["little", "big"], long_size: Literal[4, 8], subbuf_size: int, pages: float
) -> None:
    """A cut in the global header, in that of the CPU and in its sub-buffers, on a page and beside."""
    events = [steady(12 * subbuf_size // 32), steady(5 * subbuf_size // 32, cpu=1)]
    writer = RegionWriter(
        events, layout=layout, byteorder=byteorder, long_size=long_size, subbuf_size=subbuf_size, nr_subbufs=16
    )
    cut = int(pages * 4096) if pages < 2 else int(pages * subbuf_size)
    region = check_cut(load(writer.region()), cut)
    assert region.layout.name == {"C1": "C2"}.get(layout, layout)  # what told of them is lost
    assert len(region.cpus) == 2
    assert (region.lacking, region.offset) == (cut, 0) or layout == "C1"
    assert "beginning-cut-off" in codes(region)
    lost = region.cpus[0].subbufs.offset < region.lacking
    assert (region.cpus[0].subbufs.state == 8).tolist() == lost.tolist()


@pytest.mark.parametrize("layout", ["A'", "B", "B'", "C2"])
@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("long_size", [4, 8])
def test_the_header_of_the_next_cpu_is_found_beside_a_page(
    layout: str, byteorder: Literal["little", "big"], long_size: Literal[4, 8]
) -> None:
    """What the layouts call `subbuf_size` is as far from `buffers[]` in some of 32 and of 64 bits."""
    writer = RegionWriter(
        [steady(300, cpu=cpu) for cpu in range(3)],
        layout=layout,
        byteorder=byteorder,
        long_size=long_size,
        nr_subbufs=4,
    )
    data, cut = load(writer.region()), writer.data_offsets[0] + 2731
    assert open_region(data).cpus[1].offset - cut in unaligned_headers(data[cut:].copy())
    region = check_cut(data, cut)
    assert (region.subbuf_size, region.nr_subbufs, len(region.cpus)) == (4096, 4, 3)


@pytest.mark.parametrize("sample", ["6.12.43-modules", "7.3.4-modules", "arm64-16k-7.2.12-sched"])
@pytest.mark.parametrize("cut", [100, 12288, 20481])
def test_real_regions_without_their_beginning(sample: str, cut: int) -> None:
    data = load(lzma.decompress((SAMPLES / sample / "region.bin.xz").read_bytes()))
    region = check_cut(data, cut)
    assert region.layout.name == open_region(data).layout.name
    assert region.lacking == cut


def test_one_header_and_few_sub_buffers_are_enough() -> None:
    data = load(lzma.decompress((SAMPLES / "ppc64-64k-7.2.11-sched" / "region.bin.xz").read_bytes()))
    assert check_cut(data, 500_001).layout.name == "C2"


def test_no_sub_buffer_is_taken_for_a_header_that_is_lost() -> None:
    """These begin as a region of that size would; their clock counts from 1970."""
    data = load(lzma.decompress((SAMPLES / "arm64-16k-7.2.12-sched" / "region.bin.xz").read_bytes()))
    assert len(check_cut(data, open_region(data).cpus[1].data_offset + 16384).cpus) == 1


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("long_size", [4, 8])
@pytest.mark.parametrize("subbuf_size", [4096, 16384])
@pytest.mark.parametrize("cut", [0, 1000])
def test_sub_buffers_of_one_cpu_without_any_header(
    byteorder: Literal["little", "big"], long_size: Literal[4, 8], subbuf_size: int, cut: int
) -> None:
    writer = RegionWriter(
        [steady(12 * subbuf_size // 32)],
        layout="B",
        byteorder=byteorder,
        long_size=long_size,
        subbuf_size=subbuf_size,
        nr_subbufs=16,
    )
    region = check_cut(load(writer.region()), writer.data_offsets[0] + 2 * subbuf_size + cut)
    assert {"beginning-cut-off", "headers-destroyed"} <= codes(region)
    assert (region.subbuf_size, len(region.cpus)) == (subbuf_size, 1)


def test_records_are_read_only_where_most_sub_buffers_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second sub-buffer looks like one that is twice as large, each 64th like one of 256 KiB."""
    sizes = []

    def count(data: np.ndarray, identity: Identity, geometry: Geometry) -> tuple[int, int, int]:
        sizes.append(geometry.subbuf_size)
        return count_all_in_order(data, identity, geometry)

    monkeypatch.setattr(beginning, "count_all_in_order", count)
    writer = RegionWriter([steady(60_000)], layout="C2", nr_subbufs=1024)
    data = load(writer.region())[writer.data_offsets[0] + 5000 :]
    assert len(open_region(data.copy()).cpus[0]) > 1000
    assert set(sizes) == {4096}


def test_a_cut_of_empty_sub_buffers_leaves_the_layout_of_kernels_that_exist() -> None:
    writer = RegionWriter([steady(100), steady(300, cpu=1)], layout="C2", nr_subbufs=16)
    region = check_cut(load(writer.region()), writer.data_offsets[0] + 8 * 4096)
    assert (region.layout.name, len(region.cpus)) == ("C2", 2)
    assert {*walk_region(region).cpu.tolist()} == {1}


def test_what_lies_in_front_of_a_whole_region_is_not_missed() -> None:
    region = RegionWriter([steady(300)], layout="B").region()
    assert not open_region(load(b"junk" * 5000 + region)).lacking
    assert not open_region(load(bytes(8 * 4096) + region)).lacking


def test_numbers_in_a_row_are_no_sub_buffers() -> None:
    for dtype in ("<u4", ">u4", "<u8"):
        with pytest.raises(NotARegionError):
            open_region(np.arange(300_000, dtype=np.uint64).astype(dtype).view(np.uint8))


def test_noise_has_no_beginning() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint8)
    for data in (noise, noise & 3, np.zeros(1 << 16, np.uint8), noise[:4097]):
        with pytest.raises(NotARegionError):
            open_region(data)
