# SPDX-License-Identifier: Apache-2.0
"""Function graph events: which entry is a leaf, and both spellings."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from rbdump.abi import Abi
from rbdump.render.bodies import Bodies
from rbdump.render.funcgraph import duration_text, fold_funcgraph
from rbdump.render.style import Style
from tests.events.records import Rec, format_text, pack
from tests.render.scene import BASE, NEW, OLD, catalog, facts_of

ENTRY, EXIT = 11, 10
READ, WRITE, KSYS, IRQ = BASE + 0x100, BASE + 0x200, BASE + 0x300, BASE + 0x400


def entry(func: int, depth: int, **where: int) -> Rec:
    return Rec(ENTRY, 150, struct.pack("<Qi", func, depth), **where)


def leave(func: int, depth: int, spent: int, **where: int) -> Rec:
    return Rec(EXIT, 150, struct.pack("<QiIQQ", func, depth, 0, 1000, 1000 + spent), **where)


def lines(records: list[Rec], style: Style, nr_cpus: int = 2, **facts: object) -> list[str]:
    entries, memory = pack(records)
    formats = catalog()
    entry_fmt = formats.by_name("ftrace:funcgraph_entry")
    assert entry_fmt is not None
    fold = fold_funcgraph(entries, memory, [entry_fmt], formats.by_name("ftrace:funcgraph_exit"))
    bodies = Bodies(formats, facts_of(**facts), style, memory, nr_cpus=nr_cpus)
    return bodies.render(entries.select(fold.keep), fold.leaf[fold.keep])


CALLS = [
    entry(KSYS, 0, cpu=1),
    entry(READ, 1, cpu=1),
    entry(WRITE, 0, cpu=0),
    leave(READ, 1, 34_545, cpu=1),
    leave(KSYS, 0, 43_031, cpu=1),
    leave(WRITE, 0, 1_456_082, cpu=0),
]


def test_with_columns() -> None:
    assert lines(CALLS, OLD) == [
        " 1)               |  ksys_read() {\n",
        " 1) + 34.545 us   |    vfs_read();\n",
        " 0) # 1456.082 us |  vfs_write();\n",
        " 1) + 43.031 us   |  }\n",
    ]
    assert lines(CALLS[:1], OLD, nr_cpus=128) == ["   1)               |  ksys_read() {\n"]


def test_without_columns() -> None:
    assert lines(CALLS, NEW) == ["ksys_read() {\n", "  vfs_read();\n", "vfs_write();\n", "}\n"]


@pytest.mark.parametrize(
    "after",
    [
        leave(WRITE, 0, 5),
        leave(READ, 0, 5, cpu=1),
        leave(READ, 0, 5, epoch=1),
        Rec(EXIT, 151, leave(READ, 0, 5).body),
        Rec(EXIT, 150, leave(READ, 0, 5).body[:12]),
    ],
    ids=["another function", "another CPU", "another boot", "another task", "cut short"],
)
def test_what_is_no_leaf(after: Rec) -> None:
    assert lines([entry(READ, 0), after], NEW)[0] == "vfs_read() {\n"


def test_something_between_is_no_leaf() -> None:
    assert lines([entry(READ, 0), Rec(999, 150), leave(READ, 0, 5)], NEW)[0] == "vfs_read() {\n"


@pytest.mark.parametrize("bare", ["funcgraph_exit", "funcgraph_entry"])
def test_formats_without_the_function_fold_nothing(bare: str) -> None:
    entries, memory = pack(CALLS)
    fmts = {}
    for name in ("funcgraph_entry", "funcgraph_exit"):
        fmt = catalog().by_name(f"ftrace:{name}")
        assert fmt is not None
        fmts[name] = replace(fmt, fields=()) if name == bare else fmt
    fold = fold_funcgraph(entries, memory, [fmts["funcgraph_entry"]], fmts["funcgraph_exit"])
    assert fold.keep.all()
    assert (fold.leaf == -1).all()


def test_interrupt_entry_text_has_arrows() -> None:
    def addr_of(name: str) -> int | None:
        return {"__irqentry_text_start": IRQ, "__irqentry_text_end": IRQ + 0x100}.get(name)

    calls = [entry(IRQ, 0), leave(IRQ, 0, 5)]
    assert lines(calls, NEW, addr_of=addr_of) == ["==========>\nasm_irq();\n<==========\n"]
    assert lines(calls[:1], OLD, addr_of=addr_of) == [
        " 0)   ==========> |\n 0)               |  asm_irq() {\n",
    ]


def test_damaged_depths_do_not_cost_memory() -> None:
    assert len(lines([entry(READ, 2**31 - 1), entry(READ, -5)], NEW)[0]) < 1000


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "  0.000 us    |  "),
        (999, "  0.999 us    |  "),
        (10_000, "  10.000 us   |  "),
        (10_001, "+ 10.001 us   |  "),
        (151_003, "! 151.003 us  |  "),
        (1_456_082, "# 1456.082 us |  "),
        (12_345_678, "* 12345.67 us |  "),
        (123_456_789, "@ 123456.7 us |  "),
        (1_234_567_890, "$ 1234567 us  |  "),
        (12_345_678_901, "$ 12345678 us |  "),
    ],
)
def test_duration_column(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


@pytest.mark.parametrize("calltime", [20, 24])
def test_times_lie_where_the_packed_record_has_them_on_32_bit(calltime: int) -> None:
    """Formats of 6.14 to 6.19 say 24 there, as if the structure were not packed."""
    times = [("unsigned long long calltime", calltime, 8, 0), ("unsigned long long rettime", calltime + 8, 8, 0)]
    words = [("unsigned long func", 8, 4, 0), ("unsigned int depth", 12, 4, 0), ("unsigned int overrun", 16, 4, 0)]
    abi = Abi("little", 4)
    formats = catalog([("ftrace", format_text("funcgraph_exit", EXIT, *words, *times))], abi, 21)
    records = [
        Rec(ENTRY, 150, struct.pack("<II", 0xC0100100, 0)),
        Rec(EXIT, 150, struct.pack("<IIIQQ", 0xC0100100, 0, 0, 1000, 4000)),
    ]
    entries, memory = pack(records, abi)
    entry_fmt = formats.by_name("ftrace:funcgraph_entry")
    assert entry_fmt is not None
    fold = fold_funcgraph(entries, memory, [entry_fmt], formats.by_name("ftrace:funcgraph_exit"))
    bodies = Bodies(formats, facts_of(abi), OLD, memory)
    got = bodies.render(entries.select(fold.keep), fold.leaf[fold.keep])
    assert got == [" 0)   3.000 us    |  0xc0100100();\n"]
    assert bodies.findings == []
