# SPDX-License-Identifier: Apache-2.0
"""The tables for a person, of a region in which most things are wrong."""

from __future__ import annotations

import io
from pathlib import Path

import rbdump
from rbdump.render.report import FINDINGS_SHOWN, print_report
from tests.ringwriter import Missed, Reboot, RegionWriter


def test_what_is_wrong_is_in_the_tables(tmp_path: Path) -> None:
    old = [(10**10 + n * 10**6, b"old".ljust(24)) for n in range(300)]
    new = [(10**9 + n * 10**6, b"new".ljust(24)) for n in range(5)]
    both = [*old, Reboot(), *new]
    cpus = [[Missed(3), *both], None, both]
    writer = RegionWriter(cpus, nr_subbufs=50)
    writer.poke(*writer.header_field(2, "nr_subbufs"), 9)
    for index in range(8, 50):
        writer.poke_commit(0, index, 5000)
    (tmp_path / "region").write_bytes(writer.region())
    trace = rbdump.open(tmp_path / "region")
    out = io.StringIO()
    print_report(trace.summary(), trace.findings, out, in_ns=True)
    lines = out.getvalue().splitlines()
    at = lines.index("CPU 0")
    assert [line.split(None, 3) for line in lines[at - 4 : at - 1]] == [
        ["0", "295", "1.000000000", "10.289000000   yes       0     1       3  5 empty, 3 ring, 42 invalid; 2 boots"],
        ["1", "0", "-", "-     -       0     -       -  never online"],
        [
            "2",
            "295",
            "1.000000000",
            "10.289000000     -       0     1       3  47 empty, 3 ring; 2 boots; header damaged",
        ],
    ]
    assert lines[at + 1] == f"       0 RH#C....{'X' * 42}"
    assert "X invalid" in lines[lines.index(f"Findings ({len(trace.findings)})") - 2]
    assert lines[-1] == f"... and {len(trace.findings) - FINDINGS_SHOWN} more; --json has them all"
    assert lines[-2 - FINDINGS_SHOWN] == f"Findings ({len(trace.findings)})"
