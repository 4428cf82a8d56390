# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.kernel.placement import addresses
from rbdump.kernel.symtabs.kallsyms import Encoding, Tables, decode_names, find_tables
from tests.imagewriter import LAYOUTS, Symbol, make_symbols, write_kallsyms

ABIS = [Abi(order, size) for order in ("little", "big") for size in (8, 4)]  # type: ignore[arg-type]
BASE = {8: 0xFFFF_FFFF_8100_0000, 4: 0xC010_0000}
ENCODINGS = {
    "pointers": Encoding.POINTERS,
    "base before": Encoding.BASE_RELATIVE,
    "percpu before": Encoding.ABSOLUTE_PERCPU,
    "base behind": Encoding.BASE_RELATIVE,
    "percpu behind": Encoding.ABSOLUTE_PERCPU,
    "place": Encoding.PLACE_RELATIVE,
    "fixed32": Encoding.ADDRESSES_32,
}
IN_FRONT = 0x2000


def embed(blob: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Tables among other bytes that look like nothing in particular."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, IN_FRONT, np.uint8).tobytes()
    return np.frombuffer(noise + blob + noise, np.uint8)


def read(blob: bytes, abi: Abi, addr: int) -> tuple[Tables, list[Symbol]]:
    data = embed(blob)
    tables = find_tables(data, (abi,))
    assert tables is not None
    decoded = decode_names(data, tables)
    assert decoded is not None
    names, types = decoded
    addrs = addresses(tables, data, addr - IN_FRONT).tolist()
    return tables, [Symbol(a, chr(t), n) for a, t, n in zip(addrs, types.tolist(), names, strict=True)]


CASES = [
    (layout, abi, count)
    for layout in LAYOUTS
    for abi in ABIS
    for count in (60, 250, 253, 700, 1500)
    # 64-bit kernels know no fixed addresses; kernels with tables in front have more than 256 symbols
    if not (layout == "fixed32" and abi.long_size == 8) and not ("before" in layout and count < 256)
]


@pytest.mark.parametrize(("layout", "abi", "count"), CASES, ids=lambda value: str(value).replace(" ", "-"))
def test_every_layout(layout: str, abi: Abi, count: int) -> None:
    base = BASE[abi.long_size]
    symbols = make_symbols(base, count, per_cpu="percpu" in layout)
    tables, found = read(write_kallsyms(symbols, layout, abi, base + 0x12000), abi, base + 0x12000)
    assert tables.encoding is ENCODINGS[layout]
    assert found == symbols


@pytest.mark.parametrize("abi", ABIS, ids=str)
@pytest.mark.parametrize("layout", ["pointers", "base before", "percpu before"])
def test_wide_markers(layout: str, abi: Abi) -> None:
    """Before 5.0 num_syms and markers were unsigned longs."""
    symbols = make_symbols(BASE[abi.long_size], 600)
    assert read(write_kallsyms(symbols, layout, abi, 0, wide_markers=True), abi, 0)[1] == symbols


@pytest.mark.parametrize(("abi", "alignment"), [(ABIS[0], 256), (ABIS[1], 16)], ids=str)
@pytest.mark.parametrize("layout", ["pointers", "base before"])
@pytest.mark.parametrize("skipped", [0, 0x220])
def test_old_arm_aligns_to_a_power_of_two(layout: str, abi: Abi, alignment: int, skipped: int) -> None:
    """``.align 4`` was 16 bytes there, ``.align 8`` 256; and the base can be that of a symbol which was left out."""
    for count in (600, 601, 602, 603):
        symbols = make_symbols(BASE[abi.long_size], count)
        blob = write_kallsyms(symbols, layout, abi, 0, wide_markers=True, alignment=alignment, skipped=skipped)
        assert read(blob, abi, 0)[1] == symbols


@pytest.mark.parametrize("abi", ABIS[::2], ids=str)
def test_since_7_0_a_table_is_aligned_to_its_entries(abi: Abi) -> None:
    """Read one entry further it looks as good wherever the word behind it is not below the last address."""
    places = set()
    for count in range(600, 1400, 50):
        symbols = make_symbols(BASE[8], count)
        blob = write_kallsyms(symbols, "place", abi, BASE[8] + 0x40000, alignment=4)
        tables, found = read(blob, abi, BASE[8] + 0x40000)
        assert found == symbols
        places.add(tables.values % 8)
    assert places == {0, 4}


def test_the_byte_order_is_found() -> None:
    abi = Abi("big", 8)
    data = embed(write_kallsyms(make_symbols(BASE[8]), "base behind", abi, 0))
    tables = find_tables(data, (Abi("little", 8), Abi("little", 4), abi))
    assert tables is not None
    assert tables.abi == abi


def test_nothing_is_found_where_nothing_is() -> None:
    assert find_tables(np.zeros(0, np.uint8), tuple(ABIS)) is None
    assert find_tables(np.zeros(5000, np.uint8), tuple(ABIS)) is None
    assert find_tables(embed(b"".join(b"%d\0" % n for n in range(400))), tuple(ABIS)) is None


def test_a_last_token_behind_the_table_is_no_index() -> None:
    data = embed(write_kallsyms(make_symbols(BASE[8], 400), "base behind", Abi("little", 8), 0)).copy()
    tables = find_tables(data, (Abi("little", 8),))
    assert tables is not None
    index_at = data.tobytes().index(tables.token_index[:256].astype("<u2").tobytes())
    data[index_at + 510 : index_at + 512] = 255
    assert find_tables(data, (Abi("little", 8),)) is None


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(LAYOUTS[:6]),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 1 << 16),
)
def test_damaged_tables_are_read_or_not_found(layout: str, edits: list[tuple[int, int]], cut: int) -> None:
    abi = Abi("little", 8)
    blob = bytearray(write_kallsyms(make_symbols(BASE[8], 400), layout, abi, 0))
    for place, value in edits:
        blob[place % len(blob)] = value
    data = embed(bytes(blob))[: len(blob) + IN_FRONT - cut % 4096]
    tables = find_tables(data, (abi,))
    if tables is None:
        return
    decoded = decode_names(data, tables)
    if decoded is not None:
        assert len(decoded[0]) == len(decoded[1]) == tables.count
        assert len(addresses(tables, data, 0)) == tables.count
        list(decoded[0])
