# SPDX-License-Identifier: Apache-2.0
"""Formats as a folder of files, and the choice among many sources."""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rbdump.abi import Abi
from rbdump.analysis.formatsets import Candidate, candidate_paths, rank, write_formats
from rbdump.errors import ExitStatus, OutputError, SourceError, UsageError
from rbdump.events.entries import Entries, gather_entries
from rbdump.events.rows import Memory
from rbdump.events.score import EventFit, FormatFit
from rbdump.events.tracefs import load_tracefs
from rbdump.events.tree import load_tree
from rbdump.findings import Finding, Severity
from rbdump.inputs import load_input
from rbdump.kernel.events.formats import ImageEvent
from rbdump.ring import Region, open_region, walk_region
from rbdump.symbols.verify import Verdict
from tests.conftest import SAMPLES, SHARED, Run

LE64 = Abi("little", 8)
KERNELS = SHARED / "kernels"
TEXT = (
    'name: {}\nID: {}\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\nprint fmt: ""\n'
)


def event(system: str, name: str, event_id: int) -> ImageEvent:
    return ImageEvent(system, name, event_id, TEXT.format(name, event_id))


def test_written_formats_can_be_read_back(tmp_path: Path) -> None:
    events = [event("sched", "sched_switch", 300), event("irq", "irq_handler_entry", 301)]
    count, findings = write_formats(str(tmp_path / "new" / "out"), events, LE64, 4096)
    assert (count, findings) == (2, [])
    top = tmp_path / "new" / "out" / "events"
    assert (top / "sched" / "sched_switch" / "format").read_text() == events[0].text
    assert (top / "sched" / "sched_switch" / "id").read_text() == "300\n"
    copy = load_tracefs(str(tmp_path / "new" / "out"))
    assert copy.formats.names() == {("sched", "sched_switch"): 300, ("irq", "irq_handler_entry"): 301}
    assert copy.findings == []
    assert copy.long_size == 8


@pytest.mark.parametrize(
    ("sample", "abi", "page"),
    [
        ("6.12.43-sched", LE64, 4096),
        ("arm64-16k-7.2.12-sched", LE64, 16384),
        ("armhf-6.12.107-sched", Abi("little", 4), 4096),
        ("ppc64-64k-7.2.11-sched", LE64, 65536),
    ],
)
def test_the_headers_are_written_as_kernels_write_them(tmp_path: Path, sample: str, abi: Abi, page: int) -> None:
    write_formats(str(tmp_path), [event("x", "y", 300)], abi, page)
    tree = load_tree(str(SAMPLES / sample / "tracefs.tar.xz"))
    for name in ("header_page", "header_event"):
        kernel = (tree.read(f"tracing/events/{name}") or b"").decode()
        kernel = re.sub(r"\bchar overwrite;(.*)signed:0", r"int overwrite;\1signed:1", kernel)  # newer ones
        assert (tmp_path / "events" / name).read_text() == kernel


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for target in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UsageError, match="nothing was written"):
            write_formats(str(target), [event("x", "y", 1)], LE64, 4096)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("system", "name"),
    [("..", "x"), ("x", ".."), ("a/b", "x"), ("x", "../../etc"), ("", "x"), ("x", "a\0b"), ("x", "n" * 300)],
)
def test_names_that_leave_the_folder_are_left_out(tmp_path: Path, system: str, name: str) -> None:
    events = [event(system, name, 300), event("sched", "ok", 301)]
    count, findings = write_formats(str(tmp_path / "out"), events, LE64, 4096)
    assert count == 1
    assert [finding.code for finding in findings] == ["event-name"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("target", ["/proc/x", "/proc/x/out", "file/out"])
def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=f"^cannot write formats to {target}: [^;]+; nothing was written$"):
        write_formats(target, [event("x", "y", 1)], LE64, 4096)


def test_a_folder_needs_a_name() -> None:
    with pytest.raises(UsageError, match="has no name"):
        write_formats("", [event("x", "y", 1)], LE64, 4096)


def test_a_disk_that_fills_up_leaves_it_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="x/y/format: No space left on device; it is incomplete"):
        write_formats(str(tmp_path / "out"), [event("x", "y", 1)], LE64, 4096)


def opened(sample: str) -> tuple[Region, Entries, Memory]:
    data = load_input(str(SAMPLES / sample / "region.bin.xz")).data
    region = open_region(data)
    memory = Memory(data, region.abi)
    return region, gather_entries(walk_region(region), memory)[0], memory


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Copies of tracefs of three kernels, one of them as a folder, and files that are none."""
    for sample in ("6.12.43-sched", "7.3.4-sched", "s390x-6.12.107-sched"):
        shutil.copy(SAMPLES / sample / "tracefs.tar.xz", tmp_path / f"{sample}.tar.xz")
    (tmp_path / "notes").write_text("buy milk\n")
    (tmp_path / "module.ko").write_bytes(b"\x7fELF")
    return tmp_path


@pytest.mark.parametrize("sample", ["6.12.43-sched", "7.3.4-sched", "s390x-6.12.107-sched", "7.3.4-consumed"])
def test_the_right_one_is_the_best(copies: Path, sample: str) -> None:
    ranked, findings = rank(str(copies), *opened(sample))
    best = ranked[0]
    kernel = sample.rsplit("-", 1)[0]
    assert Path(best.path).name == f"{kernel}-sched.tar.xz"
    assert (best.verdict, best.fit.score) == (Verdict.RIGHT, 1.0)
    assert [other.verdict for other in ranked[1:]] == [Verdict.WRONG, Verdict.WRONG]
    assert all(other.fit.score < 0.7 for other in ranked[1:])
    assert [finding.code for finding in findings] == ["no-format-source"]


def candidates(folder: Path, findings: list[Finding] | None = None) -> list[str]:
    return list(candidate_paths(str(folder), [] if findings is None else findings))


def test_folders_with_events_count_as_one_source(tmp_path: Path) -> None:
    (tmp_path / "a" / "tracing" / "events" / "sched").mkdir(parents=True)
    (tmp_path / "a" / "vmlinuz").write_bytes(b"")
    assert candidates(tmp_path) == [str(tmp_path / "a" / "vmlinuz"), str(tmp_path / "a" / "tracing")]
    with pytest.raises(SourceError, match="is no folder"):
        candidates(tmp_path / "nowhere")


def test_only_regular_files_are_candidates(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "image").write_bytes(b"")
    (tmp_path / "vmlinuz").symlink_to("image")
    assert candidates(tmp_path) == [str(tmp_path / "image"), str(tmp_path / "vmlinuz")]


def test_a_folder_that_must_not_be_listed_is_not_empty(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "vmlinuz").write_bytes(b"")
    lock(tmp_path / "locked")
    findings: list[Finding] = []
    assert candidates(tmp_path, findings) == [str(tmp_path / "vmlinuz")]
    assert [finding.message for finding in findings] == [f"{tmp_path}/locked: cannot be read: Permission denied"]
    with pytest.raises(SourceError, match="locked: cannot be read: Permission denied"):
        candidates(tmp_path / "locked")


def test_all_levels_are_looked_at_and_links_to_folders_are_said(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefghij")
    deep.mkdir(parents=True)
    (deep / "vmlinuz").write_bytes(b"")
    for number in range(5):
        (deep / f"link{number}").symlink_to(tmp_path)
    findings: list[Finding] = []
    assert candidates(tmp_path, findings) == [str(deep / "vmlinuz")]
    assert [(finding.severity, finding.code, finding.message) for finding in findings] == [
        (
            Severity.WARNING,
            "folder-links",
            f"links to folders are not followed: {deep}/link0, {deep}/link1, {deep}/link2 and 2 more; "
            "give --best-of the folder itself",
        )
    ]


def test_images_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmlinuz-1").write_bytes(b"MZ" + bytes(0x200) + b"HdrS" + bytes(100))
    (tmp_path / "vmlinuz-2").write_bytes(b"MZ" + bytes(0x200) + b"HdrS" + bytes(5000))
    (tmp_path / "vmlinuz-3").write_bytes(b"")
    (tmp_path / "copy.tar").write_bytes(b"cut off")
    (tmp_path / "config").write_bytes(b"CONFIG_X=y\n")
    plain = open

    def refuse(path: str, mode: str) -> object:
        if path.endswith("vmlinuz-1"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return plain(path, mode)

    monkeypatch.setattr("rbdump.inputs.open", refuse, raising=False)
    ranked, findings = rank(str(tmp_path), *opened("6.12.43-sched"))
    assert ranked == []
    assert [(finding.severity, finding.code, finding.message) for finding in findings] == [
        (Severity.WARNING, "source-unreadable", f"{tmp_path}/vmlinuz-1: cannot be read: Permission denied"),
        (
            Severity.WARNING,
            "source-unreadable",
            f"{tmp_path}/vmlinuz-2: bzImage: the compressed kernel inside was not found; is the file complete?",
        ),
        (Severity.WARNING, "source-unreadable", f"{tmp_path}/vmlinuz-3: is empty"),
        (
            Severity.INFO,
            "no-format-source",
            f"2 files below {tmp_path} are neither kernel images nor copies of tracefs: "
            f"{tmp_path}/config, {tmp_path}/copy.tar",
        ),
    ]


def test_a_copy_that_was_cut_off_is_said(tmp_path: Path, samples: Path) -> None:
    whole = lzma.decompress((samples / "6.12.43-sched" / "tracefs.tar.xz").read_bytes())
    (tmp_path / "copy.tar").write_bytes(whole[:300_000])
    ranked, findings = rank(str(tmp_path), *opened("6.12.43-sched"))
    assert len(ranked) == 1
    assert [finding.code for finding in findings] == ["tracefs-archive-damaged"]


def test_where_candidates_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbdump.analysis.formatsets._MAX_CANDIDATES", 2)
    for name in "abcd":
        (tmp_path / name).write_bytes(b"text\n")
    _, findings = rank(str(tmp_path), *opened("6.12.43-sched"))
    message = f"more than 2 files lie below {tmp_path}: those from {tmp_path}/c on are not looked at"
    assert findings[0] == Finding(Severity.WARNING, "too-many-files", message)


def test_a_source_that_knows_more_of_the_events_stands_in_front() -> None:
    def candidate(name: str, *events: tuple[str, float]) -> Candidate:
        fits = tuple(EventFit(300 + at, known, 100, share) for at, (known, share) in enumerate(events))
        return Candidate(name, FormatFit(name, fits), None, "of another kernel")

    none = candidate("none", ("", 0.0), ("", 0.0))
    few = candidate("few", ("x:y", 0.1), ("", 0.0))
    assert (none.fit.score, none.fit.known_score) == (0.0, 1.0)
    assert sorted([none, few], key=lambda one: one.key) == [few, none]


def test_names_of_candidates_are_escaped() -> None:
    assert str(Candidate("a\n\x1b\udcff", FormatFit("", ()), None)).endswith("  a\\n\\x1b\\udcff")


def test_command(run: Run, copies: Path) -> None:
    region = SAMPLES / "7.3.4-sched" / "region.bin.xz"
    done = run("formats", "--best-of", copies, region)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert lines[0].split() == ["verdict", "score", "addresses", "source"]
    assert lines[1].split() == ["right", "1.000", "-", str(copies / "7.3.4-sched.tar.xz")]
    (copies / "7.3.4-sched.tar.xz").unlink()
    none = run("formats", "--best-of", copies, region)
    assert none.returncode == 6
    assert b"nothing below" in none.stderr
    assert none.stdout.count(b"wrong ") == 2
    (copies / "empty").mkdir()
    empty = run("formats", "--best-of", copies / "empty", region)
    assert (empty.returncode, empty.stdout) == (ExitStatus.SOURCE, b"")
    assert empty.stderr.decode() == (
        f"rbdump: there is no kernel image and no copy of tracefs below {copies}/empty that can be used\n"
    )
    for no_folder in (copies / "nosuch", copies / "notes"):
        assert run("formats", "--best-of", no_folder, region).returncode == ExitStatus.SOURCE


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("region",),
        ("--best-of", "."),
        ("--best-of", ".", "--vmlinux", "x", "r"),
        ("--vmlinux", "x", "region"),
        ("--best-of", ".", "-o", "x", "r"),
    ],
)
def test_command_line_errors(run: Run, arguments: tuple[str, ...]) -> None:
    done = run("formats", *arguments)
    assert done.returncode == 2
    assert done.stdout == b""


@pytest.mark.skipif(not KERNELS.is_dir(), reason="needs the kernels beside the repository")
def test_images_of_whole_kernels(run: Run, tmp_path: Path) -> None:
    region = SAMPLES / "6.12.43-sched" / "region.bin.xz"
    done = run("formats", "--best-of", KERNELS, region)
    assert done.stdout.decode().splitlines()[1].split()[:2] == ["right", "1.000"]
    vmlinux = KERNELS / "vmlinuz-6.12.43-amd64"
    listed = run("formats", "--vmlinux", vmlinux).stdout.decode().splitlines()
    assert "initcall:initcall_finish 20" in listed
    assert run("formats", "--vmlinux", vmlinux, "-o", tmp_path / "out").returncode == 0
    own = load_tracefs(str(SAMPLES / "6.12.43-sched" / "tracefs.tar.xz")).formats
    written = load_tracefs(str(tmp_path / "out")).formats
    assert len(written.names()) == len(listed)
    common = [event_id for event_id in own if event_id in written]
    assert len(common) > 50
    assert all(own[event_id] == written[event_id] for event_id in common)


def test_a_copy_of_another_word_size_is_wrong_even_if_its_formats_fit(run: Run, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "tracing.tar.xz").write_bytes((samples / "armhf-6.12.107-sched" / "tracefs.tar.xz").read_bytes())
    done = run("formats", "--best-of", tmp_path, samples / "6.12.43-fgraph" / "region.bin.xz")
    assert done.returncode == ExitStatus.WRONG_IMAGE
    assert done.stdout.splitlines()[1].startswith(b"wrong ")
