# SPDX-License-Identifier: Apache-2.0
"""Each part of a text has its own place: several boots, traces and oopses, however the bytes come."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbdump.analysis.places import find_places
from rbdump.analysis.resolve import TextResolver
from tests.analysis.oopses import FAR, SLIDE, banner, kernel_offset, mark, named, names_in, placer, stack
from tests.conftest import Run, command


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("cut", [1 << 16, 1 << 20])
def test_an_oops_in_a_file_may_lie_across_any_bound(
    run: Run, images: Path, tmp_path: Path, pack: Callable[[bytes], bytes], cut: int
) -> None:
    text = FAR[: cut - 40].rpartition(b"\n")[0] + b"\n" + stack(count=3) + kernel_offset(SLIDE)
    (tmp_path / "log").write_bytes(pack(text))
    done = run("resolve", "--vmlinux", images / "vmlinux", "--no-cache", tmp_path / "log")
    assert names_in(done.stdout) == named(0)
    assert b"late" not in done.stderr
    if pack is bytes:
        with open(tmp_path / "log", "rb") as file:
            again = subprocess.run(
                command("resolve", "--vmlinux", images / "vmlinux", "--no-cache"),
                stdin=file,
                capture_output=True,
                check=False,
                timeout=60,
            )
        assert (again.stdout, again.stderr) == (done.stdout, done.stderr)


def test_an_offset_that_comes_too_late_in_a_stream_is_said(images: Path) -> None:
    resolver = TextResolver(placer(images))
    out = resolver.feed(stack(count=3)) + resolver.feed(FAR) + resolver.feed(kernel_offset(SLIDE) + stack(count=1))
    assert names_in(out)[3:] == named(0, 1)
    resolver.finish()
    assert [finding.code for finding in resolver.findings if finding.severity == "warning"] == [
        "late-kernel-offset",
        "no-text-addr",
        "image-not-verified",
    ]
    in_time = TextResolver(placer(images))
    in_time.feed(b" RSP: ffffb1a2c0123e18\n")
    in_time.feed(stack(count=3) + kernel_offset(SLIDE))
    in_time.feed(b"\n")
    in_time.feed(banner() + FAR)
    in_time.feed(stack(0x0600_0000, 3) + kernel_offset(0x0600_0000))
    in_time.finish()
    assert "late-kernel-offset" not in [finding.code for finding in in_time.findings]


@pytest.mark.parametrize("size", [0, 1, 64])
@pytest.mark.parametrize("between", [b"", banner(), FAR, banner() + FAR])
def test_every_boot_in_a_text_has_its_own_place(images: Path, between: bytes, size: int) -> None:
    second = 0x0600_0000
    text = stack(count=3) + kernel_offset(SLIDE) + between + stack(second, 3, begin=50) + kernel_offset(second)
    text += stack(second, 3, begin=90)
    resolver = TextResolver(placer(images), find_places([text]))
    pieces = [text[:600][at : at + size] for at in range(0, 600, size)] + [text[600:]] if size else [text]
    out = b"".join(resolver.feed(piece) for piece in pieces) + resolver.finish()
    assert names_in(out) == [*named(0), *named(50), *named(90)]
    stream = TextResolver(placer(images))
    assert stream.feed(text) + stream.finish() == out


def test_a_boot_that_says_no_place_is_not_named_as_the_one_before(images: Path) -> None:
    text = stack(count=3) + kernel_offset(SLIDE) + banner() + stack(0x0600_0000, 3)
    resolver = TextResolver(placer(images))
    assert names_in(resolver.feed(text) + resolver.finish())[3:] == stack(0x0600_0000, 3).decode().splitlines()
    assert "no-text-addr" in [finding.code for finding in resolver.findings]


@pytest.mark.parametrize(
    "begin", [b"[   12.0] BUG: ...\n", b"BUG: ...\n", b"Nov 26 18:00:01 host kernel: BUG: ...\n", b""]
)
@pytest.mark.parametrize("slide", [SLIDE, 0x0600_0000])
def test_an_oops_behind_a_trace_has_its_own_place(images: Path, begin: bytes, slide: int) -> None:
    text = mark() + stack(count=3) + begin + stack(slide, 3, begin=50) + kernel_offset(slide)
    resolver = TextResolver(placer(images), find_places([text]))
    out = resolver.feed(text) + resolver.finish()
    assert names_in(out)[:3] == named(0)
    late = "late-kernel-offset" in [finding.code for finding in resolver.findings]
    assert late == (begin == b"" and slide != SLIDE)
    assert late or names_in(out)[3:] == named(50)


def test_two_oopses_behind_the_trace_of_the_first(images: Path) -> None:
    line = b"[   12.0] BUG: ...\n"
    text = mark() + stack(count=3) + line + stack(SLIDE, 3, begin=50) + kernel_offset(SLIDE)
    text += line + stack(0x0600_0000, 3, begin=90) + kernel_offset(0x0600_0000)
    resolver = TextResolver(placer(images))
    assert names_in(resolver.feed(text) + resolver.finish()) == [*named(0), *named(50), *named(90)]
