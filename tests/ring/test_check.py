# SPDX-License-Identifier: Apache-2.0
"""One wrong word, one finding: its code, how bad it is, where it is, and no event is lost for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rbdump.findings import Severity
from rbdump.ring import open_region, walk_region
from tests.ring.test_walk import load, merged, rows, steady
from tests.ringwriter import RegionWriter

Damage = Callable[[RegionWriter], None]


def clock(writer: RegionWriter) -> None:
    writer.poke(24, 4, 99)


def text_addr(writer: RegionWriter) -> None:
    writer.poke(*writer.header_field(1, "text"), 0x123000)


def nr_subbufs(writer: RegionWriter) -> None:
    writer.poke(*writer.header_field(1, "nr_subbufs"), 9)


def commit(writer: RegionWriter) -> None:
    writer.poke_commit(1, 3, writer.rings[1].subbufs[3].commit - 2)


def past(writer: RegionWriter) -> None:
    writer.poke(writer.subbuf_offset(1, 3), 8, 1)


def late(writer: RegionWriter) -> None:
    writer.poke(writer.subbuf_offset(1, 3), 8, writer.rings[1].subbufs[4].ts - 5)


@pytest.mark.parametrize(
    ("layout", "damage", "severity", "code", "cpu", "subbuf"),
    [
        ("C2", clock, Severity.ERROR, "clock-unknown", None, None),
        ("B", text_addr, Severity.WARNING, "address-mismatch", None, None),
        ("C2", nr_subbufs, Severity.ERROR, "nr-subbufs-mismatch", 1, None),
        ("C2", commit, Severity.ERROR, "commit-unaligned", 1, 3),
        ("C2", past, Severity.ERROR, "time-stamp-misfit", 1, 3),
        ("C2", late, Severity.ERROR, "time-overlap", 1, 3),
    ],
)
def test_one_wrong_word(
    layout: str, damage: Damage, severity: Severity, code: str, cpu: int | None, subbuf: int | None
) -> None:
    writer = RegionWriter([steady(100), steady(1000, cpu=1)], layout=layout)
    damage(writer)
    region = open_region(load(writer.region()))
    payloads = [payload for _, cpu, payload in rows(region, walk_region(region)) if cpu == 1]
    assert payloads == [payload for _, cpu, payload in merged(writer, 2) if cpu == 1]
    assert [(f.severity, f.code, f.cpu, f.subbuf) for f in region.findings] == [(severity, code, cpu, subbuf)]


def test_buffers_that_name_nothing_leave_the_time_stamps() -> None:
    writer = RegionWriter([steady(700)])
    for entry in range(8):
        writer.poke(writer.cpu_offsets[0] + writer.cpu_header_size + 4 * entry, 4, 77)
    region = open_region(load(writer.region()))
    assert [row[2] for row in rows(region, walk_region(region))] == [row[2] for row in merged(writer, 1)]
    assert "buffers-unusable" in {finding.code for finding in region.findings}
