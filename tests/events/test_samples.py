# SPDX-License-Identifier: Apache-2.0
"""Names, choosing and filters on real regions, held against what the kernel itself printed of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rbdump.events.builtin import builtin_formats, choose_numbering
from rbdump.events.catalog import Catalog
from rbdump.events.choose import Choice, choose, choose_events, parse_time
from rbdump.events.comms import infer_comms, task_names
from rbdump.events.entries import Entries, gather_entries
from rbdump.events.filter import parse_filter
from rbdump.events.rows import Memory
from rbdump.events.tracefs import Tracefs, load_tracefs
from rbdump.inputs import load_input
from rbdump.ring import open_region, walk_region

SAMPLES = Path(__file__).parents[2] / "samples"
LIVE = [
    "6.12.43-sched",
    "7.3.4-sched",
    "6.12.43-dynamic",
    "7.3.4-modules",
    "armhf-6.12.107-sched",
    "s390x-6.12.107-sched",
]
LINE = re.compile(r" *(?P<comm>.*)-(?P<pid>\d+) +\[(?P<cpu>\d{3})\] .{5} +(?P<ts>[\d.]+): (?P<event>\w*)(?P<body>.*)")


@dataclass(frozen=True)
class Sample:
    entries: Entries
    memory: Memory
    catalog: Catalog
    tracefs: Tracefs
    numbering: int
    """As told without the formats of the copy."""
    lines: list[re.Match[str]]


@cache
def sample(name: str) -> Sample:
    region = open_region(load_input(str(SAMPLES / name / "region.bin.xz")).data)
    memory = Memory(region.data, region.abi)
    entries, findings = gather_entries(walk_region(region), memory)
    assert findings == []
    tracefs = load_tracefs(str(SAMPLES / name / "tracefs.tar.xz"))
    numbering = choose_numbering(region.abi, region.layout.name, [], entries)
    own = builtin_formats(region.abi, numbering, entries, memory)
    text = load_input(str(SAMPLES / name / "live.txt.xz")).data.tobytes().decode()
    lines = [match for line in text.splitlines() if (match := LINE.match(line))]
    return Sample(entries, memory, Catalog([tracefs.formats, own]), tracefs, numbering, lines)


@pytest.mark.parametrize("name", LIVE)
def test_saved_names_are_the_kernels(name: str) -> None:
    s = sample(name)
    assert len(s.lines) == len(s.entries)
    names = task_names(s.entries, s.catalog, s.memory, s.tracefs.saved_cmdlines).column()
    assert names == [line["comm"] for line in s.lines]


@pytest.mark.parametrize("name", LIVE)
def test_inferred_names_are_those_the_events_tell(name: str) -> None:
    """The kernel prints one name for a pid; the events tell the name at that time, so only renamed tasks differ."""
    s = sample(name)
    inferred = infer_comms(s.entries, s.catalog, s.memory).column()
    kernel = [line["comm"] for line in s.lines]
    spoken = {int(pid) for line in s.lines for pid in re.findall(r"\b(?:\w*pid)=(\d+)", line["body"])}
    named: dict[int, set[str]] = {}
    for pid, comm in zip(s.entries.pid.tolist(), inferred, strict=True):
        named.setdefault(pid, set()).add(comm)
    last = dict(zip(s.entries.pid.tolist(), inferred, strict=True))
    wrong = {pid for pid, comm, own in zip(s.entries.pid.tolist(), kernel, inferred, strict=True) if comm != own}
    assert all(len(named[pid]) > 1 or pid in spoken for pid in wrong)
    assert "<...>" not in named.get(0, set())
    # A switch away from a task tells its name at that time.
    for line, own in zip(s.lines, inferred, strict=True):
        if line["event"] == "sched_switch" and (told := re.search(r"prev_comm=(.*) prev_pid=(\d+) ", line["body"])):
            assert own == (told[1] if told[2] != "0" else "<idle>")
    assert set(last) == set(named)


@pytest.mark.parametrize("name", LIVE)
def test_trap_11_every_id_is_known_and_means_the_event_of_the_text(name: str) -> None:
    s = sample(name)
    switch = s.catalog.by_name("sched:sched_switch")
    assert switch is not None
    assert s.numbering == choose_numbering(s.memory.abi, "", [s.tracefs.formats])
    assert {event_id for event_id in np.unique(s.entries.id).tolist() if s.catalog.get(event_id) is None} == set()
    assert [line["event"] == "sched_switch" for line in s.lines] == (s.entries.id == switch.id).tolist()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("next_pid > 100 && prev_state == 0", r"prev_state=R .* next_pid=([1-9]\d\d+) "),
        ('next_comm ~ "*or*"', r"next_comm=\S*or"),
        ('!(prev_comm == "sh") && next_pid == 0', r"(?!prev_comm=sh )prev_comm=.* next_pid=0 "),
    ],
)
@pytest.mark.parametrize("name", ["6.12.43-sched", "7.3.4-sched", "armhf-6.12.107-sched", "s390x-6.12.107-sched"])
def test_filters_find_the_lines_that_text_shows(name: str, text: str, pattern: str) -> None:
    s = sample(name)
    choice = Choice(events=choose_events(["sched_switch"], s.catalog), filter=parse_filter(text))
    rows, findings = choose(s.entries, choice, s.catalog, s.memory, lambda: infer_comms(s.entries, s.catalog, s.memory))
    expected = [
        row
        for row, line in enumerate(s.lines)
        if line["event"] == "sched_switch" and re.search(pattern, line["body"].removeprefix(": "))
    ]
    assert np.arange(len(s.entries))[rows].tolist() == expected
    assert expected
    assert findings == []


@pytest.mark.parametrize("name", ["6.12.43-sched", "7.3.4-sched"])
def test_times_copied_from_text_find_their_lines(name: str) -> None:
    s = sample(name)
    first, last = len(s.lines) // 3, len(s.lines) // 2
    choice = Choice(
        since=parse_time(s.lines[first]["ts"], in_ns=True, role="since"),
        until=parse_time(s.lines[last]["ts"], in_ns=True, role="until"),
    )
    rows, _ = choose(s.entries, choice, s.catalog, s.memory, lambda: infer_comms(s.entries, s.catalog, s.memory))
    low, high = float(s.lines[first]["ts"]), float(s.lines[last]["ts"])
    expected = [row for row, line in enumerate(s.lines) if low <= float(line["ts"]) <= high]
    assert np.arange(len(s.entries))[rows].tolist() == expected
