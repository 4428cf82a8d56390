# SPDX-License-Identifier: Apache-2.0
"""The help texts: groups under headings, nothing cut off, 80 columns."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from rbdump.errors import ExitStatus
from rbdump.symbols.verify import Verdict
from tests.conftest import Run, command

COMMANDS = ("parse", "info", "check", "resolve", "formats")


def help_text(*words: str, columns: int = 80) -> str:
    environment = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run(
        command(*words, "--help"), capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert done.stderr == ""
    return done.stdout


def test_no_summary_is_cut_off() -> None:
    text = help_text()
    assert "..." not in text.split("Commands:")[1]
    for name in COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str) -> None:
    text = help_text(name)
    assert max(map(len, text.splitlines())) <= 80
    usage = text.splitlines()[0]
    assert "REGION" in usage
    assert "{" not in usage
    assert "[[" not in usage
    assert "<str" not in text
    assert "<list" not in text


def test_formats_explains_its_verdicts() -> None:
    text = " ".join(help_text("formats").split())
    for verdict in Verdict:
        assert re.search(rf"\b{verdict}( \(|\.)", text)
    assert f"{int(ExitStatus.OK)} when the best is right or open" in text
    assert f"{int(ExitStatus.WRONG_IMAGE)} when all are wrong" in text


def test_options_of_parse_stand_under_headings() -> None:
    lines = help_text("parse").splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Arguments:",
        "Sources of names and formats:",
        "What to print:",
        "How to print:",
        "How to read the region:",
        "Other options:",
    ]
    where = {line.split()[0]: position for position, line in enumerate(lines) if line.startswith("  -")}
    assert lines.index("What to print:") < where["--cpu"] < lines.index("How to print:") < where["--jsonl"]


def test_a_misspelt_command_is_told_the_right_one(run: Run) -> None:
    done = run("prase")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert b"parse" in done.stderr
