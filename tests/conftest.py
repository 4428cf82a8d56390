# SPDX-License-Identifier: Apache-2.0
"""Where the samples lie, and how tests run the command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
SHARED = ROOT.parent / "shared"
"""Larger real regions and whole kernel images; absent for most people, and what needs them is skipped."""

# The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("rbdump", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("rbdump"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "rbdump"))

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real regions."""
    return SAMPLES


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `rbdump ARGUMENT...` as a process of its own, with a cache folder of its own; stdin may be given."""

    def run_rbdump(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command(*arguments),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "100"},
        )

    return run_rbdump


def command(*arguments: str | Path) -> Sequence[str]:
    """The command line that runs rbdump with this interpreter."""
    return [sys.executable, "-m", "rbdump", *map(str, arguments)]


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder one that must not be listed, for root as well."""

    def lock_folder(folder: Path) -> None:
        scandir = os.scandir

        def refuse(path: str) -> object:
            if Path(path) == folder:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return lock_folder
