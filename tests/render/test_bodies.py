# SPDX-License-Identifier: Apache-2.0
"""Picking the renderer of an event, putting rows back in order, and saying what could not be rendered."""

from __future__ import annotations

import struct

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


def test_unknown_events_show_their_bytes() -> None:
    assert render([Rec(999, 1, b"\x01\x02\x03\x04"), Rec(999, 1)], EVENTS) == [
        "id=999 (no format) raw=01020304\n",
        f"id=999 (no format) raw={struct.pack('<HBBi', 999, 0, 0, 1).hex()}\n",
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
