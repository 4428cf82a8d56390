# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from rbdump.numbers import parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("150", 150), ("0x96", 150), ("0X9f", 159), (" 0150\n", 150), ("9" * 40, int("9" * 40)), ("0", 0),
        ("", None), ("-1", None), ("+1", None), ("0x", None), ("96h", None), ("1_000", None), ("1 0", None),
        ("١", None), ("9" * 41, None),
    ],
)  # fmt: skip
def test_numbers(text: str, value: int | None) -> None:
    assert parse_number(text) == value
