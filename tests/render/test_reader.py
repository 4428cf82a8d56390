# SPDX-License-Identifier: Apache-2.0
"""A buffer of the last boot as the next kernel prints it: which addresses it moves, and what it has no name for."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import rbdump
from rbdump.events.catalog import Catalog
from rbdump.render.bodies import LastBoot
from rbdump.render.style import style_of
from rbdump.symbols.kallsyms_text import parse_kallsyms
from rbdump.symbols.symbolizer import Symbolizer
from tests.events.records import LE64, Rec, format_text
from tests.render.scene import BASE, KALLSYMS, MODULE, NEW, OLD, render
from tests.ringwriter import RegionWriter

FUNCTION, BPUTS = 1, 14
CALL = Rec(FUNCTION, 1, struct.pack("<QQ", BASE + 0x110, BASE + 0x310))
STALE = f"{BASE + 0x110:#x} <-{BASE + 0x310:#x}\n"
NAMED = "vfs_read <-ksys_read\n"
POINTER = format_text("pointer", 300, ("void * ptr", 8, 8, 0)).replace('""', '"ptr=%pS", REC->ptr')
LATE = format_text("late", 21, ("void * ptr", 8, 8, 0)).replace('""', '"ptr=%pS", REC->ptr')


def late(record: Rec, last_boot: LastBoot, *events: tuple[str, str], **facts: object) -> str:
    (text,) = render([record], events, style=NEW, numbering=21, last_boot=last_boot, **facts)
    return text


@pytest.mark.parametrize("delta", [0, 0x2000000])
def test_kernel_text_above_the_modules_counts_as_in_the_last_of_them(delta: int) -> None:
    """As on arm64; a module that is not loaded again is moved by nothing."""
    below = LastBoot(delta, modules=[BASE - (1 << 28)])
    assert late(CALL, below) == STALE
    assert late(CALL, LastBoot(moved=False, modules=below.modules)) == NAMED
    got = late(Rec(300, 1, struct.pack("<Q", BASE + 0x110)), below, ("test", POINTER))
    assert got == f"pointer: ptr={BASE + 0x110:#x} ({BASE + 0x110 - 2**64})\n"


def test_a_kernel_that_is_not_told_where_the_dead_one_was_moves_nothing_and_trusts_print_fmts() -> None:
    pointer = Rec(300, 1, struct.pack("<Q", BASE + 0x110))
    untold = LastBoot(told=False)
    assert late(CALL, untold) == STALE
    assert late(pointer, untold, ("test", POINTER)) == f"pointer: ptr={BASE + 0x110:#x}\n"
    assert late(CALL, LastBoot(moved=False, told=False)) == NAMED
    assert late(pointer, LastBoot(moved=False), ("test", POINTER)) == "pointer: ptr=vfs_read+0x10/0x100\n"


def test_the_first_dynamic_event_is_printed_by_its_print_fmt_which_never_moves_addresses() -> None:
    """initcall_finish has the id __TRACE_LAST_TYPE, and the kernel prints fields of larger ids only."""
    got = late(Rec(21, 1, struct.pack("<Q", BASE + 0x110)), LastBoot(), ("initcall", LATE))
    assert got == f"late: ptr={BASE + 0x110:#x}\n"
    by_chance = late(Rec(21, 1, struct.pack("<Q", BASE + 0x610)), LastBoot(0x500), ("initcall", LATE))
    assert by_chance == "late: ptr=vfs_read+0x10/0x100\n"


def test_events_of_modules_are_unknown_until_these_are_loaded() -> None:
    event = format_text("br_add", 301, ("u32 flags", 8, 4, 0))
    record = Rec(301, 1, struct.pack("<I", 7))
    assert late(record, LastBoot(), ("bridge", event)) == "Unknown type 301\n"
    assert render([record], [("bridge", event)]) == ["br_add: \n"]


def test_where_a_string_was_put_is_never_moved() -> None:
    record = Rec(BPUTS, 1, struct.pack("<QQ", BASE + 0x110, BASE + 0x2000))
    for style in (OLD, NEW):
        (got,) = render([record], style=style, last_boot=LastBoot(), string_at=lambda addr: "hello\n")
        assert got == f"{BASE + 0x110:#x}: hello\n"


def test_a_list_without_data_still_tells_where_the_text_of_the_kernel_is() -> None:
    table = parse_kallsyms("".join(line for line in KALLSYMS.splitlines(True) if " T " in line).encode())
    names = {"symbols": Symbolizer(table, LE64), "addr_of": table.addr}
    assert late(CALL, LastBoot(0x5000), **names) == NAMED
    module = Rec(FUNCTION, 1, struct.pack("<QQ", MODULE + 4, BASE + 0x310))
    assert late(module, LastBoot(0x5000), **names) == f"{MODULE + 4:#x} <-ksys_read\n"


def test_fields_have_named_words_one_release_after_modules_are_told_apart() -> None:
    spellings = {name: style_of(name, Catalog([])) for name in ("B'", "C1", "C2")}
    assert [s.selective for s in spellings.values()] == [False, True, True]
    assert [s.adjusted_fields for s in spellings.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("text_addr", "base", "fields"),
    [
        (BASE + 0x12000000, BASE + 0x12000000, True),
        (0, BASE + 0x12000000, False),  # 6.15 to 7.0, events from the command line alone
        (BASE, BASE, False),  # nokaslr
        (0xFFFF800080000000, 0xFFFF800080000000, False),  # the same on arm64
        (0xFFFFFFFF80002000, 0xFFFFFFFF80002000, False),  # and on riscv64
        (0xFFFFC00080000000, 0xFFFFC00080000000, False),  # with pages of 16 KiB and 47 bits
    ],
)
def test_what_a_region_tells_of_the_move(tmp_path: Path, text_addr: int, base: int, fields: bool) -> None:
    folder = tmp_path / "tracing/events/test/pointer"
    folder.mkdir(parents=True)
    (folder / "format").write_text(POINTER)
    payload = struct.pack("<HBBiQ", 300, 0, 0, 1, 5)
    writer = RegionWriter([[(10**9, payload)]], layout="C2", text_addr=text_addr)
    (tmp_path / "region").write_bytes(writer.region())
    names = "_text", "_stext", "kaslr_get_random_long", "_etext"
    (tmp_path / "kallsyms").write_text("".join(f"{base + 4096 * n:016x} T {name}\n" for n, name in enumerate(names)))
    region, tracefs, kallsyms = (str(tmp_path / name) for name in ("region", "tracing", "kallsyms"))
    (line,) = rbdump.open(region, tracefs=tracefs, kallsyms=kallsyms).lines(raw_fields=True)
    assert line.endswith("pointer: ptr=0x5 (5)" if fields else "pointer: ptr=0x5")
