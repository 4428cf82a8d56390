# SPDX-License-Identifier: Apache-2.0
"""Sources that are read before they are wanted give what they would give later, errors included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rbdump.abi import Abi
from rbdump.analysis.sources import EarlyFiles, Sources, read_files
from rbdump.errors import SourceError
from rbdump.events.printfmt.parser import KEPT_LENGTH, parse_once

LE64 = Abi("little", 8)
FORMAT = """name: {name}
ID: {id}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

print fmt: {print_fmt}
"""


@pytest.fixture
def tracing(tmp_path: Path) -> Path:
    for event_id, name, print_fmt in (
        (300, "good", '"the first %d of this test", 1'),
        (301, "broken", '"%d", ((('),
        (302, "deep", '"%d", ' + "(" * 4000),
        (303, "long", '"%d", ' + "1 + " * KEPT_LENGTH + "1"),
    ):
        folder = tmp_path / "events" / "x" / name
        folder.mkdir(parents=True)
        (folder / "format").write_text(FORMAT.format(name=name, id=event_id, print_fmt=print_fmt))
    return tmp_path


def test_formats_are_parsed_ahead_and_what_is_wrong_with_one_is_no_matter_yet(tracing: Path) -> None:
    early = EarlyFiles(Sources(tracefs=(str(tracing),)))
    before = parse_once.cache_info()
    early.parse(LE64, [1, 299, 300, 301, 302, 303, 65535])
    assert parse_once.cache_info().misses == before.misses + 3
    early.parse(LE64, [300, 303])
    assert parse_once.cache_info().hits == before.hits + 1
    assert parse_once.cache_info().misses == before.misses + 3
    assert early.files() is early.files()
    assert early.files().copies[0].formats[300].name == "good"


def test_an_error_is_raised_when_the_files_are_wanted() -> None:
    early = EarlyFiles(Sources(tracefs=("/nowhere/at/all",)))
    early.parse(LE64, [300])
    with pytest.raises(SourceError, match="/nowhere/at/all"):
        early.files()
    with pytest.raises(SourceError, match="/nowhere/at/all"):
        read_files(Sources(tracefs=("/nowhere/at/all",)))


def test_a_pipe_is_read_when_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    os.mkfifo(path)
    early = EarlyFiles(Sources(kallsyms=str(path)))  # nobody writes to it: to read it now would last for ever
    early.parse(LE64, [300])
    path.unlink()
    path.write_bytes(b"ffffffff81000000 T _text\nffffffff81000040 T start_kernel\n")
    listed = early.files().listed
    assert listed is not None
    assert listed.table.addr("start_kernel") == 0xFFFF_FFFF_8100_0040
