# SPDX-License-Identifier: Apache-2.0
"""Real regions against what the kernel itself printed of them: CPU, time and pid of every line, in order.

The repository's own samples always run; a larger set beside the repository runs where it is present. A sample is a
folder with region.bin(.xz) and live.txt or lastboot.txt(.xz).
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import numpy as np
import pytest

from rbdump.events.rows import Memory
from rbdump.ring import RecordTable, Region, default_policy, open_region, walk_region
from tests.conftest import SAMPLES, SHARED

PLACES = (SAMPLES, SHARED / "samples")
LINE = re.compile(rb"^ *.{1,16}-(\d+) +\[(\d+)\] .*? +(\d+)(?:\.(\d{6}))?: ")
COUNTS = "ppc64-64k-7.2.11-sched"
"""Its clock, ppc-tb, is no time in nanoseconds, and printed as it is."""
LOST_A_CPU = "7.3.4-dynamic"
"""The kernel resets the boot CPU's buffer when it restores a clock other than local."""


def find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.xz") if path.exists()), None)


def read(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


FOLDERS = sorted(
    {p.parent for place in PLACES for p in place.rglob("region.bin*") if p.name in ("region.bin", "region.bin.xz")}
)


def label(folder: Path) -> str:
    """kernel-scenario, however deep the folders are."""
    return folder.name if "-" in folder.name else "-".join(folder.parts[-2:])


def printed(path: Path) -> list[tuple[int, int, int]]:
    """(cpu, pid, microseconds or count) of each event line; lines that continue an event are left out."""
    found = (LINE.match(line) for line in read(path).splitlines())
    return [(int(m[2]), int(m[1]), int(m[3] + (m[4] or b""))) for m in found if m]


def decoded(region: Region, table: RecordTable, *, counts: bool = False) -> list[tuple[int, int, int]]:
    pids = Memory(region.data, region.abi).integers(table.offset + 4, 4, signed=True)
    stamps = table.ts if counts else (table.ts + np.uint64(500)) // np.uint64(1000)
    return list(zip(table.cpu.tolist(), pids.tolist(), stamps.tolist(), strict=True))


def load(folder: Path) -> Region:
    path = find(folder, "region.bin")
    assert path is not None
    return open_region(np.frombuffer(read(path), np.uint8))


def test_samples_are_there() -> None:
    assert any(SAMPLES in folder.parents for folder in FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "-".join(folder.parts[-2:]))
def test_sample(folder: Path) -> None:
    if "fgraph" in folder.name:
        pytest.skip("the function graph tracer's lines have no such prefix")
    region = load(folder)
    everything = decoded(region, walk_region(region), counts=label(folder) == COUNTS)
    live, lastboot = find(folder, "live.txt"), find(folder, "lastboot.txt")
    assert live or lastboot
    if live:
        lines = printed(live)
        if "consumed" in folder.name:
            assert set(lines) <= set(everything)
        else:
            assert everything == lines
            assert not region.findings
    if lastboot and label(folder) != LOST_A_CPU:
        strict = decoded(region, walk_region(region, policy=default_policy(region)))
        assert strict == printed(lastboot)


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if SAMPLES in folder.parents], ids=label)
def test_a_sample_without_any_header_is_decoded_all_the_same(folder: Path) -> None:
    region = load(folder)
    whole, data = walk_region(region), region.data.copy()
    for begin, end in [(0, region.cpus[0].data_offset), *((cpu.offset, cpu.data_offset) for cpu in region.cpus)]:
        data[begin:end] = 0
    bare = walk_region(open_region(data))
    for column in ("offset", "length", "ts", "cpu"):
        assert np.array_equal(getattr(bare, column), getattr(whole, column)), column


def test_a_cpu_that_the_kernel_lost() -> None:
    folder = next((folder for folder in FOLDERS if label(folder) == LOST_A_CPU), None)
    if folder is None:
        pytest.skip("the sample 7.3.4/dynamic is not here")
    region = load(folder)
    everything = decoded(region, walk_region(region), counts=label(folder) == COUNTS)
    path = find(folder, "lastboot.txt")
    assert path is not None
    kept = printed(path)
    assert {cpu for cpu, _, _ in kept} != {cpu for cpu, _, _ in everything}
    assert [row for row in everything if row[0] == kept[0][0]] == kept
