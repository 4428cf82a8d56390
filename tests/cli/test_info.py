# SPDX-License-Identifier: Apache-2.0
"""`rbdump info` and `rbdump check`."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from rbdump.errors import ExitStatus
from tests.conftest import SAMPLES, Run


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
    facts = text.split("\n\n")[0].splitlines()
    assert facts == [line.rstrip() for line in facts]
