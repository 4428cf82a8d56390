# SPDX-License-Identifier: Apache-2.0
"""The README tells of every command, option and exit status, and its first command works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import typer

import rbdump
from rbdump.cli import app
from rbdump.errors import ExitStatus
from rbdump.events.tracefs import load_tracefs
from rbdump.render.report import LEGEND
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands_are_documented_and_have_help(name: str) -> None:
    assert f"rbdump {name}" in README
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


def test_every_option_of_parse_is_documented() -> None:
    options = {max(p.opts, key=len) for p in COMMANDS["parse"].params if p.opts and p.opts[0].startswith("-")}
    missing = {option for option in options - {"--help"} if f"`{option}" not in README and f"{option} " not in README}
    assert not missing


@pytest.mark.parametrize("status", list(ExitStatus))
def test_every_exit_status_is_documented(status: ExitStatus) -> None:
    assert re.search(rf"^\| {status.value} \| {status.name} \|", README, re.MULTILINE)


def test_every_character_of_the_map_is_documented() -> None:
    for char in LEGEND:
        assert f"`{char}`" in README


def test_every_key_of_a_summary_is_documented(samples: Path) -> None:
    part = README.split("\n## Look at a region\n")[1].split("\n## ")[0]
    region, cpu = part.split("| key of a CPU |")
    summary = rbdump.open(str(samples / "7.3.4-consumed" / "region.bin.xz")).summary()
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", region, re.MULTILINE)))) == set(summary)
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", cpu, re.MULTILINE))))
    assert documented == set(summary["cpus"][0])


def test_info_is_not_said_to_reject_anything() -> None:
    legend = README.split("\nThe map has one character")[1].split("\n\n")[0]
    assert "`X`" in legend
    assert "`r`" not in legend
    assert "--strict" not in {option for parameter in COMMANDS["info"].params for option in parameter.opts}


def test_the_first_command_decodes_a_sample() -> None:
    match = re.search(r"pip install \. && (rbdump parse .+)$", README, re.MULTILINE)
    assert match
    command = match[1].replace("rbdump ", f"{sys.executable} -m rbdump ")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"({command}; exit ${{PIPESTATUS[1]}})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("              sh-150     [001] ...1.")


def test_the_pipe_into_resolve_gives_names(samples: Path) -> None:
    match = re.search(r"^    (rbdump parse region\.bin .+\| rbdump resolve .+\| grep bridge)$", README, re.MULTILINE)
    assert match
    command = match[1].replace("rbdump ", f"{sys.executable} -m rbdump ")
    for name in ("region.bin", "tracing.tar", "kallsyms"):
        file = name.replace("tracing", "tracefs") + ".xz"
        command = command.replace(f" {name}", f" {samples / '6.12.43-modules' / file}")
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "br_add_bridge+0x4/0x90 [bridge] <-br_ioctl_stub+0x1fa/0x320 [bridge]" in done.stdout


def test_the_command_that_copies_tracefs_keeps_what_is_used(samples: Path, tmp_path: Path) -> None:
    match = re.search(r"cd /sys/kernel/tracing && (cp .+) DIR$", README, re.MULTILINE)
    assert match
    with tarfile.open(samples / "6.12.43-sched" / "tracefs.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                path = tmp_path / "live" / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)  # extractall() of Python before 3.11.4 knows no filter
                assert content is not None
                path.write_bytes(content.read())
    live = next(path.parent for path in (tmp_path / "live").rglob("events"))
    instance = live / "instances" / "boot_map"
    instance.mkdir(parents=True)
    (instance / "trace_clock").write_text("local global counter [mono]\n")
    (live / "dynamic_events").write_text("e:eprobes/sw sched.sched_switch\n")
    copy = tmp_path / "copy"
    copy.mkdir()
    subprocess.run(["bash", "-c", f"{match[1]} {copy}"], cwd=live, check=True)
    whole, copied = load_tracefs(str(live)), load_tracefs(str(copy))
    assert copied.printk_formats == whole.printk_formats
    assert copied.saved_cmdlines == whole.saved_cmdlines
    assert copied.eprobes == whole.eprobes == {("eprobes", "sw"): "sched.sched_switch"}
    assert copied.clock == whole.clock == "mono"
    assert copied.header_page == whole.header_page
    assert list(copied.formats) == list(whole.formats)


def test_the_library_example_works(samples: Path) -> None:
    match = re.search(r"```python\n(.+?)```", README, re.DOTALL)
    assert match
    region = samples / "6.12.43-sched" / "region.bin.xz"
    tracefs = samples / "6.12.43-sched" / "tracefs.tar.xz"
    code = (
        match[1]
        .replace('"region.bin"', repr(str(region)))
        .replace('vmlinux="vmlinuz-6.12.43"', f"tracefs={str(tracefs)!r}")
    )
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["summary"]
