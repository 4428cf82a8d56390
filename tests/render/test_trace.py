# SPDX-License-Identifier: Apache-2.0
"""Whole lines, lost events, and the lines on top."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.render.bodies import Bodies
from rbdump.render.prefix import PrefixRenderer
from rbdump.render.trace import Origin, TraceRenderer, encode, header, parse_origin
from tests.events.records import Rec, pack
from tests.render.scene import BASE, OLD, catalog, facts_of

LE64 = Abi("little", 8)


def test_lines_and_lost_events() -> None:
    call = struct.pack("<QQ", BASE + 0x100, BASE + 0x300)
    marker = struct.pack("<Q", BASE + 0x200) + b"caf\xc3\xa9 \xff\n\0"
    entries, memory = pack([Rec(1, 150, call, ts=1000), Rec(5, 0, marker, ts=2_000_000, cpu=3), Rec(1, 1, call)])
    entries.records.lost[:] = [0, -1, 17]
    renderer = TraceRenderer(
        PrefixRenderer(["sh", "<idle>", "caf\udcc3"], lazy=False, in_ns=True),
        Bodies(catalog(), facts_of(), OLD, memory),
    )
    assert renderer.render(entries, np.array([0, 1, 2])) == (
        b"              sh-150     [000] .....     0.000001: vfs_read <-ksys_read\n"
        b"CPU:3 [LOST EVENTS]\n"
        b"          <idle>-0       [003] .....     0.002000: vfs_write: caf\xc3\xa9 \xff\n"
        b"CPU:0 [LOST 17 EVENTS]\n"
        b"            caf\xc3-1       [000] .....     0.000000: vfs_read <-ksys_read\n"
    )
    assert renderer.render(entries.select(slice(0, 0)), np.array([], np.int64)) == b""


@pytest.mark.parametrize("lost", [0, 5])
def test_raw_data_that_a_line_has_no_room_for_takes_its_newline_with_it(lost: int) -> None:
    head = b"CPU:0 [LOST 5 EVENTS]\n" * (lost > 0) + b"              sh-150     [000] .....     0.000000: # 0 buf:"
    most = (8155 - len(head)) // 3
    for size, end in ((most, b"\n"), (most + 1, b""), (3900, b"")):
        entries, memory = pack([Rec(18, 150, bytes(4 + size)), Rec(18, 150, struct.pack("<I", 7))])
        entries.records.length[0] = 12 + size
        entries.records.lost[0] = lost
        renderer = TraceRenderer(
            PrefixRenderer(["sh"], lazy=False, in_ns=True), Bodies(catalog(), facts_of(), OLD, memory)
        )
        text = renderer.render(entries, np.array([0, 0]))
        assert text == head + b" 00" * most + end + b"              sh-150     [000] .....     0.000000: # 7 buf:\n"


@pytest.mark.parametrize(
    "origin",
    [
        Origin("B", Abi("big", 8), "local", 0xFFFFFFFF87000010, 0xFFFFFFFF88000020),
        Origin("B'", LE64, "counter", kaslr_offset=0),
        Origin("C2", LE64, "x86-tsc", BASE, modules=(("bridge", 0xFFFFFFFFC0602000), ("llc", 0xFFFFFFFFC0600000))),
        Origin("A0", Abi("little", 4), "local"),
    ],
    ids=lambda origin: origin.layout,
)
def test_the_origin_survives_the_header(origin: Origin) -> None:
    text = header(10, 20, 2, origin)
    assert all(line.startswith("#") for line in text.splitlines())
    assert parse_origin(text.splitlines(keepends=True)) == origin


def test_the_kernel_s_own_lines() -> None:
    lines = header(10, 20, 2, Origin("B", LE64, "local")).splitlines()
    assert lines[:3] == ["# tracer: nop", "#", "# entries-in-buffer/entries-written: 10/20   #P:2"]
    assert lines[-2:] == [
        "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION",
        "#              | |         |   |||||     |         |",
    ]


def test_hostile_module_names_stay_in_their_word() -> None:
    origin = Origin("C2", LE64, "local", modules=(("a b=\nc\udcff", 1),))
    text = header(1, 1, 1, origin)
    found = parse_origin(text.splitlines())
    assert found is not None
    assert found.modules == (("a?b??c?", 1),)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["# tracer: nop"],
        ["# rbdump: layout=C2"],
        ["# rbdump: layout=C2 abi=le99"],
        ["# rbdump: abi=le64"],
        ["sh-1 # rbdump: layout=C2 abi=le64"],
    ],
)
def test_no_origin(lines: list[str]) -> None:
    assert parse_origin(lines) is None


def test_damaged_origin_words() -> None:
    found = parse_origin(["# rbdump: layout=C2 abi=le64 text_addr=zz x y=", "# rbdump: module=m addr=?", "# rbdump:"])
    assert found == Origin("C2", LE64, "")


def test_any_bytes_come_out_as_they_went_in() -> None:
    raw = bytes(range(256))
    assert encode(raw.decode("utf-8", "surrogateescape")) == raw
