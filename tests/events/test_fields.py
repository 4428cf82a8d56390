# SPDX-License-Identifier: Apache-2.0
"""Values of fields: integers, text, arrays, dynamic arrays that point anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.events.fields import bytes_column, field_values, string_column
from tests.events.printfmt.rendering import ALL, Event


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_values_have_types(abi: Abi) -> None:
    mask = (1 << 31).to_bytes(abi.long_size, abi.byteorder)
    fields = {
        "int a": -5, "u64 b": 2**64 - 1, "bool c": 1, "void * p": 0x1234, "char comm[8]": b"bash\0xx",
        "u16 arr[3]": [1, 2, 65535], "s8 small[2]": [-1, 1], "struct thing st[12]": bytes(range(12)),
        "__data_loc char[] s": b"h\xffllo\0", "__rel_loc u32[] d": (7).to_bytes(4, abi.byteorder),
        "__data_loc cpumask_t m": mask,
    }  # fmt: skip
    event = Event('""', fields, abi=abi)
    rows = event.rows([fields, fields])
    by_name = {f.name: f for f in event.format.fields}
    expected = {
        "a": -5, "b": 2**64 - 1, "c": 1, "p": 0x1234, "comm": "bash", "arr": [1, 2, 65535], "small": [-1, 1],
        "s": "h\udcffllo", "d": [7], "m": [1 << 31],
    }  # fmt: skip
    for name, value in expected.items():
        assert field_values(by_name[name], rows, abi) == [value, value], name
    assert field_values(by_name["common_pid"], rows, abi) == [42, 42] if "common_pid" in by_name else True
    assert bytes_column(by_name["st"], rows) == [bytes(range(12))] * 2
    assert string_column(by_name["comm"], rows) == ["bash"] * 2
    assert field_values(event.format.common_fields[3], rows, abi) == [42, 42]


@settings(max_examples=80, deadline=None)
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), abi=st.sampled_from(ALL))
def test_dynamic_fields_never_leave_the_record(words: list[int], abi: Abi) -> None:
    event = Event('""', {"__data_loc char[] s": b"", "__rel_loc u32[] d": b""}, abi=abi)
    rows = event.rows([{"__data_loc char[] s": w, "__rel_loc u32[] d": w} for w in words])
    text, array = event.format.fields
    for word, value, numbers in zip(words, field_values(text, rows, abi), field_values(array, rows, abi), strict=True):
        begin, length = word & 0xFFFF, word >> 16
        assert (value is None) == (begin + length > 16)
        assert (numbers is None) == (begin + 16 + length > 16)


def test_an_empty_column() -> None:
    event = Event('""', {"int a": 0, "char s[4]": b"", "__data_loc char[] d": b""})
    for field in event.format.fields:
        assert field_values(field, event.rows([]), event.abi) == []
