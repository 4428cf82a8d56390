# SPDX-License-Identifier: Apache-2.0
"""file:line of an address, where an image has DWARF."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rbdump.errors import SourceError
from rbdump.kernel.types.lines import SourceLines
from tests.dwarfwriter import write_dwarf

LOW = 0xFFFF_FFFF_8100_0000
ROWS = [(LOW, 100), (LOW + 4, 103), (LOW + 0x10, 90)]
END = LOW + 0x20


def lines(tmp_path: Path, data: bytes) -> SourceLines:
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    return SourceLines(str(path))


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("aranges", [True, False])
def test_file_and_line(tmp_path: Path, version: int, aranges: bool) -> None:
    table = lines(tmp_path, write_dwarf(ROWS, END, version=version, aranges=aranges))
    assert table
    assert [table.lookup(LOW + at) for at in (0, 3, 4, 0xF, 0x10, 0x1F)] == [
        "kernel/sched/core.c:100",
        "kernel/sched/core.c:100",
        "kernel/sched/core.c:103",
        "kernel/sched/core.c:103",
        "kernel/sched/core.c:90",
        "kernel/sched/core.c:90",
    ]
    assert table.lookup(LOW - 1) is None
    assert table.lookup(END) is None


def test_a_unit_that_is_described_by_a_range_list(tmp_path: Path) -> None:
    table = lines(tmp_path, write_dwarf(ROWS, END, aranges=False, ranges=True))
    assert table.lookup(LOW + 5) == "kernel/sched/core.c:103"
    assert table.lookup(END) is None


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("kernel/../arch/x86", "arch/x86/core.c:100"),
        ("/build/linux/include", "include/core.c:100"),
        ("/usr/include", "/usr/include/core.c:100"),
    ],
)
def test_names_are_relative_to_the_folder_of_the_build(tmp_path: Path, folder: str, expected: str) -> None:
    for version in (4, 5):
        table = lines(tmp_path, write_dwarf(ROWS, END, version=version, folder=folder))
        assert table.lookup(LOW) == expected


@pytest.mark.parametrize("data", [b"\x7fELF", b"MZ" + bytes(100), b"\x1f\x8b\x08" + bytes(20)])
def test_a_file_without_dwarf_knows_no_lines(tmp_path: Path, data: bytes) -> None:
    table = lines(tmp_path, data)
    assert not table
    assert table.lookup(LOW) is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        lines(tmp_path, b"")
    with pytest.raises(SourceError, match="No such file"):
        SourceLines(str(tmp_path / "absent"))


def test_damage_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    good = write_dwarf(ROWS, END, version=5)
    random_ = random.Random(5)
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(random_.randrange(1, 6)):
            bad[random_.randrange(64, len(bad))] ^= 1 << random_.randrange(8)
        found = lines(tmp_path, bytes(bad[: random_.randrange(64, len(bad) + 1)])).lookup(LOW + 4)
        assert found is None or ":" in found
