# SPDX-License-Identifier: Apache-2.0
"""A format source is scored by what its formats make of the bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.errors import WrongImageError
from rbdump.events.catalog import Catalog
from rbdump.events.format import parse_format
from rbdump.events.score import EventFit, FormatFit, require_fit, score_event, score_formats
from rbdump.findings import Severity
from tests.events.records import Rec, catalog_of, format_text, pack

LE64 = Abi("little", 8)

SWITCH = (
    ("char prev_comm[16]", 8, 16, 0),
    ("pid_t prev_pid", 24, 4, 1),
    ("int prev_prio", 28, 4, 1),
    ("long prev_state", 32, 8, 1),
    ("char next_comm[16]", 40, 16, 0),
    ("pid_t next_pid", 56, 4, 1),
    ("int next_prio", 60, 4, 1),
)
KFREE = (("unsigned long call_site", 8, 8, 0), ("const void * ptr", 16, 8, 0))
EXEC = (("__data_loc char[] filename", 8, 4, 0), ("pid_t pid", 12, 4, 1), ("pid_t old_pid", 16, 4, 1))


def switch(prev: bytes = b"bash", pid: int = 42, prio: int = 120) -> bytes:
    return prev.ljust(16, b"\0") + struct.pack("<iiq16sii", pid, prio, 1, b"swapper/0", 0, 120)


def kfree(ptr: int = 0xFFFF_8880_0123_4500) -> bytes:
    return struct.pack("<QQ", 0xFFFF_FFFF_8112_3456, ptr)


def execve(name: bytes = b"/bin/true\0", *, offset: int = 20, size: int | None = None) -> bytes:
    return struct.pack("<Iii", (len(name) if size is None else size) << 16 | offset, 42, 42) + name


def share(system: str, name: str, fields: tuple[tuple[str, int, int, int], ...], *bodies: bytes) -> EventFit:
    entries, memory = pack([Rec(300, 42, body) for body in bodies])
    fmt = parse_format(format_text(name, 300, *fields), system, "test")
    return score_event(fmt, entries.rows(memory))


def test_records_of_the_right_kernel_fit() -> None:
    assert share("sched", "sched_switch", SWITCH, switch(), switch(b"idle", 0, -1)).share == 1.0
    assert share("kmem", "kfree", KFREE, kfree(), kfree(0)).share == 1.0
    powerpc = (kfree(0xC000_0000_0123_4500), kfree(0xC008_0000_0001_0000), kfree(0xC00C_0000_0002_0000))
    assert share("kmem", "kfree", KFREE, *powerpc).share == 1.0
    assert share("sched", "sched_process_exec", EXEC, execve(), execve(b"/bin/a\0")).share == 1.0


@pytest.mark.parametrize("body", [b"", bytes(4)])
def test_an_event_without_fields_takes_eight_bytes_where_all_is_aligned_to_eight(body: bytes) -> None:
    assert share("eprobes", "nothing", (), body).share == 1.0  # riscv64; all others leave room for a time extend


@pytest.mark.parametrize(
    ("system", "name", "fields", "body", "reason"),
    [
        ("sched", "sched_switch", SWITCH, switch()[:-4], "too short"),
        ("sched", "sched_switch", SWITCH, switch() + bytes(8), "length"),
        ("sched", "sched_switch", SWITCH, switch(b"x" * 16), "prev_comm is no task name"),
        ("sched", "sched_switch", SWITCH, switch(b"\x01\x02\x03"), "prev_comm is no task name"),
        ("sched", "sched_switch", SWITCH, switch(pid=1 << 23), "prev_pid out of range"),
        ("sched", "sched_switch", SWITCH, switch(prio=1000), "prev_prio out of range"),
        ("kmem", "kfree", KFREE, kfree(0x0042_0000_0042_0000), "ptr is no pointer"),
        ("sched", "sched_process_exec", EXEC, execve(offset=12), "filename outside the record"),
        ("sched", "sched_process_exec", EXEC, execve(size=200), "filename outside the record"),
        ("sched", "sched_process_exec", EXEC, execve(b"/bin/truer!!"), "filename without its NUL"),
        ("sched", "sched_process_exec", EXEC, execve() + bytes(16), "length"),
        ("x", "bools", (("bool on", 8, 1, 0),), b"\x02\0\0\0", "on is no bool"),
        ("x", "cpus", (("int target_cpu", 8, 4, 1),), struct.pack("<i", 99999), "target_cpu out of range"),
    ],
)
def test_what_does_not_fit_is_named(
    system: str, name: str, fields: tuple[tuple[str, int, int, int], ...], body: bytes, reason: str
) -> None:
    fit = share(system, name, fields, body)
    assert fit.share == 0.0
    assert reason in dict(fit.misfits)


def test_a_char_array_that_is_not_printed_as_a_string_needs_no_nul() -> None:
    entries, memory = pack([Rec(300, 42, execve(b"\x01\x02\x03\xff"))])
    rows = entries.rows(memory)
    for print_fmt, expected in (("__print_hex(__get_dynamic_array(filename), 4)", 1.0), ("__get_str(filename)", 0.0)):
        text = format_text("regmap_bulk_write", 300, *EXEC).replace('fmt: ""', f'fmt: "%s", {print_fmt}')
        assert score_event(parse_format(text, "regmap", "test"), rows).share == expected


def test_misfits_are_counted() -> None:
    fit = share("sched", "sched_switch", SWITCH, *[switch()] * 6, *[switch(b"x" * 16)] * 3, switch(pid=1 << 30))
    assert fit.share == pytest.approx(0.6)
    assert fit.misfits == (("prev_comm is no task name", 3), ("prev_pid out of range", 1))


def test_trap_13_a_payload_may_be_padded_for_a_64_bit_member_and_for_a_time_extend() -> None:
    fields = (("u64 time", 8, 8, 0), ("int value", 16, 4, 1))
    assert share("x", "padded", fields, bytes(12), bytes(16)).share == 1.0
    assert share("x", "padded", fields, bytes(20)).share == 0.0
    empty = share("x", "empty", (), b"\0\0\0\0")
    assert empty.share == 1.0


def test_an_empty_data_loc_points_nowhere() -> None:
    assert share("x", "empty", EXEC, struct.pack("<Iii", 0, 42, 42)).share == 1.0


def test_rel_loc_counts_from_the_end_of_its_field() -> None:
    fields = (("__rel_loc char[] name", 8, 4, 0), ("u32 more", 12, 4, 0))
    assert share("x", "rel", fields, struct.pack("<II4s", 4 << 16 | 4, 7, b"abc\0")).share == 1.0
    assert share("x", "rel", fields, struct.pack("<II4s", 4 << 16 | 0, 7, b"abc\0")).share == 0.0


@pytest.mark.parametrize("system", ["syscalls", "synthetic", "user_events"])
def test_dynamic_data_of_some_systems_need_no_nul_and_leave_room(system: str) -> None:
    assert share(system, "x", EXEC, execve(b"/bin/true!!!") + bytes(32)).share == 1.0


def source(*events: tuple[str, int, tuple[tuple[str, int, int, int], ...]]) -> Catalog:
    return catalog_of(
        *((name.split(":")[0], format_text(name.split(":")[1], id_, *fields)) for name, id_, fields in events)
    )


RIGHT = source(("sched:sched_switch", 300, SWITCH), ("kmem:kfree", 301, KFREE), ("sched:sched_process_exec", 302, EXEC))
SHIFTED = source(
    ("kmem:kfree", 300, KFREE), ("sched:sched_process_exec", 301, EXEC), ("sched:sched_switch", 302, SWITCH)
)


def score(catalog: Catalog, records: list[Rec]) -> FormatFit:
    entries, memory = pack(records)
    return score_formats(catalog.get, entries, memory, origin="test")


RECORDS = [Rec(300, 1, switch())] * 100 + [Rec(301, 1, kfree())] * 25 + [Rec(302, 1, execve())] * 4


def test_the_right_source_wins_over_one_with_shifted_ids() -> None:
    assert score(RIGHT, RECORDS).score == 1.0
    assert score(SHIFTED, RECORDS).score == 0.0
    assert [event.name for event in score(RIGHT, RECORDS).events] == [
        "sched:sched_switch",
        "kmem:kfree",
        "sched:sched_process_exec",
    ]


def test_many_records_of_one_event_do_not_decide_alone() -> None:
    fit = score(source(("sched:sched_switch", 300, SWITCH), ("kmem:kfree", 302, KFREE)), RECORDS)
    assert fit.unknown == 25
    assert fit.records == 129
    assert fit.score == pytest.approx(10 / (10 + 5 + 2))
    assert fit.known_score == pytest.approx(10 / (10 + 2))
    assert str(fit) == "test: 0.588 (129 records of 3 events, 25 of unknown events)"
    assert str(score(RIGHT, RECORDS)) == "test: 1.000 (129 records of 3 events)"


def test_ftrace_events_are_the_same_everywhere_and_not_scored() -> None:
    ftrace = source(("ftrace:function", 1, KFREE), ("ftrace:print", 20, KFREE))
    assert score(ftrace, [Rec(1, 1, b"\0" * 8), Rec(20, 1, b"\0" * 8), Rec(5, 1)]).events == ()
    assert score(ftrace, []).score == 1.0


def test_a_sample_of_many_records_is_looked_at() -> None:
    fit = score(RIGHT, [Rec(301, 1, kfree())] * 5000)
    assert (fit.records, fit.score) == (5000, 1.0)


def test_an_event_that_recurs_with_a_period_is_looked_at() -> None:
    fit = score(RIGHT, [Rec(300, 1, switch()), Rec(301, 1, kfree() + bytes(16)), Rec(300, 1, switch())] * 2000)
    assert [(event.name, event.share) for event in fit.events] == [("sched:sched_switch", 1.0), ("kmem:kfree", 0.0)]


def test_a_rare_event_among_many_records_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbdump.events.score._ROWS", 64)
    records = [Rec(300, 1, switch()), Rec(302, 1, execve())] * 2000
    records[1], records[3001] = Rec(301, 1, kfree() + bytes(16)), Rec(301, 1, kfree())
    assert [(event.name, event.records, event.share) for event in score(RIGHT, records).events] == [
        ("sched:sched_switch", 2000, 1.0),
        ("sched:sched_process_exec", 1998, 1.0),
        ("kmem:kfree", 2, 0.5),
    ]


def test_big_endian_records() -> None:
    abi = Abi("big", 8)
    body = struct.pack(">QQ", 0x3FF_E012_3456, 0x1234)
    entries, memory = pack([Rec(301, 1, body)], abi)
    assert score_formats(RIGHT.get, entries, memory).score == 1.0


def test_formats_of_another_kernel_are_refused_with_figures() -> None:
    with pytest.raises(WrongImageError, match=r"describe 0% of the records; 3 of 3 events .*kfree \(length\)"):
        require_fit(score(SHIFTED, RECORDS))
    (finding,) = require_fit(score(SHIFTED, RECORDS), force=True)
    assert (finding.severity, finding.code) == (Severity.ERROR, "formats-do-not-fit")
    assert require_fit(score(RIGHT, RECORDS)) == []


def test_formats_that_fit_most_records_are_used_and_it_is_said() -> None:
    (finding,) = require_fit(score(RIGHT, [*RECORDS, *[Rec(302, 1, execve(offset=4))] * 30]))
    assert finding.severity is Severity.WARNING
    assert "sched:sched_process_exec (filename outside the record)" in finding.message


def test_a_few_records_refuse_nothing() -> None:
    assert require_fit(score(SHIFTED, RECORDS[:5])) == []
    assert require_fit(score(source(), RECORDS)) == []


def test_a_huge_field_costs_nothing() -> None:
    huge = (("char comm[999999999]", 8, 999999999, 0),)
    assert share("x", "huge", huge, bytes(64)).misfits == (("too short", 1),)
    assert np.isfinite(score(source(("x:huge", 300, huge)), RECORDS).score)
