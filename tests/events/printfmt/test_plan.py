# SPDX-License-Identifier: Apache-2.0
"""What is remembered never changes what is printed."""

from __future__ import annotations

import random
from typing import Any

from rbdump.events.printfmt import PrintFmt, compile_print_fmt
from rbdump.events.printfmt.plan import SpanMemo, choose_segments, span_of
from tests.events.printfmt.rendering import ALL, Event
from tests.events.records import Rec, pack

TEXT = (
    '"comm=%s pid=%d prio=%03d state=%s%s ptr=%p size=%lu who=%s {%%}", REC->comm, REC->pid, REC->prio, '
    '(REC->state & 0xff) ? __print_flags(REC->state & 0xff, "|", { 1, "S" }, { 2, "D" }) : "R", '
    'REC->state & 0x100 ? "+" : "", REC->ptr, REC->size, __get_str(who)'
)


def record(random_: random.Random, few: bool) -> dict[str, Any]:
    many = 1 << 30
    return {
        "char comm[16]": random_.choice([b"bash", b"kworker/0:1", b"\xff\0junk"]),
        "pid_t pid": random_.randrange(4 if few else many),
        "int prio": random_.choice([0, 120]),
        "long state": random_.randrange(4) | random_.choice([0, 0x100]),
        "void * ptr": random_.randrange(many),
        "size_t size": random_.randrange(many),
        "__data_loc char[] who": random_.choice([b"a\0", b"bb\0", 0xFFFFFFFF]),
    }


def in_small_calls(render: PrintFmt, event: Event, records: list[dict[str, Any]]) -> list[str]:
    """Calls that are too small to learn from."""
    return [line for at in range(0, len(records), 200) for line in render(event.rows(records[at : at + 200]))]


def test_remembering_changes_nothing() -> None:
    random_ = random.Random(7)
    for abi in ALL:
        for few in (True, False):
            records = [record(random_, few) for _ in range(800)]
            event = Event(TEXT, records[0], abi=abi)
            plain = compile_print_fmt(event.format, event.facts())
            expected = in_small_calls(plain, event, records)
            learned = compile_print_fmt(event.format, event.facts())
            assert learned(event.rows(records)) == expected
            assert "memo" in learned.__source__
            assert "memo" not in plain.__source__
            changed = [record(random_, not few) for _ in range(800)]
            assert learned(event.rows(changed)) == in_small_calls(plain, event, changed)


def test_a_line_of_few_values_is_remembered_whole() -> None:
    records = [{"u32 vec": i % 10} for i in range(2000)]
    event = Event('"vec=%u [action=%s]", REC->vec, __print_symbolic(REC->vec, { 1, "TIMER" })', records[0])
    render = compile_print_fmt(event.format, event.facts())
    lines = render(event.rows(records))
    assert lines[:2] == ["ev: vec=0 [action=0x0]\n", "ev: vec=1 [action=TIMER]\n"]
    assert len(lines) == 2000
    assert "return s0" in render.__source__


def test_segments_keep_all_parts_in_order() -> None:
    random_ = random.Random(1)
    records = [record(random_, True) for _ in range(600)]
    event = Event(TEXT, records[0])
    render = compile_print_fmt(event.format, event.facts())
    parts = render._parts
    fields = {f.name: f for f in event.format.fields}
    segments = choose_segments(parts, fields, event.rows(records))
    assert [part for segment in segments for part in segment.parts] == parts
    remembered = [segment.span for segment in segments if segment.span]
    # comm and pid, prio and state: all four together take more values than pay; pointer and size differ in every row
    assert remembered == [(8, 32), (32, 40)] or remembered == [(8, 28), (28, 40)]
    assert [span_of(part, fields) for part in parts if not isinstance(part, str)][-1] is None  # a dynamic string


def test_a_table_that_does_not_help_is_given_up() -> None:
    records = [{"u32 a": i} for i in range(3000)]
    event = Event('"%u", REC->a', records[0])
    calls = []

    def render(rows: Any) -> list[str]:
        calls.append(len(rows))
        return [str(value) for value in rows.integers(8, 4, signed=False).tolist()]

    memo = SpanMemo(render, (8, 12))
    rows = event.rows(records)
    for _ in range(2):
        assert memo(rows) == [str(i) for i in range(3000)]
    assert calls == [3000]  # the second time from the table
    for base in range(10):
        rows = event.rows([{"u32 a": 10_000 * base + 5000 + i} for i in range(6000)])
        assert memo(rows)[0] == str(10_000 * base + 5000)
    assert len(memo._table) <= 1 << 14


def test_constant_lines_and_no_rows() -> None:
    event = Event('"100%% \\"done\\" {x}\\n"', {})
    assert event.render([{}, {}]) == ['100% "done" {x}\n'] * 2
    assert Event('"%d", REC->a', {"int a": 0}).render([]) == []


def test_what_the_common_flags_tell_is_remembered_with_them() -> None:
    text = '"irq=%d vec=%s", __event_in_irq(), __print_symbolic(REC->vec, { 1, "TIMER" })'
    event = Event(text, {"u32 vec": 1})
    flags = [0x08 * (n % 3) for n in range(3000)]
    entries, memory = pack([Rec(100, 1, event.pack({"u32 vec": 1}), flags=flag) for flag in flags])
    render = compile_print_fmt(event.format, event.facts())
    expected = [f"ev: irq={flag} vec=TIMER\n" for flag in flags]
    assert render(entries.rows(memory)) == render(entries.rows(memory)) == expected
    assert "memo" in render.__source__
