# SPDX-License-Identifier: Apache-2.0
"""Tables that fill themselves: each key is made once, and what never repeats does not fill the memory."""

from __future__ import annotations

import pytest

from rbdump import memo


def test_each_key_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_LIMIT", 3)
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    texts = memo.Memo(make)
    assert list(map(texts.__getitem__, [1, 2, 1, 3, 2])) == ["1", "2", "1", "3", "2"]
    assert made == [1, 2, 3]
    assert texts[4] == "4"
    assert list(texts) == [4]
