# SPDX-License-Identifier: Apache-2.0
"""A walk in another process gives what a walk in this one gives, errors included."""

from __future__ import annotations

import copy
import dataclasses
import errno
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rbdump
from rbdump.abi import Abi
from rbdump.analysis import dump, walker, walking
from rbdump.analysis.child import Child
from rbdump.analysis.walker import begin_walk, dismiss_walk, walk_beside
from rbdump.analysis.walking import Walk, walk_dump
from rbdump.analysis.walkoptions import WalkOptions
from rbdump.decompress import zstd
from rbdump.errors import InputError, NotARegionError, OutputError
from rbdump.ring import walk_region
from tests.conftest import SAMPLES
from tests.ringwriter import RegionWriter, write_region

REGION = SAMPLES / "7.3.4-consumed" / "region.bin.xz"


def columns(walk: Walk) -> list[object]:
    entries, findings = walk.entries()
    assert entries.records is walk.records
    tables = [walk.records, *(cpu.subbufs for cpu in walk.region.cpus)]
    found = [getattr(table, field.name).tolist() for table in tables for field in dataclasses.fields(table)]
    of_entries = [getattr(entries, name).tolist() for name in ("id", "flags", "preempt_count", "pid")]
    return [found, of_entries, findings]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    dismiss_walk()


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
    assert all(map(np.array_equal, here.words(), there.words()))
    assert there.words() is there.words()
    assert here.region.findings == there.region.findings
    assert here.region.structs is there.region.structs
    assert there.region.data is there.source.data
    assert np.array_equal(here.source.data, there.source.data)


@pytest.mark.parametrize("sample", ["7.3.4-consumed", "s390x-6.12.107-sched", "armhf-6.12.107-sched"])
def test_it_tells_early_which_events_there_are(sample: str) -> None:
    told: list[tuple[Abi, list[int]]] = []
    walk = walk_beside(str(SAMPLES / sample / "region.bin.xz"), WalkOptions())(lambda abi, ids: told.append((abi, ids)))
    ((abi, ids),) = told
    counts = walk.entries()[0].counts()
    assert abi == walk.region.abi
    assert {*np.flatnonzero(counts > len(walk.records) // 20).tolist()} <= {*ids}
    assert len(ids) < 100


def test_of_wild_ids_only_the_most_frequent_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbdump.events.entries._ID_STEP", 1)
    path = tmp_path / "region.bin"
    events = [(10**9 + n, struct.pack("<HBBi", 4711 if n % 3 else n // 3 % 500, 0, 0, 1)) for n in range(6000)]
    path.write_bytes(write_region([events], nr_subbufs=40))
    told: list[list[int]] = []
    walk_beside(str(path), WalkOptions())(lambda _, ids: told.append(ids))
    assert told[0][0] == 4711
    assert len(told[0]) == 256


def test_a_column_of_zeros_takes_no_memory_in_either_process(plain: Path) -> None:
    for walk in (walk_dump(str(plain), WalkOptions()), walk_beside(str(plain), WalkOptions())()):
        assert walk.records.lost.strides == (0,)
        assert walk.records.lost.shape == walk.records.ts.shape
        assert not walk.records.lost.any()


def test_its_arrays_can_be_written_as_those_of_this_process(plain: Path) -> None:
    walk = walk_beside(str(plain), WalkOptions())()
    before = columns(walk)
    assert len(walk_region(walk.region)) == len(walk.records)
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


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_is_replaced_meanwhile_does_no_harm(plain: Path, tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "dump"
    shutil.copy(REGION if compressed else plain, path)
    here = walk_dump(str(path), WalkOptions())
    walk = walk_beside(str(path), WalkOptions())
    other = tmp_path / "other"
    other.write_bytes(bytes(9000))
    other.replace(path)
    there = walk()
    assert np.array_equal(here.source.data, there.source.data)
    assert columns(here) == columns(there)


def test_words_that_nobody_ordered_are_gathered_here(plain: Path) -> None:
    here, there = walk_dump(str(plain), WalkOptions()), walk_beside(str(plain), WalkOptions())()
    assert all(map(np.array_equal, here.words(), there.words()))


@pytest.mark.parametrize("content", [b"", b"\x28\xb5\x2f\xfd", zstd.compress(bytes(9000))[:-3], zstd.compress(b"")])
def test_compressed_input_fails_as_it_fails_here(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "region.bin.zst"
    path.write_bytes(content)
    with pytest.raises((InputError, NotARegionError)) as here:
        walk_dump(str(path), WalkOptions())
    with pytest.raises(type(here.value), match=re.escape(str(here.value))):
        walk_beside(str(path), WalkOptions())()


def test_what_can_be_decompressed_is_walked_and_the_damage_said(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "region.bin.xz"
    path.write_bytes(REGION.read_bytes()[:-5000])
    here, there = walk_dump(str(path), WalkOptions()), walk_beside(str(path), WalkOptions())()
    assert [finding.code for finding in there.source.findings] == ["compressed-input-truncated"]
    assert here.source.findings == there.source.findings
    assert columns(here) == columns(there)


@pytest.mark.parametrize(("error", "words"), [(MemoryError("no room"), "no room"), (None, "ended early")])
def test_a_process_that_cannot_decompress_is_one_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error or KeyboardInterrupt

    monkeypatch.setattr(dump, "decompress", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(MemoryError if error else OutputError, match=words):
        walk_beside(str(REGION), WalkOptions())()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("compressed", [True, False])
def test_what_was_begun_is_used(plain: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool) -> None:
    path = str(REGION if compressed else plain)
    begin_walk(path, words=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", None)
        walk = walk_beside(path, WalkOptions())()
        with pytest.raises(TypeError):  # once
            walk_beside(path, WalkOptions())
    here = walk_dump(path, WalkOptions())
    assert columns(walk) == columns(here)
    assert all(map(np.array_equal, here.words(), walk.words()))
    assert walk.words() is walk.words()


@pytest.mark.parametrize("compressed", [True, False])
def test_what_was_begun_in_vain_is_ended(plain: Path, compressed: bool) -> None:
    path = str(REGION if compressed else plain)
    before = os.listdir("/proc/self/fd")
    begin_walk(path, words=True)
    strict = walk_beside(path, WalkOptions(strict=True))()
    assert columns(strict) == columns(walk_dump(path, WalkOptions(strict=True)))
    del strict
    begin_walk(path, words=True)
    walk_beside("-", WalkOptions())
    begin_walk(path, words=True)
    dismiss_walk()
    for nothing in ("-", "/", "/no such file"):
        begin_walk(nothing, words=False)
        assert walker._begun is None
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_was_begun_is_ended_where_one_process_is_meant(plain: Path) -> None:
    begin_walk(str(plain), words=True)
    assert len(rbdump.open(plain).records)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_is_not_asked_for_in_the_end_is_ended(plain: Path) -> None:
    begin_walk(str(plain), words=True)
    walk_beside(str(plain), WalkOptions())()  # and no words
    dismiss_walk()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_room_to_begin_is_said_when_it_is_asked_for(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        begin_walk(str(plain), words=True)
        with pytest.raises(MemoryError):
            walk_beside(str(plain), WalkOptions())
    assert columns(walk_beside(str(plain), WalkOptions())()) == columns(walk_dump(str(plain), WalkOptions()))


def test_any_number_of_files_may_be_open(plain: Path, tmp_path: Path) -> None:
    code = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
import rbdump
trace = rbdump.open({str(plain)!r}, jobs=2)
with open({str(tmp_path / "out")!r}, "wb") as out:
    trace.write(out.fileno(), jobs=2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_wait_that_was_interrupted_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(lambda: [0])
    assert child.receive() == 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "waitpid", interrupt)
        with pytest.raises(KeyboardInterrupt):
            child.close()
    assert child.close() == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


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
    there = walk(lambda *_: pytest.fail("nothing is told early"))
    assert columns(there) == columns(walk_dump(str(plain), WalkOptions()))
    os.close(reader)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, r"by a signal \(Killed\)"), (None, "ended early")])
def test_a_process_that_dies_is_one_error(
    plain: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals | None, words: str
) -> None:
    def die(*_: object) -> None:
        if number is not None:
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt

    monkeypatch.setattr(walking, "send_walk", die)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OutputError, match=words):
        walk_beside(str(plain), WalkOptions())()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_other_threads_may_import_meanwhile(plain: Path) -> None:
    """A copy of this process has no such thread, and the lock of the module that it imports would never be released."""
    code = f"""
import sys, threading
sys.setswitchinterval(1e-4)
import rbdump
def use():
    assert len(rbdump.open({str(plain)!r}, jobs=2).records)
threads = [threading.Thread(target=use, daemon=True), threading.Thread(target=__import__, args=("numpy",), daemon=True)]
for thread in reversed(threads):
    thread.start()
for thread in threads:
    thread.join(30)
    assert not thread.is_alive()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=90)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_of_it_is_left_when_the_walk_is_there(plain: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotARegionError) as kept:
        walk_beside("/bin/sh", WalkOptions())()
    walk = walk_beside(str(REGION), WalkOptions())()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(copy.deepcopy(walk).words()) == 2
    del walk, kept
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_file_that_cannot_be_mapped_is_the_error_that_it_is_without_it() -> None:
    path = "/sys/kernel/uevent_seqnum"
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    with pytest.raises(InputError, match="cannot be read"):
        walk_beside(path, WalkOptions())()


def test_a_bug_in_it_keeps_its_traceback(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def a_function_with_a_bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(walking, "send_walk", a_function_with_a_bug)
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        walk_beside(str(plain), WalkOptions())()
    assert "in a_function_with_a_bug" in caught.value.__notes__[0]


def test_a_process_that_cannot_be_started_is_one_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    before = os.listdir("/proc/self/fd")
    for path in (plain, REGION):
        with pytest.raises(OutputError, match="cannot start a process"):
            walk_beside(str(path), WalkOptions())
        begin_walk(str(path), words=True)  # says nothing: whether it is needed is not known yet
        assert walker._begun is None
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_process_that_told_the_words_is_waited_for_when_the_next_begins(plain: Path) -> None:
    for _ in range(2):
        begin_walk(str(plain), words=True)
        walk_beside(str(plain), WalkOptions())().words()
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # not waited for, which would hold up this process
    Child(lambda: [0]).close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
