# SPDX-License-Identifier: Apache-2.0
"""How findings are spelled."""

from __future__ import annotations

import pytest

from rbdump.findings import Finding, Severity, as_unicode, first_of


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, ""),
        ({"cpu": 0}, "cpu 0: "),
        ({"offset": 0}, "offset 0x00000000: "),
        ({"cpu": 2, "subbuf": 0}, "cpu 2, sub-buffer 0: "),
        ({"cpu": 2, "subbuf": 7, "offset": 0x12345}, "cpu 2, sub-buffer 7, offset 0x00012345: "),
    ],
)
def test_a_line_and_an_object(place: dict[str, int], text: str) -> None:
    finding = Finding(Severity.WARNING, "some-code", "words \udcff", **place)
    assert str(finding) == f"warning: some-code: {text}words \udcff"
    nowhere = {"cpu": None, "subbuf": None, "offset": None}
    said = {"severity": "warning", "code": "some-code", "message": "words \\xff"}
    assert finding.as_dict() == said | nowhere | place


def test_bytes_that_are_no_text() -> None:
    assert as_unicode("ä\udc80\n") == "ä\\x80\n"


def test_the_first_of_many() -> None:
    assert first_of(["a", "b", "c"], 3) == "a, b, c"
    assert first_of(["a", "b", "c"], 2) == "a, b and 1 more"
