# SPDX-License-Identifier: Apache-2.0
"""Picking the renderer of an event, putting rows back in order, and saying what could not be rendered."""

from __future__ import annotations

import struct

import pytest

from rbdump.events.variables import PAGE_BASE
from rbdump.findings import Severity
from rbdump.render.bodies import Bodies, LastBoot, unknown_events
from tests.events.records import Rec, format_text, pack
from tests.render.scene import OLD, catalog, facts_of, render

NUMBER = format_text("number", 300, ("int n", 8, 4, 1)).replace('""', '"n=%d", REC->n')
ODD = format_text("odd", 301, ("int n", 8, 4, 1)).replace('""', '"%s", nobody_knows(REC->n)')
EVENTS = [("test", NUMBER), ("test", ODD)]


def rec(event_id: int, number: int) -> Rec:
    return Rec(event_id, 1, struct.pack("<i", number))


def test_rows_keep_their_order() -> None:
    records = [rec(300 if n % 3 else 999, n) for n in range(50)]
    want = [f"number: n={n}\n" if n % 3 else f"id=999 (no format) raw={n:02x}000000\n" for n in range(50)]
    assert render(records, EVENTS) == want
    assert render([], EVENTS) == []


def test_many_rows_of_one_event() -> None:
    assert render([rec(300, n) for n in range(9000)], EVENTS) == [f"number: n={n}\n" for n in range(9000)]


def test_unknown_events_show_their_bytes() -> None:
    assert render([Rec(999, 1, b"\x01\x02\x03\x04"), Rec(999, 1)], EVENTS) == [
        "id=999 (no format) raw=01020304\n",
        "id=999 (no format) raw=\n",
    ]
    assert render([rec(999, 1)], EVENTS, last_boot=LastBoot()) == ["Unknown type 999\n"]


def test_unknown_events_are_said_by_reason() -> None:
    entries, _ = pack([rec(n, 0) for n in (7000, 7000, 7001, 20, 300)])
    findings = unknown_events(entries, catalog(EVENTS))
    assert [finding.code for finding in findings] == ["unknown-event"] * len(findings)
    texts = " / ".join(finding.message for finding in findings)
    assert "3 events with the ids 7000, 7001:" in texts
    assert "1 events with the ids 20:" in texts
    many, _ = pack([rec(n, 0) for n in range(8000, 8100)])
    assert "and 88 more" in unknown_events(many, catalog(EVENTS))[0].message


def test_a_print_fmt_that_cannot_be_rendered_falls_back_once_said() -> None:
    entries, memory = pack([rec(301, 5), rec(301, 6)])
    bodies = Bodies(catalog(EVENTS), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["odd: n=0x5 (5)\n", "odd: n=0x6 (6)\n"]
    bodies.render(entries)
    assert [finding.code for finding in bodies.findings] == ["print-fmt-unsupported"]
    assert "test:odd" in bodies.findings[0].message


def test_what_a_print_fmt_leaves_open_is_said_once() -> None:
    page = format_text("page", 302, ("unsigned long pfn", 8, 8, 0))
    page = page.replace('""', '"page=%p", (((struct page *)vmemmap_base) + (REC->pfn))')
    entries, memory = pack([Rec(302, 1, struct.pack("<Q", 2))] * 3)
    bodies = Bodies(catalog([("test", page)]), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["page: page=vmemmap_base+0x80\n"] * 3
    bodies.render(entries)
    (finding,) = bodies.findings
    assert (finding.code, finding.severity) == ("print-fmt-incomplete", Severity.WARNING)
    assert finding.message.startswith("test:page: the base of the array of struct page")
    known = Bodies(catalog([("test", page)]), facts_of(variables={PAGE_BASE: 0}), OLD, memory)
    known.render(entries)
    assert known.findings == []


def test_records_shorter_than_their_format() -> None:
    entries, memory = pack([rec(300, 5), Rec(300, 1), rec(300, 7)])
    bodies = Bodies(catalog(EVENTS), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["number: n=5\n", "number: n=<OVERFLOW>\n", "number: n=7\n"]
    (finding,) = bodies.findings
    assert (finding.code, finding.offset) == ("record-shorter-than-format", 12)


def test_short_records_of_every_event_of_ftrace() -> None:
    formats = catalog()
    for event_id in range(1, 20):
        for size in (0, 1, 4, 8, 12, 40, 100):
            assert all(
                text.endswith("\n") or event_id in (5, 6, 14) for text in render([Rec(event_id, 1, bytes(size))])
            )
    assert formats.get(1) is not None


def test_a_renderer_that_fails_costs_its_own_event_alone() -> None:
    """No integer has three bytes: the format file is damaged."""
    call = format_text("sys_enter_dup", 303, ("int __syscall_nr", 8, 4, 1), ("u64 fd", 16, 3, 0))
    records = [rec(300, 1), Rec(303, 1, bytes(16)), rec(300, 2), Rec(303, 1, bytes(16))]
    entries, memory = pack(records)
    bodies = Bodies(catalog([*EVENTS, ("syscalls", call)]), facts_of(), OLD, memory)
    fields = "sys_enter_dup: __syscall_nr=0x0 (0) fd=<INVALID-SIZE>\n"
    assert bodies.render(entries) == ["number: n=1\n", fields, "number: n=2\n", fields]
    assert [finding.code for finding in bodies.findings] == ["renderer-failed"]
    assert "3 bytes" in bodies.findings[0].message


def test_a_record_that_cannot_be_rendered_costs_no_other_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it matter which slice came first: with --jobs that is chance."""
    entries, memory = pack([rec(300, n) for n in (1, 13, 2)])
    bodies = Bodies(catalog(EVENTS), facts_of(), OLD, memory)
    assert bodies.render(entries.select(slice(0, 1))) == ["number: n=1\n"]
    with monkeypatch.context() as patch:
        patch.setitem(bodies._renderers, 300, (lambda _: [""][1:][0], 0))
        assert bodies.render(entries.select(slice(1, 2))) == ["number: n=0xd (13)\n"]
    assert bodies.render(entries.select(slice(2, 3))) == ["number: n=2\n"]
    assert [finding.code for finding in bodies.findings] == ["renderer-failed"]


def test_a_format_that_cannot_be_compiled_for_a_reason_nobody_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("not this one")

    monkeypatch.setattr("rbdump.render.bodies.compile_print_fmt", fail)
    entries, memory = pack([rec(300, 13)])
    bodies = Bodies(catalog(EVENTS), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["number: n=0xd (13)\n"]
    assert "not this one" in bodies.findings[0].message


def test_no_line_is_longer_than_a_kernel_can_print() -> None:
    long = format_text("long", 304, ("int n", 8, 4, 1)).replace('""', '"' + "%4000d" * 12 + '"' + ", REC->n" * 12)
    wide = format_text("wide", 305, ("int n", 8, 4, 1)).replace('""', '"' + "%4000d" * 20 + '"' + ", REC->n" * 20)
    entries, memory = pack([rec(304, n) for n in range(4200)] + [rec(305, 7)])
    bodies = Bodies(catalog([("test", long), ("test", wide)]), facts_of(), OLD, memory)
    lines = bodies.render(entries)
    assert lines[4199].startswith("long: ")
    assert lines[4199][6:8156].split() == ["4199", "4199"]
    assert all(line.endswith("[LINE TOO BIG]\n") and len(line) == 8156 + 15 for line in lines[:-1])
    assert lines[-1] == "wide: n=0x7 (7)\n"
    assert [finding.code for finding in bodies.findings] == ["print-fmt-unsupported"]


def test_what_a_finding_quotes_is_cut() -> None:
    huge = format_text("huge", 306, ("int n", 8, 4, 1)).replace('""', f'"%d", {"9" * 20000}')
    digits = format_text("digits", 307, ("int n", 8, 4, 1)).replace('""', f'"%{"9" * 6000}d", REC->n')
    entries, memory = pack([rec(306, 1), rec(307, 1)])
    bodies = Bodies(catalog([("test", huge), ("test", digits)]), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["huge: n=0x1 (1)\n", "digits: n=0x1 (1)\n"]
    assert [finding.code for finding in bodies.findings] == ["print-fmt-unsupported"] * 2
    assert all(len(finding.message) < 500 for finding in bodies.findings)


def test_no_record_reaches_as_far_as_a_format_may_point() -> None:
    far = format_text("far", 308, ("__data_loc u8[] raw", 8, 4, 0))
    far = far.replace('""', '"%d", ((u8 *)__get_dynamic_array(raw))[9223372036854775807]')
    entries, memory = pack([Rec(308, 1, struct.pack("<I", 1 << 16 | 12) + b"abcd")])
    bodies = Bodies(catalog([("test", far)]), facts_of(), OLD, memory)
    assert bodies.render(entries) == ["far: raw=61\n"]
    assert [finding.code for finding in bodies.findings] == ["print-fmt-unsupported"]
