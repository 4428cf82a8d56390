# SPDX-License-Identifier: Apache-2.0
"""A walk in another process gives what a walk in this one gives, errors included."""

from __future__ import annotations

import dataclasses
import errno
import lzma
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rbdump.analysis import walking
from rbdump.analysis.walking import Walk, WalkOptions, walk_beside, walk_dump
from rbdump.errors import InputError, NotARegionError, OutputError
from tests.conftest import SAMPLES
from tests.ringwriter import RegionWriter

REGION = SAMPLES / "7.3.4-consumed" / "region.bin.xz"


def columns(walk: Walk) -> list[object]:
    tables = [walk.records, *(cpu.subbufs for cpu in walk.region.cpus)]
    return [getattr(table, field.name).tolist() for table in tables for field in dataclasses.fields(table)]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "region.bin"
    path.write_bytes(lzma.decompress(REGION.read_bytes()))
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("options", [WalkOptions(), WalkOptions(strict=True), WalkOptions(uncommitted=True)])
def test_another_process_finds_the_same(plain: Path, options: WalkOptions, compressed: bool) -> None:
    path = str(REGION if compressed else plain)
    here, there = walk_dump(path, options), walk_beside(path, options)()
    assert columns(here) == columns(there)
    assert here.region.findings == there.region.findings
    assert here.region.structs is there.region.structs
    assert there.region.data is there.source.data
    assert np.array_equal(here.source.data, there.source.data)
    assert here.source.compression == there.source.compression


def test_its_arrays_can_be_written_as_those_of_this_process(plain: Path) -> None:
    walk = walk_beside(str(plain), WalkOptions())()
    before = columns(walk)
    assert len(walking.walk_region(walk.region)) == len(walk.records)
    assert columns(walk) == before


def test_a_region_without_events(tmp_path: Path) -> None:
    path = tmp_path / "region.bin"
    path.write_bytes(RegionWriter([[], None]).region())
    here, there = walk_dump(str(path), WalkOptions()), walk_beside(str(path), WalkOptions())()
    assert len(there.records) == 0
    assert columns(here) == columns(there)


def test_its_errors_are_raised_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        walk_beside(str(tmp_path / "missing"), WalkOptions())()
    noise = tmp_path / "noise"
    noise.write_bytes(b"\x7fELF" + bytes(9000))
    with pytest.raises(NotARegionError, match="it looks like an ELF"):
        walk_beside(str(noise), WalkOptions())()


def test_a_file_that_is_replaced_meanwhile_does_no_harm(plain: Path, tmp_path: Path) -> None:
    here, walk = walk_dump(str(plain), WalkOptions()), walk_beside(str(plain), WalkOptions())
    other = tmp_path / "other"
    other.write_bytes(bytes(9000))
    other.replace(plain)
    there = walk()
    assert np.array_equal(here.source.data, there.source.data)
    assert columns(here) == columns(there)


def test_a_file_named_like_standard_input_is_not_meant(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"x")
    with open(plain, "rb") as file:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))
        assert len(walk_beside("-", WalkOptions())().records)


def test_a_pipe_is_walked_here(plain: Path) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        with open(writer, "wb") as pipe:
            pipe.write(plain.read_bytes())
        os._exit(0)
    os.close(writer)
    walk = walk_beside(f"/dev/fd/{reader}", WalkOptions())
    assert columns(walk()) == columns(walk_dump(str(plain), WalkOptions()))
    os.close(reader)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "was ended: Killed"), (None, "ended early")])
def test_a_process_that_dies_is_one_error(
    plain: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals | None, words: str
) -> None:
    def die(*_: object) -> bytes:
        if number is not None:
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt

    monkeypatch.setattr(walking, "_walk", die)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(InputError, match=words):
        walk_beside(str(plain), WalkOptions())()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_process_that_cannot_be_started_is_one_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OutputError, match="cannot start a process"):
        walk_beside(str(plain), WalkOptions())
    assert len(os.listdir("/proc/self/fd")) == len(before)
