# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml and MANIFEST.in say."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_no_typer_that_crashes_with_the_click_that_pip_adds() -> None:
    """typer before 0.15.4 allows click 8.2, with which every help text and usage error ends in a TypeError."""
    required = next(line for line in PROJECT["dependencies"] if line.startswith("typer"))
    lower = re.search(r">=([\d.]+)", required)
    assert lower
    assert tuple(map(int, lower[1].split("."))) >= (0, 15, 4)
