# SPDX-License-Identifier: Apache-2.0
"""Real symbol lists held against real regions: those of another machine are refused, those of the kernel are not."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

import rbdump
from rbdump.errors import WrongImageError
from tests.conftest import SAMPLES, Run

KERNELS = ("6.12.43-function", "6.12.43-dynamic", "6.12.43-fgraph", "7.3.4-dynamic", "7.3.4-modules")
LINKED = 0xFFFF_FFFF_8100_0000
ERRORS = {"wrong-image", "text-addr-of-another-boot"}


def lines_of(sample: str) -> list[bytes]:
    return lzma.decompress((SAMPLES / sample / "kallsyms.xz").read_bytes()).splitlines(keepends=True)


def without_modules(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b"\t[" not in line]


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:30000]


def moved(lines: list[bytes], *, to: int) -> list[bytes]:
    start = next(int(line[:16], 16) for line in lines if line.endswith(b" _stext\n"))
    parts = [(int(line[:16], 16), line[16:]) for line in lines]
    return [b"%016x%s" % ((addr - start + to) % 2**64 if addr >> 32 else addr, rest) for addr, rest in parts]


def system_map(lines: list[bytes]) -> list[bytes]:
    return moved(without_modules(lines), to=LINKED)


def another_boot(lines: list[bytes]) -> list[bytes]:
    return moved(lines, to=LINKED + 0x0260_0000)


@pytest.mark.parametrize(
    ("sample", "other"),
    [
        ("6.12.43-function", "armhf-6.12.107-sched"),
        ("6.12.43-dynamic", "s390x-6.12.107-sched"),
        ("armhf-6.12.107-sched", "6.12.43-sched"),
    ],
)
def test_the_list_of_another_machine_is_refused_unless_forced(run: Run, sample: str, other: str) -> None:
    arguments = ("parse", SAMPLES / sample / "region.bin.xz", "--kallsyms", SAMPLES / other / "kallsyms.xz")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (6, b"")
    assert b"is not the kernel that wrote the region" in done.stderr
    assert run(*arguments, "--force").returncode == 0


def test_only_the_first_lines_of_a_list_show_its_word_size(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_bytes(b"".join(lines_of("armhf-6.12.107-sched")[:3000]))
    trace = rbdump.open(str(SAMPLES / "6.12.43-function" / "region.bin.xz"), kallsyms=str(path))
    with pytest.raises(WrongImageError, match="of a 32-bit kernel, and the region is 64-bit little endian"):
        list(trace.lines())


@pytest.mark.parametrize("sample", KERNELS)
@pytest.mark.parametrize("shape", [without_modules, truncated, system_map, another_boot])
def test_lists_of_the_right_kernel_are_used(
    tmp_path: Path, sample: str, shape: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"".join(shape(lines_of(sample))))
    trace = rbdump.open(str(SAMPLES / sample / "region.bin.xz"), kallsyms=str(path))
    list(trace.lines(rbdump.Selection(last=1)))
    assert not ERRORS & {finding.code for finding in trace.findings}
    whole = rbdump.open(
        str(SAMPLES / sample / "region.bin.xz"), kallsyms=str(SAMPLES / sample / "kallsyms.xz")
    ).knowledge.table
    table = trace.knowledge.table
    assert table is not None
    assert whole is not None
    assert table.addr("_stext") == whole.addr("_stext")
