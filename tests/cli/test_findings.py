# SPDX-License-Identifier: Apache-2.0
"""`--findings FILE` never costs evidence, and is known to be writable before anything is printed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import typer

from rbdump.cli import app
from rbdump.cli.command import READ
from rbdump.errors import ExitStatus
from tests.conftest import Run, command
from tests.ringwriter import RegionWriter

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture
def region(tmp_path: Path) -> Path:
    path = tmp_path / "region.bin"
    path.write_bytes(RegionWriter([[]], layout="C1", nr_subbufs=3).region())
    return path


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_all_files_that_a_command_reads_are_compared(name: str) -> None:
    named = {p.name for p in COMMANDS[name].params if p.metavar in ("FILE", "PATH", "DIR")}
    named |= {p.name for p in COMMANDS[name].params if "REGION" in (p.metavar or "")}
    assert named - {"findings", "output"} <= set(READ)


@pytest.mark.parametrize("way", ["name", "symlink", "hardlink"])
@pytest.mark.parametrize("words", ["parse", "parse -j2", "resolve --kallsyms /dev/null", "formats --best-of ."])
def test_the_region_is_not_overwritten(run: Run, region: Path, words: str, way: str) -> None:
    before = region.read_bytes()
    target = region.with_name("findings") if way != "name" else region
    if way == "symlink":
        target.symlink_to(region)
    elif way == "hardlink":
        target.hardlink_to(region)
    done = run(*words.split(), region, "--findings", target)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert done.stderr.decode() == (
        f"rbdump: --findings {target} would overwrite {region}, which is an input; give another file\n"
    )
    assert region.read_bytes() == before


@pytest.mark.parametrize("source", ["--tracefs", "--kallsyms", "--vmlinux"])
def test_a_source_is_not_overwritten(run: Run, region: Path, source: str) -> None:
    path = region.with_name("source")
    path.write_bytes(b"evidence")
    done = run("parse", region, source, "/dev/null", source, path, "--findings", path)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert path.read_bytes() == b"evidence"


@pytest.mark.parametrize("way", ["inside", "new", "symlink", "hardlink"])
@pytest.mark.parametrize("words", ["parse --tracefs", "parse --modules", "formats --best-of"])
def test_nothing_is_written_into_a_folder_that_is_read(run: Run, region: Path, words: str, way: str) -> None:
    folder = region.with_name("folder")
    (folder / "events").mkdir(parents=True)
    source = folder / "events" / "trace_clock"
    source.write_bytes(b"evidence")
    target = source
    if way == "new":
        target = folder / "events" / "findings"
    elif way == "symlink":  # the copy holds a link, and what it points to is named
        target = source.rename(region.with_name("elsewhere"))
        source.symlink_to(target)
    elif way == "hardlink":
        target = region.with_name("elsewhere")
        target.hardlink_to(source)
    done = run(*words.split(), folder, region, "--findings", target)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert done.stderr.decode() == (
        f"rbdump: --findings {target} is in the folder {folder}, which is an input; give a file elsewhere\n"
    )
    assert source.read_bytes() == b"evidence"
    assert way != "new" or not target.exists()


def test_a_file_beside_a_folder_that_is_read_may_be_written(run: Run, region: Path) -> None:
    (region.with_name("folder") / "events").mkdir(parents=True)
    (region.with_name("folder") / "trace_clock").write_bytes(b"[local]")
    for _ in range(2):  # a new file, and the same once more
        done = run("parse", region, "--tracefs", region.with_name("folder"), "--findings", region.with_name("folder2"))
        assert done.returncode == ExitStatus.OK


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "out.txt"])
def test_findings_do_not_go_where_standard_output_goes(region: Path, name: str) -> None:
    out = region.with_name("out.txt")
    with out.open("wb") as file:
        words = command("parse", region, "--findings", region.parent / name)
        done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == ExitStatus.USAGE
    assert b"is where standard output goes, which is for data; give another file" in done.stderr


def test_standard_input_is_not_overwritten(region: Path) -> None:
    before = region.read_bytes()
    with region.open("rb") as file:
        done = subprocess.run(
            command("parse", "-", "--findings", region), stdin=file, capture_output=True, check=False, timeout=60
        )
    assert done.returncode == ExitStatus.USAGE
    assert b"would overwrite standard input" in done.stderr
    assert region.read_bytes() == before


@pytest.mark.parametrize("name", ["-", ""])
def test_findings_do_not_go_to_standard_output(run: Run, region: Path, name: str) -> None:
    done = run("parse", region, "--findings", name)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert b"give a file" in done.stderr


@pytest.mark.parametrize("name", ["no/such/folder", "region.bin/file", "."])
def test_a_file_that_cannot_be_written_is_noticed_first(run: Run, region: Path, name: str) -> None:
    done = run("parse", region, "--findings", region.parent / name)
    assert (done.returncode, done.stdout) == (ExitStatus.OUTPUT, b"")
    assert done.stderr.startswith(b"rbdump: cannot write findings to ")
    assert done.stderr.count(b"\n") == 1


def test_a_command_that_fails_leaves_the_file_as_it_was(run: Run, region: Path) -> None:
    old, new = region.with_name("old"), region.with_name("new")
    old.write_text("of the last run\n")
    for path in (old, new):
        assert run("parse", region, "--event", "nosuch", "--findings", path).returncode == ExitStatus.USAGE
    assert old.read_text() == "of the last run\n"
    assert not new.exists()
    assert run("parse", region, "--findings", old).returncode == ExitStatus.OK
    assert all(json.loads(line)["code"] for line in old.read_text().splitlines())


def test_a_full_disk_is_one_sentence(run: Run, region: Path) -> None:
    region.write_bytes(region.read_bytes()[:-4096])
    done = run("parse", region, "--findings", "/dev/full")
    assert done.returncode == ExitStatus.OUTPUT
    assert done.stderr == b"rbdump: cannot write findings to /dev/full: No space left on device\n"


def test_devices_may_be_given(run: Run, region: Path) -> None:
    assert run("parse", region, "--findings", "/dev/null").returncode == ExitStatus.OK
