# SPDX-License-Identifier: Apache-2.0
"""`rbdump info` and `rbdump check`."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import re
from pathlib import Path

import pytest

import rbdump
from rbdump.errors import ExitStatus
from rbdump.findings import Finding, Severity
from rbdump.render.report import print_report
from tests.conftest import SAMPLES, Run
from tests.ringwriter import RegionWriter


@pytest.mark.parametrize("folder", sorted(p.name for p in SAMPLES.iterdir() if p.is_dir()))
def test_real_regions_are_undamaged(run: Run, folder: str) -> None:
    assert run("check", SAMPLES / folder / "region.bin.xz").returncode == ExitStatus.OK


def test_json_has_the_facts(run: Run, samples: Path) -> None:
    path = samples / "7.3.4-modules" / "region.bin.xz"
    summary = json.loads(run("info", path, "--json").stdout)
    assert summary["layout"] == "C2"
    assert summary["clock"] == "local"
    assert summary["text_addr"] == "0xffffffff98200000"
    assert [module["name"] for module in summary["modules"]] == ["dummy", "bridge", "stp", "llc"]
    assert summary["input_sha256"] == hashlib.sha256(lzma.decompress(path.read_bytes())).hexdigest()
    assert summary["events"] == sum(cpu["events"] for cpu in summary["cpus"])
    for cpu in summary["cpus"]:
        assert len(cpu["map"]) == summary["nr_subbufs"]
        assert sum(cpu["subbufs"].values()) == summary["nr_subbufs"]
        assert cpu["map"][cpu["commit"]] == "C"


def test_tables_for_a_person(run: Run, samples: Path) -> None:
    text = run("info", samples / "7.3.4-consumed" / "region.bin.xz").stdout.decode()
    assert "\x1b" not in text, "colour into a pipe"
    assert "layout       C2, 64-bit little endian" in text
    assert ".---------------------------RH##################C" in text
    assert "H head page" in text
    assert text.splitlines() == [line.rstrip() for line in text.splitlines()]


def test_info_and_parse_agree_on_the_clock(run: Run, samples: Path, tmp_path: Path) -> None:
    region = samples / "6.12.43-sched" / "region.bin.xz"
    findings = tmp_path / "findings"
    assert b" clock=local" in run("parse", region, "--findings", findings).stdout
    found = [json.loads(line) for line in findings.read_text().splitlines()]
    said = next(finding["message"] for finding in found if finding["code"] == "clock-assumed")
    info = run("info", region).stdout.decode()
    assert re.search(r"^clock +(.+)$", info, re.MULTILINE)[1] == said.split(" (")[0]  # type: ignore[index]
    assert json.loads(run("info", region, "--json").stdout)["clock"] is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(path: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that `rbdump info` sends to a terminal, which breaks them itself, without their colours."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    trace = rbdump.open(str(path))
    terminal = Terminal()
    print_report(trace.summary(), trace.findings, terminal, in_ns=trace.in_ns)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


@pytest.mark.parametrize("columns", [0, 1, 24, 40, 60, 100])
def test_a_narrow_terminal_loses_nothing(
    run: Run, samples: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    path = samples / "7.3.4-consumed" / "region.bin.xz"
    wide = run("info", path).stdout.decode().splitlines()
    lines = on_a_terminal(path, columns, monkeypatch)
    begin = wide.index("CPU 0")
    assert lines[:begin] == wide[:begin]
    rows = [line for line in lines if re.match(r" *\d+ [HCR#.c-]+$", line)]
    assert all(len(row) <= max(columns or 80, 17) for row in rows)
    whole = [line for line in wide if re.match(r" *\d+ [HCR#.c-]+$", line)]
    assert "".join(row[9:] for row in rows) == "".join(row[9:] for row in whole)
    assert all(int(row[:8]) % 8 == 0 for row in rows)
    legend = next(line for line in wide if line.startswith("H head page"))
    assert "  ".join("\n".join(lines).split("\n\n")[-2].splitlines()) == legend


def test_one_cpu_is_no_cpus(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "region"
    path.write_bytes(RegionWriter([[]], layout="C1", nr_subbufs=3).region())
    assert b"\nsub-buffers  1 CPU of 3 x 4096 bytes\n" in run("info", path).stdout


def test_names_from_anywhere_are_escaped(run: Run, tmp_path: Path) -> None:
    """A newline, what a terminal obeys, and a byte that is no UTF-8."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\x1b[31m\xff.xz")
    Path(path).write_bytes(lzma.compress(RegionWriter([[]], layout="C1", nr_subbufs=3).region())[:-8])
    lines = run("info", path).stdout.decode().splitlines()
    assert lines[0].startswith(f"region       {tmp_path}/a\\nb\\x1b[31m\\xff.xz at offset")
    summary = json.loads(run("info", path, "--json").stdout)
    assert summary["input"] == f"{tmp_path}/a\nb\x1b[31m\\xff.xz"
    error = run("parse", path, "--tracefs", path).stderr
    assert error.count(b"\n") == 1
    assert b"\x1b" not in error
    assert Finding(Severity.INFO, "x", "\udcff").as_dict()["message"] == "\\xff"
    out = io.StringIO()
    summary["input"] = "x"
    print_report(summary, [Finding(Severity.ERROR, "x", "a\x1bb")], out, in_ns=True)
    assert "\x1b" not in out.getvalue()
