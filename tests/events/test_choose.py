# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.errors import UsageError
from rbdump.events.builtin import builtin_formats
from rbdump.events.catalog import Catalog
from rbdump.events.choose import Choice, Time, choose, choose_cpus, choose_events, parse_pids, parse_time
from rbdump.events.comms import TaskNames, infer_comms
from rbdump.events.filter import parse_filter
from rbdump.findings import Severity
from tests.events.records import Rec, catalog_of, format_text, pack

CATALOG = catalog_of(
    ("sched", format_text("sched_switch", 300, ("int next_pid", 8, 4, 1))),
    ("sched", format_text("sched_waking", 301, ("int pid", 8, 4, 1))),
    ("irq", format_text("irq_entry", 302, ("int irq", 8, 4, 1))),
)
SECOND = 1_000_000_000


def rec(event_id: int, pid: int, value: int, ts: int, cpu: int, epoch: int = 0) -> Rec:
    return Rec(event_id, pid, struct.pack("<i", value), ts, cpu, epoch)


RECORDS = [
    rec(300, 1, 10, 1 * SECOND, 0),
    rec(301, 2, 20, 2 * SECOND, 1),
    rec(302, 3, 30, 3 * SECOND, 2),
    rec(300, 4, 40, 4 * SECOND, 3),
    rec(999, 5, 50, 5 * SECOND, 0),
]


def chosen(choice: Choice, records: list[Rec] = RECORDS) -> list[int]:
    entries, memory = pack(records)
    rows, _ = choose(entries, choice, CATALOG, memory, lambda: infer_comms(entries, CATALOG, memory))
    return np.arange(len(entries))[rows].tolist()


def since(text: str) -> Choice:
    return Choice(since=parse_time(text, in_ns=True, role="since"))


def until(text: str) -> Choice:
    return Choice(until=parse_time(text, in_ns=True, role="until"))


def test_by_cpu_event_pid_and_count() -> None:
    assert chosen(Choice()) == [0, 1, 2, 3, 4]
    assert chosen(Choice(cpus=frozenset({0}))) == [0, 4]
    assert chosen(Choice(cpus=frozenset({0, 3, 70000}))) == [0, 3, 4]
    assert chosen(Choice(events=frozenset({300}))) == [0, 3]
    assert chosen(Choice(events=frozenset({300, 999}))) == [0, 3, 4]
    assert chosen(Choice(pids=frozenset({2, 4}))) == [1, 3]
    assert chosen(Choice(pids=frozenset({5}))) == [4]
    assert chosen(Choice(last=2)) == [3, 4]
    assert chosen(Choice(last=0)) == []
    assert chosen(Choice(last=99)) == [0, 1, 2, 3, 4]
    assert chosen(Choice(events=frozenset({300}), last=1)) == [3]
    assert chosen(Choice(events=frozenset({300}), cpus=frozenset({0}))) == [0]


def test_nothing_chosen_is_a_slice() -> None:
    entries, memory = pack(RECORDS)

    def no_names() -> TaskNames:
        raise AssertionError("names are made for filters only")

    rows, findings = choose(entries, Choice(last=2), CATALOG, memory, no_names)
    assert rows == slice(3, 5)
    assert findings == []
    rows, _ = choose(entries, Choice(cpus=frozenset({1})), CATALOG, memory, no_names)
    assert isinstance(rows, np.ndarray)


def test_by_time() -> None:
    assert chosen(since("3")) == [2, 3, 4]
    assert chosen(since("3s")) == [2, 3, 4]
    assert chosen(since("3000ms")) == [2, 3, 4]
    assert chosen(until("3.000000")) == [0, 1, 2]
    assert chosen(until("2.5")) == [0, 1]
    assert chosen(since("-1s")) == [3, 4]
    assert chosen(since("-1500ms")) == [3, 4]
    assert chosen(since("-1000000us")) == [3, 4]
    assert chosen(since("-0")) == [4]
    assert chosen(until("-3s")) == [0, 1]
    assert chosen(since("-99999s")) == [0, 1, 2, 3, 4]
    assert chosen(until("-99999s")) == []
    assert chosen(since("99999999999999999999")) == []
    assert chosen(Choice(since=Time(4 * SECOND, False), until=Time(2 * SECOND, False))) == []
    assert chosen(since("-1s"), []) == []


def test_trap_12_a_time_copied_from_text_finds_its_line() -> None:
    """Text rounds to microseconds, half up: a record at .9995 us is printed as the next microsecond."""
    stamps = [12_345_677_499, 12_345_677_500, 12_345_678_499, 12_345_678_500]
    records = [rec(300, 1, 1, ts, 0) for ts in stamps]
    assert chosen(since("12.345678"), records) == [1, 2, 3]
    assert chosen(until("12.345678"), records) == [0, 1, 2]
    # Digits beyond the microsecond are meant as they are.
    assert chosen(since("12.345678000"), records) == [2, 3]
    assert chosen(until("12.345677500"), records) == [0, 1]


def test_times_from_the_end_are_of_the_last_boot() -> None:
    records = [rec(300, 1, 1, 900 * SECOND, 0, 1), rec(300, 1, 1, 10 * SECOND, 0), rec(300, 1, 1, 20 * SECOND, 0)]
    assert chosen(since("-5s"), records) == [0, 2]


def test_clocks_that_count_no_time() -> None:
    assert parse_time("12345", in_ns=False, role="since") == Time(12345, False)
    assert parse_time("-100", in_ns=False, role="since") == Time(100, True)
    for text in ("5s", "1.5", "-20ms"):
        with pytest.raises(UsageError, match="counts no seconds"):
            parse_time(text, in_ns=False, role="until")


@pytest.mark.parametrize("text", ["", "x", "--5s", "5m", "1.2.3", "5 s x", "1" * 30])
def test_no_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .* is no time"):
        parse_time(text, in_ns=True, role="since")


def test_pids() -> None:
    assert parse_pids("1, 42") == {1, 42}
    assert parse_pids("0x96,0X2a, 007") == {150, 42, 7}
    for text in ("", "x", "1,,2", "-1", "99999999999", "0x", "0x80000000", "0o7", "1_0"):
        with pytest.raises(UsageError, match=r"--pid .* is no list of process ids"):
            parse_pids(text)


def test_cpus() -> None:
    assert choose_cpus(["0,2-3"], 4) == {0, 2, 3}
    assert choose_cpus(["1", "2-99"], 4) >= {1, 2, 3}
    with pytest.raises(UsageError, match=r"--cpu 4-7: there is no such CPU; the region has CPUs 0-3$"):
        choose_cpus(["0,4-7"], 4)
    with pytest.raises(UsageError, match=r"--cpu 1: there is no such CPU; the region has CPU 0 only$"):
        choose_cpus(["1"], 1)


def test_event_patterns() -> None:
    assert choose_events(["sched:*"], CATALOG) == {300, 301}
    assert choose_events(["sched_switch,irq_entry", "301"], CATALOG) == {300, 301, 302}
    assert choose_events(["*:sched*"], CATALOG) == {300, 301}
    assert choose_events(["*"], CATALOG) is None, "those without a format as well"
    assert choose_events(["sched_switch,*:*"], CATALOG) is None
    with pytest.raises(UsageError, match=r"no such event; did you mean .*sched_switch"):
        choose_events(["sched_swich"], CATALOG)
    with pytest.raises(UsageError, match=r"no such event$"):
        choose_events(["zzzzzz"], CATALOG)
    with pytest.raises(UsageError, match="there is no such event"):
        choose_events(["sched_switch,"], CATALOG)
    with pytest.raises(UsageError, match="among ftrace's own; --vmlinux or --tracefs"):
        choose_events(["zzzzzz"], Catalog([builtin_formats(Abi("little", 8), 21)]))


def test_filters() -> None:
    entries, memory = pack(RECORDS)

    def names() -> TaskNames:
        return infer_comms(entries, CATALOG, memory)

    rows, findings = choose(entries, Choice(filter=parse_filter("next_pid > 10")), CATALOG, memory, names)
    assert np.arange(5)[rows].tolist() == [3]
    assert {(f.code, f.severity) for f in findings} == {
        ("filter-unknown-event", Severity.WARNING),
        ("filter-event-left-out", Severity.INFO),
    }
    assert "sched:sched_waking, irq:irq_entry: it has no field next_pid" in findings[-1].message
    rows, findings = choose(entries, Choice(filter=parse_filter("common_pid >= 2"), last=1), CATALOG, memory, names)
    assert np.arange(5)[rows].tolist() == [3]
    only = Choice(filter=parse_filter("irq == 1"), events=frozenset({300, 302}), cpus=frozenset({0}))
    rows, findings = choose(entries, only, CATALOG, memory, names)
    assert len(rows) == 0  # type: ignore[arg-type]
    assert [(f.code, f.severity) for f in findings] == [("filter-event-left-out", Severity.WARNING)]


def test_times_from_the_end_do_not_count_from_a_record_that_is_damage() -> None:
    entries, _ = pack(RECORDS)
    entries.records.ts[len(entries) // 2] = 1 << 62
    end = int(entries.records.ts[-1])
    rows, _ = choose(entries, Choice(since=Time(0, True), until=Time(0, True)), CATALOG, None, None)  # type: ignore[arg-type]
    assert entries.records.ts[rows].tolist() == [end]


def test_a_filter_that_no_event_suits() -> None:
    entries, memory = pack(RECORDS)
    names = TaskNames(("x",), np.zeros(len(entries), np.int32))
    for events in (None, frozenset({300})):
        typo = Choice(filter=parse_filter("nextpid == 1 && next_pid == 2"), events=events)
        with pytest.raises(
            UsageError, match=r"fits none of the events: it has no field nextpid; did you mean next_pid\?$"
        ):
            choose(entries, typo, CATALOG, memory, lambda: names)
    for events in (None, frozenset({300})):
        strange = Choice(filter=parse_filter("next_pid == x && next_pid == 1"), events=events)
        with pytest.raises(UsageError, match=r"fits none of the events: next_pid is a number$"):
            choose(entries, strange, CATALOG, memory, lambda: names)
    generic = Choice(filter=parse_filter("common_pid == x || CPU & 1"))
    with pytest.raises(UsageError, match=r"common_pid is a number; CPU is compared with .* by &$"):
        choose(entries, generic, CATALOG, memory, lambda: names)
    with pytest.raises(UsageError, match=r"it has no field zzz$"):
        choose(entries, Choice(filter=parse_filter("zzz == 1")), CATALOG, memory, lambda: names)


def test_everything_together_equals_a_plain_loop() -> None:
    records = [rec(300 + i % 3, i % 7, i % 11, i * 1000, i % 4) for i in range(500)]
    choice = Choice(
        cpus=frozenset({1, 2}),
        events=frozenset({300, 301}),
        pids=frozenset(range(5)),
        since=Time(100_000, False),
        until=Time(50_000, True),
        filter=parse_filter("next_pid > 5 || pid == 3"),
        last=7,
    )
    expected = [
        i
        for i, r in enumerate(records)
        if r.cpu in (1, 2) and r.pid < 5 and 100_000 <= r.ts <= 499_000 - 50_000 and r.id in (300, 301)
    ]
    # Neither event has both fields, so the filter leaves nothing of either; with one field it does.
    assert chosen(choice, records) == []
    only = Choice(choice.cpus, choice.events, choice.pids, choice.since, choice.until, parse_filter("next_pid > 5"), 7)
    assert chosen(only, records) == [i for i in expected if records[i].id == 300 and i % 11 > 5][-7:]
