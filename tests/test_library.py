# SPDX-License-Identifier: Apache-2.0
"""The library as its users write it: paths, plain numbers and single words, and what makes no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import rbdump
from tests.conftest import SAMPLES

FOLDER = SAMPLES / "6.12.43-sched"
REGION = FOLDER / "region.bin.xz"


def lines(**chosen: Any) -> list[str]:
    trace = rbdump.open(REGION, tracefs=[FOLDER / "tracefs.tar.xz"], kallsyms=FOLDER / "kallsyms.xz")
    return list(trace.lines(rbdump.Selection(**chosen)))


def test_paths_may_be_path_objects() -> None:
    summary = rbdump.open(REGION, tracefs=FOLDER / "tracefs.tar.xz").summary()
    assert json.loads(json.dumps(summary))["input"] == str(REGION)


@pytest.mark.parametrize(
    ("plain", "spelled"),
    [
        ({"cpus": 1}, {"cpus": ("1",)}),
        ({"cpus": [0, "1"], "pids": 0}, {"cpus": ("0,1",), "pids": ("0",)}),
        ({"events": "sched_switch"}, {"events": ("sched_switch",)}),
        ({"since": 62.3, "boot": 0}, {"since": "62.3", "boot": "0"}),
    ],
)
def test_numbers_and_single_words_do(plain: dict[str, Any], spelled: dict[str, Any]) -> None:
    assert lines(**plain, last=50) == lines(**spelled, last=50) != []


@pytest.mark.parametrize("chosen", [{"last": 0}, {"last": -1}, {"since": ""}, {"cpus": 9}, {"boot": -1}, {"pids": "x"}])
def test_a_selection_that_makes_no_sense(chosen: dict[str, Any]) -> None:
    with pytest.raises(rbdump.UsageError):
        lines(**chosen)


@pytest.mark.parametrize("jobs", [1, 2])
def test_options_that_make_no_sense(jobs: int) -> None:
    policy: Any = "7.99"
    with pytest.raises(rbdump.UsageError, match=r"'7.99' is no policy of --strict; there are 6.12, 6.17, 7.2"):
        rbdump.open(REGION, strict=True, policy=policy, jobs=jobs)
    with pytest.raises(rbdump.UsageError, match="jobs=0"):
        rbdump.open(REGION, jobs=0)


def test_a_clock_that_contradicts_the_evidence_is_said() -> None:
    region = SAMPLES / "7.3.4-sched" / "region.bin.xz"
    for clock, codes in (("counter", ["clock-overridden"]), ("local", []), (None, [])):
        trace = rbdump.open(region, clock=clock)
        next(trace.lines())
        assert [finding.code for finding in trace.findings if finding.code.startswith("clock-")] == codes


def test_all_public_names_are_listed_and_none_costs_numpy() -> None:
    assert {*rbdump.__all__} <= {*dir(rbdump)}
    script = "import sys, rbdump; dir(rbdump); print('numpy' in sys.modules, rbdump.Policy)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False typing.Literal[")
    assert all(getattr(rbdump, name) is not None for name in rbdump.__all__)
    assert all(word in str(rbdump.Event.__doc__) for word in ("nanoseconds", "lost", "state"))
