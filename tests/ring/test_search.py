# SPDX-License-Identifier: Apache-2.0
"""Where a region may begin: blocks make no difference to the places and their order, and keep memory small."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import islice
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.errors import NotARegionError
from rbdump.ring import find, find_regions, geometry, search
from rbdump.ring.identify import ABIS, MAGIC_ONLY, MIN_SUBBUFS, SUBBUF_SIZES
from rbdump.ring.layout import LAYOUTS, META_MAGIC
from rbdump.ring.search import Places
from rbdump.ring.structs import member_offset, region_structs
from tests.ring.test_walk import load, steady
from tests.ringwriter import write_region

BLOCK = 64
ORDERS = ("little", "big")


def sizes_at(data: bytes, place: int, most: int, *, with_magic: bool) -> bool:
    """Whether any layout has possible sizes where its first CPU's header is, for a region at ``place``."""
    for abi in ABIS:
        for layout in LAYOUTS.values():
            if with_magic and not (layout.cpu_magic or layout.has_scratch):
                continue
            structs = region_structs(abi, layout)
            at = place + structs.buffers_offset + member_offset(structs.cpu_meta, "subbuf_size")
            if at + 8 <= len(data):
                size, number = (int.from_bytes(data[at + n : at + n + 4], abi.byteorder) for n in (0, 4))
                if size in SUBBUF_SIZES and MIN_SUBBUFS <= number <= most:
                    return True
    return False


def places(data: bytes, start: int, tries: int, unlikely_tries: int) -> list[tuple[int, int]]:
    """All places by definition, over the whole input at once."""
    magics = [META_MAGIC.to_bytes(4, order) for order in ORDERS]
    by_magic, unlikely = [], []
    for shift in range(4):
        found = [at for at in range(start + shift, len(data) - 3, 4) if data[at : at + 4] in magics]
        likely = [at for at in found if sizes_at(data, at, 0xFFFFFFFF, with_magic=True)]
        by_magic += likely[:tries]
        unlikely += [at for at in found if at not in likely][:unlikely_tries]
    pages = range(-(-start // 4096) * 4096, len(data), 4096)
    structures = [page for page in pages if sizes_at(data, page, len(data) // 4, with_magic=False)][:tries]
    return [
        (start, MAGIC_ONLY),
        *((at, MAGIC_ONLY) for at in by_magic + unlikely[:unlikely_tries]),
        (start, 3),
        *((at, 3) for at in structures),
        (start, 2),
        *((at, 2) for at in structures),
    ]


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """Magics and headers, most of them across the border of a block, some with sizes behind them."""
    data = bytearray(draw(st.integers(0, 5 * 4096)))
    magic = META_MAGIC.to_bytes(4, "little")
    borders = st.builds(lambda block, shift: BLOCK * block + shift, st.integers(0, 300), st.integers(-5, 5))
    near = st.integers(0, 4 * BLOCK)
    for at, order, kind in draw(
        st.lists(st.tuples(borders | near, st.sampled_from(ORDERS), st.sampled_from("msp")), max_size=12)
    ):
        end = "<" if order == "little" else ">"
        sizes = struct.pack(end + "II", draw(st.sampled_from([4096, 65536, 4097])), draw(st.sampled_from([2, 3, 900])))
        pieces = {
            "m": [(at, magic if order == "little" else magic[::-1])],
            "s": [(at, magic), (at + draw(st.sampled_from([24, 28, 40, 48, 8228, 8264])), sizes)],
            "p": [(at // 4096 * 4096 + draw(st.sampled_from([8, 16, 24, 40, 64, 72])), sizes)],
        }
        for begin, piece in pieces[kind]:
            if 0 <= begin <= len(data) - len(piece):
                data[begin : begin + len(piece)] = piece
    return bytes(data)


@settings(max_examples=150, deadline=None)
@given(data=inputs(), starts=st.lists(st.integers(0, 3 * 4096), min_size=1, max_size=3), limits=st.integers(1, 3))
def test_blocks_make_no_difference(data: bytes, starts: list[int], limits: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MAGIC_BLOCK", BLOCK)
        patch.setattr(search, "STRUCTURE_BLOCK", 4096)
        patch.setattr(search, "MAX_TRIES", limits)
        patch.setattr(search, "MAX_UNLIKELY_TRIES", limits)
        found = Places(load(data))
        for start in sorted(starts):
            assert list(found.behind(start)) == places(data, start, limits, limits)


def test_a_search_that_was_left_early_does_not_harm_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STRUCTURE_BLOCK", 4096)
    page = struct.pack("<16xII", 4096, 3).ljust(4096, b"\0")
    data = bytes(8192) + page * 6
    found = Places(load(data))
    for start, count in ((0, 4), (4096, 6), (5000, 3), (16384, 99)):
        assert list(islice(found.behind(start), count)) == places(data, start, 1024, 16)[:count]


def test_places_of_every_kind_are_sought_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here those with possible sizes are complete long before the first one without."""
    monkeypatch.setattr(search, "MAGIC_BLOCK", BLOCK)
    monkeypatch.setattr(search, "MAX_TRIES", 1)
    header = struct.pack("<I44xII", META_MAGIC, 4096, 3)
    data = b"".join(header + bytes(1) for _ in range(5)) + bytes(1000) + header[:4] + bytes(1000)
    found = list(Places(load(data)).behind(0))
    assert found == places(data, 0, 1, 16)
    assert [at % 4 for at, _ in found[1:6]] == [0, 1, 2, 3, 1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_are_found_with_any_block(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    region = write_region([steady(50), steady(20, cpu=1)], layout=layout)
    data = load(bytes(4096) + region + bytes(8192) + region)
    expected = find_regions(data)
    assert expected[0] == 4096
    monkeypatch.setattr(search, "MAGIC_BLOCK", 4098)
    monkeypatch.setattr(search, "STRUCTURE_BLOCK", 4096)
    monkeypatch.setattr(geometry, "CLAIMS_BLOCK", 4096)
    assert find_regions(data) == expected


@pytest.mark.parametrize("word", [b"\0\0\0\0", META_MAGIC.to_bytes(4, "little")], ids=["zeros", "magics"])
def test_memory_does_not_grow_with_the_input(word: bytes) -> None:
    data = np.zeros(256 << 20, np.uint8)
    if any(word):
        data[: 8 << 20].view("V4")[:] = np.frombuffer(word, "V4")
    tracemalloc.start()
    assert find_regions(data) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_memory_does_not_grow_with_the_sub_buffers_that_a_header_claims() -> None:
    data = np.zeros(256 << 20, np.uint8)
    header = bytearray(write_region([steady(10)], layout="A", nr_subbufs=3)[:4096])
    at = member_offset(region_structs(ABIS[0], LAYOUTS["A"]).cpu_meta, "nr_subbufs")
    struct.pack_into("<I", header, at, 50 << 20)
    data[4096:8192] = np.frombuffer(header, np.uint8)
    tracemalloc.start()
    assert find_regions(data) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_sizes_that_no_header_says_are_tried_at_the_surest_places_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file made to be slow has the magic everywhere."""
    headers = write_region([steady(10)], layout="C2", nr_subbufs=3)[:12288]
    data = np.full(8 << 20, 0xFF, np.uint8)
    for begin in range(0, len(data), 65536):
        data[begin : begin + len(headers)] = np.frombuffer(headers, np.uint8)
    guesses = []

    def refuse(*_: object, guess: bool) -> NoReturn:
        guesses.append(guess)
        raise NotARegionError("every header is destroyed")

    monkeypatch.setattr(find, "derive_geometry", refuse)
    assert find_regions(data) == []
    assert len(guesses) > 100
    assert 0 < sum(guesses) <= 32
