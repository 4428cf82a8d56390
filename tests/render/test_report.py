# SPDX-License-Identifier: Apache-2.0
"""The tables for a person, of a region in which most things are wrong."""

from __future__ import annotations

import io
from pathlib import Path

import rbdump
from rbdump.render.report import FINDINGS_SHOWN, print_report
from tests.ring.test_walk import steady
from tests.ringwriter import Missed, Reboot, RegionWriter


def test_what_is_wrong_is_in_the_tables(tmp_path: Path) -> None:
    old = [(10**9 + n, b"old".ljust(24)) for n in range(300)]
    writer = RegionWriter([[Missed(3), *steady(20)], None, [*old, Reboot(), (5, b"x" * 20)], steady(200)],
                          nr_subbufs=50)  # fmt: skip
    writer.poke(*writer.header_field(3, "nr_subbufs"), 9)
    for index in range(8, 50):
        writer.poke_commit(0, index, 5000)
    (tmp_path / "region").write_bytes(writer.region())
    trace = rbdump.open(tmp_path / "region")
    out = io.StringIO()
    print_report(trace.summary(), trace.findings, out, in_ns=True)
    lines = out.getvalue().splitlines()
    at = lines.index("CPU 0")
    assert [line.split(None, 3) for line in lines[at - 5 : at - 1]] == [
        ["0", "20", "0.000001000", "0.000001190     3       0     1       1  7 empty, 1 ring, 42 invalid"],
        ["1", "0", "-", "-     -       0     -       -  never online"],
        ["2", "291", "0.000000005", "1.000000289     -       0     1       3  47 empty, 3 ring; 2 boots"],
        ["3", "200", "0.000001000", "0.000002990     -       0     1       2  48 empty, 2 ring; header damaged"],
    ]
    assert lines[at + 1] == f"       0 RC......{'X' * 42}"
    assert "X invalid" in lines[lines.index(f"Findings ({len(trace.findings)})") - 2]
    assert lines[-1] == f"... and {len(trace.findings) - FINDINGS_SHOWN} more; --json has them all"
    assert lines[-2 - FINDINGS_SHOWN] == f"Findings ({len(trace.findings)})"
