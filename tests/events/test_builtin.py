# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.events.builtin import builtin_formats, choose_numbering, contradicted
from rbdump.events.entries import Entries
from rbdump.events.rows import Memory
from rbdump.events.texts import FormatTexts
from rbdump.events.tracefs import load_tracefs
from tests.events.records import Rec, format_text, pack

SAMPLES = Path(__file__).parents[2] / "samples"
LE64, BE64, LE32 = Abi("little", 8), Abi("big", 8), Abi("little", 4)


def records(abi: Abi, *payloads: tuple[int, bytes]) -> tuple[Entries, Memory]:
    """Entries of (id, bytes behind trace_entry)."""
    return pack([Rec(event_id, 1, body) for event_id, body in payloads], abi)


def fields(texts: FormatTexts, event_id: int) -> list[tuple[str, int, int]]:
    return [(f.name, f.offset, f.size) for f in texts[event_id].fields]


# A stack is as long as its record, and the depth of a function graph entry is told by the records.
OWN_SPELLING = {"kernel_stack", "funcgraph_entry"}


@pytest.mark.parametrize("sample", sorted(p.parent.name for p in SAMPLES.glob("*/tracefs.tar.xz")))
def test_trap_11_ids_shift_between_kernels_and_the_built_in_events_follow(sample: str) -> None:
    """Event ids shift with the enum split (20 or 21); only ftrace's own are fixed."""
    formats = load_tracefs(str(SAMPLES / sample / "tracefs.tar.xz")).formats
    order: Literal["little", "big"] = "big" if sample.startswith("s390") else "little"
    abi = Abi(order, 4 if sample.startswith("armhf") else 8)
    numbering = choose_numbering(abi, "none", [formats])
    assert numbering == (20 if "6.12." in sample else 21)
    own = builtin_formats(abi, numbering)
    theirs = {name: event_id for (system, name), event_id in formats.names().items() if system == "ftrace"}
    assert len(theirs) == 18
    for name, event_id in theirs.items():
        assert own.names()["ftrace", name] == event_id
        if name not in OWN_SPELLING:
            assert fields(own, event_id) == fields(formats, event_id), name
    assert fields(own, theirs["kernel_stack"])[1][:2] == fields(formats, theirs["kernel_stack"])[1][:2]
    # The first dynamic id is the number that names the numbering.
    assert min(i for (system, _), i in formats.names().items() if system != "ftrace") == numbering


@pytest.mark.parametrize(
    ("layout", "numbering"), [("A", 20), ("A0", 20), ("B", 20), ("B'", 21), ("C1", 21), ("C2", 21), ("C2-inject", 21)]
)
def test_the_layout_decides_when_nothing_else_does(layout: str, numbering: int) -> None:
    assert choose_numbering(LE64, layout) == numbering


@pytest.mark.parametrize("layout", ["B", "C2"])
@pytest.mark.parametrize(
    ("event_id", "body", "numbering"),
    [
        (12, 72, 20),  # user_stack
        (13, 72, 21),
        (14, 16, 20),  # bputs
        (15, 16, 21),
        (17, 16, 20),  # timerlat
        (18, 16, 21),
        (19, 24, 20),  # func_repeats
        (20, 24, 21),
        (12, 20, 21),  # function graph entry with return address
    ],
)
def test_record_lengths_decide_before_the_layout(layout: str, event_id: int, body: int, numbering: int) -> None:
    entries, _ = records(LE64, (1, bytes(16)), *[(event_id, bytes(body))] * 20)
    assert choose_numbering(LE64, layout, [], entries) == numbering


def test_a_damaged_record_decides_nothing() -> None:
    """One flipped bit makes another id or length; the others outvote it."""
    for body in (24, 72):
        entries, memory = records(LE64, (12, bytes(body)), (13, bytes(72)), *[(1, bytes(16))] * 50)
        assert choose_numbering(LE64, "B", [], entries) == 20
        assert choose_numbering(LE64, "C2", [], entries) == 21
    entries, memory = records(LE64, (10, bytes(8)), *[(10, bytes(40))] * 200)
    assert fields(builtin_formats(LE64, 21, entries, memory), 10)[1] == ("retval", 16, 8)


def test_trap_13_lengths_count_the_padding() -> None:
    """A payload is as long as its structure, whose own padding counts, and is padded to 4 bytes (or 8) again."""
    for body, numbering in ((52, 21), (56, 21), (44, 20), (48, 20)):  # id 16: hwlat has 60 bytes, osnoise 52
        entries, _ = records(LE64, *[(16, bytes(body))] * 9)
        assert choose_numbering(LE64, "B", [], entries) == numbering
        assert choose_numbering(LE64, "C2", [], entries) == numbering


def test_records_that_fit_both_numberings_leave_it_to_the_layout() -> None:
    entries, _ = records(LE64, (1, bytes(16)), (5, bytes(30)), (300, bytes(72)))
    assert choose_numbering(LE64, "B", [], entries) == 20
    assert choose_numbering(LE64, "C2", [], entries) == 21


def test_function_graph_entries_by_length() -> None:
    entries, memory = records(LE64, (11, struct.pack("<Qi", 0xFFFF, 3)))
    assert fields(builtin_formats(LE64, 21, entries, memory), 11) == [("func", 8, 8), ("depth", 16, 4)]
    entries, memory = records(LE64, (11, struct.pack("<QQ", 0xFFFF, 3)))
    expected = [("func", 8, 8), ("depth", 16, 4), ("args", 24, 0)]
    assert fields(builtin_formats(LE64, 21, entries, memory), 11) == expected
    assert fields(builtin_formats(LE32, 21), 11) == [("func", 8, 4), ("depth", 12, 4), ("args", 16, 0)]


def test_function_graph_depth_on_big_endian() -> None:
    entries, memory = records(BE64, (11, struct.pack(">QQ", 0xFFFF, 3)), (11, struct.pack(">QQ", 0xFFFF, 0)))
    assert fields(builtin_formats(BE64, 21, entries, memory), 11)[1] == ("depth", 16, 8)
    entries, memory = records(BE64, (11, struct.pack(">Qii", 0xFFFF, 3, -1)), (11, struct.pack(">Qii", 0xFFFF, 0, 7)))
    assert fields(builtin_formats(BE64, 21, entries, memory), 11)[1] == ("depth", 16, 4)


@pytest.mark.parametrize(("abi", "plain", "with_retval"), [(LE64, 40, 48), (LE32, 36, 40)])
def test_function_graph_exits_with_and_without_return_value(abi: Abi, plain: int, with_retval: int) -> None:
    for size, count in ((plain, 5), (with_retval, 6)):
        entries, memory = records(abi, (10, bytes(size - 8)), (10, bytes(size - 8)))
        found = fields(builtin_formats(abi, 20, entries, memory), 10)
        assert len(found) == count
        assert found[-1] == ("rettime", size - 8, 8)


@pytest.mark.parametrize(("body", "where"), [(20, 20), (24, 24), (72, 24)])
def test_function_graph_entries_with_return_address(body: int, where: int) -> None:
    entries, memory = records(LE64, (12, bytes(body)))
    found = fields(builtin_formats(LE64, 21, entries, memory), 12)
    assert ("retaddr", where, 8) in found


def test_function_arguments_belong_to_the_later_numbering() -> None:
    assert [f.name for f in builtin_formats(LE64, 20)[1].fields] == ["ip", "parent_ip"]
    assert [f.name for f in builtin_formats(LE64, 21)[1].fields] == ["ip", "parent_ip", "args"]


@pytest.mark.parametrize(("body", "size"), [(20, 4), (24, 8)])
def test_physical_addresses_wider_than_a_word(body: int, size: int) -> None:
    entries, memory = records(LE32, (7, bytes(body)))
    assert fields(builtin_formats(LE32, 20, entries, memory), 7)[0] == ("phys", 8, size)


def test_formats_longer_than_the_records_are_of_another_kernel() -> None:
    args = ("unsigned long args[6]", 24, 48, 0)
    texts = FormatTexts("other")
    entry = format_text("funcgraph_entry", 11, ("unsigned long func", 8, 8, 0), ("unsigned long depth", 16, 8, 0), args)
    stack = format_text("kernel_stack", 4, ("int size", 8, 4, 1), ("unsigned long caller[8]", 16, 64, 0))
    for text in (entry, stack, format_text("function", 1, ("unsigned long ip", 8, 8, 0))):
        assert texts.add("ftrace", text.split("\n", 1)[0].removeprefix("name: "), text)
    some = [(11, bytes(12)), (4, bytes(24)), (1, bytes(16))] * 4
    assert contradicted(texts, records(LE64, *some)[0]) == [11]
    assert contradicted(texts, records(LE64, *some[:9])[0]) == []  # three may be damage
    assert contradicted(texts, records(LE64, *some, *[(11, bytes(64))] * 4)[0]) == []
    rest = texts.without([11])
    assert (sorted(rest), rest.names()) == ([1, 4], {("ftrace", "kernel_stack"): 4, ("ftrace", "function"): 1})
    assert rest[1] == texts[1]


@pytest.mark.skipif(not (Path(__file__).parents[2] / "formats").is_dir(), reason="no checkout")
def test_a_checkout_that_is_not_installed_has_its_formats(tmp_path: Path) -> None:
    for folder in ("rbdump", "formats"):
        shutil.copytree(Path(__file__).parents[2] / folder, tmp_path / folder)
    script = (
        "import rbdump.events.builtin as b; print(b.__file__); print(len(b.builtin_formats(b.Abi('little', 8), 21)))"
    )
    # Without site, so that no editable install answers for the copy.
    command, libraries = [sys.executable, "-S", "-c", script], str(Path(np.__file__).parents[1])
    found = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": libraries}, capture_output=True, text=True)
    assert found.stderr == ""
    file, count = found.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert int(count) > 15
