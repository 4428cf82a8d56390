# SPDX-License-Identifier: Apache-2.0
"""Larger real regions and whole kernel images, where they lie beside the project."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

import rbdump
from rbdump.errors import WrongImageError
from tests.conftest import SHARED
from tests.test_samples import kernel_lines, plain

IMAGES = {
    "6.12.43": "vmlinuz-6.12.43-amd64",
    "7.3.4": "vmlinuz-7.3.4-amd64",
    "s390x-6.12.107": "vmlinuz-6.12.107-s390x",
}

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared, with whole kernel images, is not there")


def region(kernel: str, scenario: str) -> Path:
    return SHARED / "samples" / kernel / scenario


def image(kernel: str) -> str:
    return str(SHARED / "kernels" / IMAGES[kernel])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all of these tests, so that each image is read once; nobody else's cache is touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "images"))


def only_difference(ours: list[str], kernel: list[str]) -> list[str]:
    return list(difflib.unified_diff(kernel, ours, "kernel", "rbdump", lineterm="", n=0))[:8]


@pytest.mark.parametrize(
    ("kernel", "scenario"),
    [(k, s) for k in ("6.12.43", "7.3.4") for s in ("sched", "function", "all")] + [("s390x-6.12.107", "sched")],
)
def test_the_image_is_enough(kernel: str, scenario: str) -> None:
    folder = region(kernel, scenario)
    trace = rbdump.open(str(folder / "region.bin.xz"), vmlinux=image(kernel))
    ours = plain(trace.lines(), ignore_comm=True)
    assert only_difference(ours, kernel_lines(folder / "live.txt.xz", ignore_comm=True)) == []
    assert not [finding for finding in trace.findings if finding.severity is not rbdump.Severity.INFO]
    assert trace.knowledge.facts.release is not None
    assert trace.knowledge.facts.release.startswith(kernel.split("-")[-1])


@pytest.mark.parametrize("kernel", ["6.12.43", "7.3.4"])
def test_the_image_and_tracefs_together_give_task_names_too(kernel: str) -> None:
    folder = region(kernel, "all")
    trace = rbdump.open(str(folder / "region.bin.xz"), vmlinux=image(kernel), tracefs=str(folder / "tracefs.tar.xz"))
    assert only_difference(plain(trace.lines()), kernel_lines(folder / "live.txt.xz")) == []


def test_without_the_image_only_strings_of_its_memory_are_missing() -> None:
    folder = region("6.12.43", "all")
    trace = rbdump.open(
        str(folder / "region.bin.xz"), tracefs=str(folder / "tracefs.tar.xz"), kallsyms=str(folder / "kallsyms.xz")
    )
    pairs = zip(plain(trace.lines()), kernel_lines(folder / "live.txt.xz"), strict=True)
    different = {kernel.split(": ")[1] for ours, kernel in pairs if ours != kernel}
    assert different == {"ma_op", "ma_read", "ma_write"}


def test_panic_with_strict_is_what_the_kernel_kept() -> None:
    folder = region("6.12.43", "panic")
    trace = rbdump.open(
        str(folder / "region.bin.xz"),
        tracefs=str(folder / "tracefs.tar.xz"),
        kallsyms=str(folder / "kallsyms.xz"),
        strict=True,
        text_delta=526385152,
    )
    ours = plain(trace.lines(raw_fields=True), ignore_comm=True)
    assert only_difference(ours, kernel_lines(folder / "lastboot.txt.xz", ignore_comm=True)) == []


def test_modules_without_their_files_print_as_unknown_addresses_and_that_is_said_once() -> None:
    folder = region("7.3.4", "modules")
    trace = rbdump.open(str(folder / "region.bin.xz"), vmlinux=image("7.3.4"))
    lines = plain(trace.lines())
    assert any(": 0xffffffffc060aa84 <-br_ioctl_call" in line for line in lines)
    said = [finding for finding in trace.findings if finding.code == "modules-unresolved"]
    assert len(said) == 1
    assert "dummy, bridge, stp, llc" in said[0].message
    both = rbdump.open(str(folder / "region.bin.xz"), vmlinux=image("7.3.4"), kallsyms=str(folder / "kallsyms.xz"))
    ours = plain(both.lines(), ignore_comm=True)
    assert only_difference(ours, kernel_lines(folder / "live.txt.xz", ignore_comm=True)) == []


@pytest.mark.parametrize(("kernel", "other"), [("6.12.43", "7.3.4"), ("7.3.4", "6.12.43"), ("7.3.4", "s390x-6.12.107")])
def test_another_kernels_image_is_refused_with_figures(kernel: str, other: str) -> None:
    trace = rbdump.open(str(region(kernel, "sched") / "region.bin.xz"), vmlinux=image(other))
    with pytest.raises(WrongImageError, match=r"is not the kernel that wrote the region: .*\d"):
        list(trace.lines())
