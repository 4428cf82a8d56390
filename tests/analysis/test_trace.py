# SPDX-License-Identifier: Apache-2.0
"""The library on regions that a writer made: two boots in one ring, lost events, what lies behind the commit."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest

import rbdump
from tests.ringwriter import Missed, Reboot, RegionWriter, write_region


def marker(text: str, pid: int = 7, ip: int = 0) -> bytes:
    """The payload of an ftrace:print event."""
    return struct.pack("<HBBiQ", 5, 0, 0, pid, ip) + text.encode() + b"\n\0"


def opened(tmp_path: Path, region: bytes, **options: bool) -> rbdump.Trace:
    path = tmp_path / "region.bin"
    path.write_bytes(region)
    return rbdump.open(str(path), **options)


def written(trace: rbdump.Trace, **selection: str) -> list[str]:
    with tempfile.TemporaryFile() as file:
        trace.write(file.fileno(), rbdump.Selection(**selection))
        file.seek(0)
        lines = file.read().decode().splitlines()
    return [line for line in lines if not line.startswith("#") or line.startswith("# rbdump: b")]


@pytest.fixture
def two_boots(tmp_path: Path) -> rbdump.Trace:
    first = [(10**10 + n * 10**6, marker(f"old {n}")) for n in range(300)]
    second = [(10**9 + n * 10**6, marker(f"new {n}")) for n in range(5)]
    return opened(tmp_path, write_region([[*first, Reboot(), *second]], nr_subbufs=16))


def test_the_last_boot_is_the_default(two_boots: rbdump.Trace) -> None:
    lines = written(two_boots)
    assert [line.rsplit(": ", 1)[1] for line in lines] == [f"new {n}" for n in range(5)]
    assert any(finding.code for finding in two_boots.findings if "boot" in finding.message)


def test_times_may_be_floats(tmp_path: Path) -> None:
    events = [(n * 10_000, marker(f"at {n}")) for n in range(1, 10)]
    trace = opened(tmp_path, write_region([events]))
    chosen = [event.ts for event in trace.events(rbdump.Selection(since=0.00007, until=8e-05))]
    assert chosen == [70_000, 80_000]
    assert [event.ts for event in trace.events(rbdump.Selection(since=0.0, last=1))] == [90_000]


def test_a_boot_before_it_can_be_chosen(two_boots: rbdump.Trace) -> None:
    lines = written(two_boots, boot="1")
    assert lines
    assert all(": old " in line for line in lines)


def test_all_boots_are_kept_apart(two_boots: rbdump.Trace) -> None:
    lines = written(two_boots, boot="all")
    titles = [n for n, line in enumerate(lines) if line.startswith("# rbdump: boot=")]
    assert [lines[n] for n in titles] == ["# rbdump: boot=1", "# rbdump: boot=0 (the last one)"]
    assert all(": old " in line for line in lines[1 : titles[1]])
    assert all(": new " in line for line in lines[titles[1] + 1 :])
    assert [event.boot for event in two_boots.events(rbdump.Selection(boot="all", last=1))] == [0]


def test_lost_events_are_said_where_they_are_missing(tmp_path: Path) -> None:
    full = [(10**9 + n, marker(f"before {n}" + "." * 3000)) for n in range(2)]  # the second begins a sub-buffer
    region = write_region([[*full, Missed(17), (2 * 10**9, marker("after"))]], nr_subbufs=16)
    lines = written(opened(tmp_path, region))
    assert lines[1] == "CPU:0 [LOST 17 EVENTS]"
    assert ["before 0" in lines[0], "before 1" in lines[2], lines[3].endswith(": after")] == [True] * 3
    events = list(opened(tmp_path, region).events())
    assert [event.lost for event in events] == [0, 17, 0]


def test_findings_come_once(two_boots: rbdump.Trace) -> None:
    written(two_boots)
    written(two_boots)
    findings = two_boots.findings
    assert len(findings) == len(set(findings))


def test_a_policy_names_what_strict_means(tmp_path: Path) -> None:
    region = write_region([[(10**9, marker("only"))]], nr_subbufs=16)
    for policy in ("6.12", "6.17", "7.2"):
        assert len(written(opened(tmp_path, region, strict=True, policy=policy))) == 1


def test_however_many_processes_render_the_text_and_the_findings_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbdump.analysis.printing.SLICE", 16)
    short = struct.pack("<HBBiI", 5, 0, 0, 7, 0)
    events = [(10**9 + n * 10**6, short if n % 5 == 2 else marker(f"{n}")) for n in range(600)]
    region = write_region([events], nr_subbufs=16)
    found = opened(tmp_path, region)
    lines = written(found)
    codes = [finding.code for finding in found.findings]
    assert codes.count("record-shorter-than-format") == 1
    for jobs in (2, 3) * 5:
        trace = opened(tmp_path, region)
        with tempfile.TemporaryFile() as file:
            trace.write(file.fileno(), jobs=jobs)
            file.seek(0)
            text = file.read().decode().splitlines()
        assert [line for line in text if not line.startswith("#")] == lines
        assert trace.findings == found.findings


def test_a_filter_knows_the_functions_of_modules(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text(
        "ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81001000 T _etext\n"
        "ffffffffc0400000 t before\t[mod]\nffffffffc0400010 t in_module\t[mod]\n"
    )
    events = [(10**9 + n, marker(f"{n}", ip=0xFFFF_FFFF_C040_000C + 4 * n)) for n in range(3)]
    path = tmp_path / "region.bin"
    path.write_bytes(write_region([events], nr_subbufs=16, text_addr=0xFFFF_FFFF_8100_0000))
    trace = rbdump.open(str(path), kallsyms=str(tmp_path / "kallsyms"))
    assert [line[-1] for line in written(trace, filter="ip.function == in_module")] == ["1", "2"]
    assert [line[-1] for line in written(trace, filter="ip.function == 0xffffffffc0400014")] == ["1", "2"]
    for unknown in ("0xzz", "0x" + "f" * 20, "12z", "nothing"):
        with pytest.raises(rbdump.RbdumpError, match=f"no function {unknown} is known"):
            written(trace, filter=f"ip.function == {unknown}")
    with pytest.raises(rbdump.RbdumpError, match="no function before_all is known"):
        written(rbdump.open(str(path)), filter="ip.function == before_all")
    with pytest.raises(rbdump.RbdumpError, match="no function 0x1000 is known"):
        written(trace, filter="ip.function == 0x1000")


def test_what_lies_behind_the_commit_is_introduced(tmp_path: Path) -> None:
    writer = RegionWriter([[(10**9 + n, marker(f"{n}")) for n in range(5)]])
    (index,) = writer.order(0)
    writer.poke_commit(0, index, writer.rings[0].subbufs[index].commit * 3 // 5)
    assert [line[-1] for line in written(opened(tmp_path, writer.region()))] == ["0", "1", "2"]
    trace = opened(tmp_path, writer.region(), uncommitted=True)
    lines = written(trace)
    assert [line[-1] for line in lines if line[0] != "#"] == ["0", "1", "2", "3", "4"]
    assert lines[0] == "# rbdump: boot=0 (the last one)"
    assert lines[4].startswith("# rbdump: behind the last commit: ")
    assert [event.state for event in trace.events()] == ["live"] * 3 + ["uncommitted"] * 2


def test_a_switch_names_the_next_task(tmp_path: Path) -> None:
    switch = struct.pack("<HBBiIIIBBBB", 2, 0, 0, 7, 7, 9, 0, 120, 1, 120, 1) + bytes(4)
    (tmp_path / "saved_cmdlines").write_text("9 worker\n")
    path = tmp_path / "region.bin"
    path.write_bytes(write_region([[(10**9, switch), (10**9 + 1, marker("x", pid=9))]]))
    for tracefs, name in (((), "<...>"), (tmp_path, "worker")):
        line = next(line for line in rbdump.open(path, tracefs=tracefs).lines() if "==>" in line)
        assert line.endswith(f"      7:120:S ==> [000]       9:120:S {name}")
