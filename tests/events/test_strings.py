# SPDX-License-Identifier: Apache-2.0
"""Characters of records: up to their NUL, and dynamic arrays that point anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.events.strings import dynamic_bytes, location, text_of, until_nul
from tests.events.printfmt.rendering import ALL, Event


def test_text_ends_at_the_first_nul() -> None:
    assert until_nul(b"bash\0xx") == b"bash"
    assert text_of(b"h\xffllo\0x") == "h\udcffllo"
    assert text_of(b"") == ""


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_dynamic_bytes_of_both_kinds(abi: Abi) -> None:
    fields = {"__data_loc char[] s": b"h\xffllo\0", "__rel_loc u32[] d": (7).to_bytes(4, abi.byteorder)}
    event = Event('""', fields, abi=abi)
    rows = event.rows([fields, fields])
    text, array = event.format.fields
    assert dynamic_bytes(rows, text) == [b"h\xffllo\0"] * 2
    assert dynamic_bytes(rows, array) == [(7).to_bytes(4, abi.byteorder)] * 2
    assert dynamic_bytes(event.rows([]), text) == []


@settings(max_examples=80, deadline=None)
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), abi=st.sampled_from(ALL))
def test_dynamic_fields_never_leave_the_record(words: list[int], abi: Abi) -> None:
    event = Event('""', {"__data_loc char[] s": b"", "__rel_loc u32[] d": b""}, abi=abi)
    rows = event.rows([{"__data_loc char[] s": w, "__rel_loc u32[] d": w} for w in words])
    for field, base in zip(event.format.fields, (0, 16), strict=True):
        begin, length = location(rows, field.offset, relative=field.is_rel_loc)
        assert begin.tolist() == [base + (word & 0xFFFF) for word in words]
        assert length.tolist() == [word >> 16 for word in words]
        for word, value in zip(words, dynamic_bytes(rows, field), strict=True):
            assert (value is None) == (base + (word & 0xFFFF) + (word >> 16) > 16)
