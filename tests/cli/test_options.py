# SPDX-License-Identifier: Apache-2.0
"""What the library is asked for by each option of `rbdump parse`."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import rbdump
from rbdump.cli import app
from rbdump.errors import ExitStatus
from tests.conftest import Run

PARSE = typer.main.get_command(app).commands["parse"]  # type: ignore[attr-defined]
PLAIN: dict[str, Any] = {
    "vmlinux": (), "modules": None, "tracefs": (), "kallsyms": None, "text_addr": None, "text_delta": None,
    "clock": None, "force": False, "cache": True, "offset": None, "strict": False, "policy": None,
    "uncommitted": False, "jobs": 1, "jsonl": False, "raw_fields": False, "selection": rbdump.Selection(),
}  # fmt: skip
ASKED: dict[str, dict[str, Any]] = {
    "": {},
    "--vmlinux a --vmlinux b": {"vmlinux": ["a", "b"]},
    "--modules a": {"modules": "a"},
    "--tracefs a --tracefs b": {"tracefs": ["a", "b"]},
    "--kallsyms a": {"kallsyms": "a"},
    "--text-addr 0xffffffff81000000": {"text_addr": 0xFFFFFFFF81000000},
    "--text-delta -0x1000 --raw-fields": {"text_delta": -0x1000, "raw_fields": True},
    "--clock mono": {"clock": "mono"},
    "--force": {"force": True},
    "--no-cache": {"cache": False},
    "--offset 4K": {"offset": 4096},
    "--strict": {"strict": True},
    "--policy 6.12": {"strict": True, "policy": "6.12"},
    "--policy 6.17": {"strict": True, "policy": "6.17"},
    "--policy 7.2": {"strict": True, "policy": "7.2"},
    "--uncommitted": {"uncommitted": True},
    "--jobs 3": {"jobs": 3},
    "-j 3": {"jobs": 3},
    "--jsonl": {"jsonl": True},
    "--raw-fields": {"raw_fields": True},
    "--cpu 0,2 --cpu 3": {"selection": rbdump.Selection(cpus=("0,2", "3"))},
    "--event a -e b:*": {"selection": rbdump.Selection(events=("a", "b:*"))},
    "--pid 1 --pid 2": {"selection": rbdump.Selection(pids=("1", "2"))},
    "--since -5s": {"selection": rbdump.Selection(since="-5s")},
    "--until 7": {"selection": rbdump.Selection(until="7")},
    "--last 4": {"selection": rbdump.Selection(last=4)},
    "--filter pid==1": {"selection": rbdump.Selection(filter="pid==1")},
    "--boot all": {"selection": rbdump.Selection(boot="all")},
}


def test_every_option_is_here() -> None:
    own = {option for parameter in PARSE.params for option in parameter.opts if option.startswith("-")}
    assert own - set(re.findall(r"--?[a-z][a-z-]*", " ".join(ASKED))) == {"--findings"}


@pytest.mark.parametrize("words", ASKED)
def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    asked: dict[str, Any] = {}

    def write(fd: int, selection: rbdump.Selection, **options: Any) -> None:
        assert asked.pop("jobs") == options["jobs"], "the walk and the text by as many processes"
        asked.update(options, selection=selection)

    def open_trace(region: str, **options: Any) -> SimpleNamespace:
        asked.update(options, region=region)
        return SimpleNamespace(write=write, findings=[])

    monkeypatch.setattr(rbdump, "open", open_trace)
    PARSE.main([*words.split(), "region"], standalone_mode=False)
    assert asked == PLAIN | {"region": "region"} | ASKED[words]


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        ExitStatus.OK,
        f"rbdump {rbdump.__version__}\n".encode(),
        b"",
    )
