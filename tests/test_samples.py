# SPDX-License-Identifier: Apache-2.0
"""Every folder of samples/ against what the kernel itself printed: the same lines, to the byte."""

from __future__ import annotations

import json
import lzma
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import rbdump
from tests.conftest import SAMPLES

FOLDERS = sorted(path for path in SAMPLES.iterdir() if path.is_dir())
TASK = re.compile(r"^ *(?:\S.*?)?-(\d+) +(?=\[\d+\])")
HALF_READ_BY_THE_KERNEL = {"7.3.4-dynamic"}
"""After the reset the kernel printed one of two CPUs: live.txt is the truth there (trap 8)."""
HASHED_BY_THE_KERNEL = {"armhf-6.12.107-sched"}
"""lastboot.txt was printed with hashed pointers, by a secret that died with that boot."""


def kernel_lines(path: Path, *, ignore_comm: bool = False) -> list[str]:
    with lzma.open(path, "rt", encoding="utf-8", errors="surrogateescape") as file:
        return plain((line.rstrip("\n") for line in file), ignore_comm=ignore_comm)


def plain(lines: Iterable[str], *, ignore_comm: bool = False) -> list[str]:
    kept = [line for line in lines if line and not line.startswith("#")]
    return [TASK.sub(r"-\1 ", line) for line in kept] if ignore_comm else kept


def open_sample(folder: Path, **options: Any) -> rbdump.Trace:
    tracefs, kallsyms = folder / "tracefs.tar.xz", folder / "kallsyms.xz"
    return rbdump.open(str(folder / "region.bin.xz"), tracefs=str(tracefs), kallsyms=str(kallsyms), **options)


def of_kind(*without: str) -> list[Path]:
    return [folder for folder in FOLDERS if not folder.name.endswith(without)]


def test_there_are_samples_of_each_kind() -> None:
    assert {folder.name.rsplit("-", 1)[1] for folder in FOLDERS} >= {
        "sched",
        "function",
        "fgraph",
        "dynamic",
        "modules",
        "consumed",
    }
    for folder in FOLDERS:
        assert (folder / "live.txt.xz").exists(), f"{folder.name} has nothing to be compared with"


@pytest.mark.parametrize("folder", of_kind("fgraph", "consumed"), ids=lambda folder: folder.name)
def test_text_equals_live_txt(folder: Path) -> None:
    assert plain(open_sample(folder).lines()) == kernel_lines(folder / "live.txt.xz")


@pytest.mark.parametrize(
    "folder",
    [
        folder
        for folder in FOLDERS
        if (folder / "lastboot.txt.xz").exists() and folder.name not in HALF_READ_BY_THE_KERNEL | HASHED_BY_THE_KERNEL
    ],
    ids=lambda folder: folder.name,
)
def test_raw_fields_of_strict_equal_lastboot_txt(folder: Path) -> None:
    sample = json.loads((folder / "sample.json").read_text())
    trace = open_sample(folder, strict=True, text_delta=sample.get("text_delta"))
    lines = plain(trace.lines(raw_fields=True), ignore_comm=True)
    assert lines == kernel_lines(folder / "lastboot.txt.xz", ignore_comm=True)


def test_raw_fields_of_a_kernel_that_does_not_move_are_its_print_fmts() -> None:
    hashed = re.compile(r"\b((?:hrtimer|timer|work|workqueue|function|struct)[= ])[0-9a-f]{8}\b")
    folder = SAMPLES / "armhf-6.12.107-sched"
    ours = plain(open_sample(folder).lines(raw_fields=True), ignore_comm=True)
    kernel = kernel_lines(folder / "lastboot.txt.xz", ignore_comm=True)
    assert [hashed.sub(r"\1?", line) for line in ours] == [hashed.sub(r"\1?", line) for line in kernel]


@pytest.mark.parametrize(
    "folder", [folder for folder in FOLDERS if folder.name.endswith("consumed")], ids=lambda folder: folder.name
)
def test_what_was_left_to_read_is_among_the_output(folder: Path) -> None:
    missing = Counter(kernel_lines(folder / "live.txt.xz")) - Counter(open_sample(folder).lines())
    assert not missing


def test_trap_08_the_cpu_that_the_kernel_loses_is_kept() -> None:
    folder = SAMPLES / "7.3.4-dynamic"
    kernel = {line.split("[")[1][:3] for line in kernel_lines(folder / "lastboot.txt.xz") if "] " in line}
    ours = {event.cpu for event in open_sample(folder).events()}
    assert (len(kernel), len(ours)) == (1, 2)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_region_alone_is_useful(folder: Path) -> None:
    """No source at all: the same number of events at the same times, and ftrace's own events by name."""
    bare = list(rbdump.open(str(folder / "region.bin.xz")).events())
    full = list(open_sample(folder).events())
    assert [(e.ts, e.cpu, e.pid, e.offset) for e in bare] == [(e.ts, e.cpu, e.pid, e.offset) for e in full]
    named = {e.event for e in full if e.event and e.event.startswith("ftrace:")}
    assert named == {e.event for e in bare if e.event}
