# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.events.comms import infer_comms, saved_comms, task_names
from tests.events.records import Rec, catalog_of, format_text, pack

SWITCH, WAKING, RENAME, EXEC, FORK, OTHER, BLOCK, DYNAMIC = 300, 301, 302, 303, 304, 305, 306, 307
CATALOG = catalog_of(
    (
        "sched",
        format_text(
            "sched_switch",
            SWITCH,
            ("char prev_comm[16]", 8, 16, 0),
            ("pid_t prev_pid", 24, 4, 1),
            ("char next_comm[16]", 28, 16, 0),
            ("pid_t next_pid", 44, 4, 1),
        ),
    ),
    ("sched", format_text("sched_waking", WAKING, ("char comm[16]", 8, 16, 0), ("pid_t pid", 24, 4, 1))),
    (
        "task",
        format_text(
            "task_rename",
            RENAME,
            ("pid_t pid", 8, 4, 1),
            ("char oldcomm[16]", 12, 16, 0),
            ("char newcomm[16]", 28, 16, 0),
        ),
    ),
    (
        "sched",
        format_text("sched_process_exec", EXEC, ("__data_loc char[] filename", 8, 4, 0), ("pid_t pid", 12, 4, 1)),
    ),
    (
        "sched",
        format_text(
            "sched_process_fork", FORK, ("__data_loc char[] child_comm", 8, 4, 0), ("pid_t child_pid", 12, 4, 1)
        ),
    ),
    ("x", format_text("other", OTHER, ("int n", 8, 4, 1))),
    ("block", format_text("block_plug", BLOCK, ("char comm[16]", 8, 16, 0))),
    ("oom", format_text("mark_victim", DYNAMIC, ("__data_loc char[] comm", 8, 4, 0), ("int pid", 12, 4, 1))),
)


def name(text: str) -> bytes:
    return text.encode().ljust(16, b"\0")


def switch(prev: tuple[str, int], following: tuple[str, int], **place: int) -> Rec:
    body = name(prev[0]) + struct.pack("<i", prev[1]) + name(following[0]) + struct.pack("<i", following[1])
    return Rec(SWITCH, prev[1], body, **place)


def dynamic(event_id: int, row_pid: int, text: bytes, pid: int) -> Rec:
    return Rec(event_id, row_pid, struct.pack("<Ii", len(text) << 16 | 16, pid) + text)


def other(pid: int, **place: int) -> Rec:
    return Rec(OTHER, pid, bytes(4), **place)


def inferred(*records: Rec) -> list[str]:
    entries, memory = pack(records)
    return infer_comms(entries, CATALOG, memory).column()


def test_saved_cmdlines_name_every_row_as_the_kernel_does() -> None:
    entries, memory = pack(
        [other(7), other(0), other(-3), other(8), other(1 << 30), switch(("at-that-time", 7), ("b", 8))]
    )
    names = task_names(entries, CATALOG, memory, {7: "latest", 0: "never", 9: "x"})
    assert names.column() == ["latest", "<idle>", "<XXX>", "<...>", "<...>", "latest"]
    assert names.select([1, 0]).column() == ["<idle>", "latest"]


def test_pids_beyond_the_saved_ones_have_no_name() -> None:
    saved = {1: "first", 9: "last", -3: "negative", (1 << 23): "beyond any pid"}
    entries, _ = pack([other(pid) for pid in (1, 9, 10, 1 << 23, -3, -(1 << 31))])
    assert saved_comms(entries.pid, saved).column() == ["first", "last", "<...>", "<...>", "<XXX>", "<XXX>"]
    assert saved_comms(entries.pid[:3], {9: "last"}).column() == ["<...>", "last", "<...>"]


def test_trap_14_comms_of_the_last_boot_come_from_the_events() -> None:
    """The kernel loses the names of the last boot; the pairs of comm and pid in the records keep them."""
    assert inferred(other(7), switch(("sh", 7), ("kworker/0:1", 9)), other(9), other(0), other(-1), other(55)) == [
        "sh",
        "sh",
        "kworker/0:1",
        "<idle>",
        "<XXX>",
        "<...>",
    ]


def test_names_change_with_time() -> None:
    rename = Rec(RENAME, 7, struct.pack("<i", 7) + name("sh") + name("ls"))
    assert inferred(other(7), rename, other(7)) == ["sh", "sh", "ls"]
    execute = dynamic(EXEC, 7, b"/usr/bin/a-very-long-program-name\0", 7)
    fork = dynamic(FORK, 3, b"sh\0", 7)
    assert inferred(fork, other(7), execute, other(7))[1:] == ["sh", "a-very-long-pro", "a-very-long-pro"]
    # Without an event that says so, the name changes where it is next seen.
    assert inferred(switch(("sh", 7), ("x", 1)), other(7), switch(("ls", 7), ("x", 1)), other(7)) == [
        "sh",
        "sh",
        "ls",
        "ls",
    ]


def test_what_a_fork_says_gives_way_to_what_is_seen_later() -> None:
    waking = Rec(WAKING, 0, name("ls") + struct.pack("<i", 7))
    assert inferred(dynamic(FORK, 3, b"sh\0", 7), other(7), waking, other(7)) == ["<...>", "sh", "<idle>", "ls"]


def test_every_kind_of_pair() -> None:
    waking = Rec(WAKING, 0, name("woken") + struct.pack("<i", 7))
    assert inferred(other(7), waking) == ["woken", "<idle>"]
    assert inferred(other(7), Rec(BLOCK, 7, name("dd"))) == ["dd", "dd"]
    assert inferred(other(7), dynamic(DYNAMIC, 0, b"victim\0", 7)) == ["victim", "<idle>"]


def test_bytes_behind_the_nul_are_not_the_name() -> None:
    junk = b"sh\0old-name\0\0\0\0\0"
    record = Rec(SWITCH, 7, junk + struct.pack("<i", 7) + name("x") + struct.pack("<i", 1))
    assert inferred(record, other(7), switch(("sh", 7), ("x", 1))) == ["sh", "sh", "sh"]


def test_boots_do_not_name_each_others_tasks() -> None:
    records = [other(7, epoch=1), switch(("old", 7), ("x", 1), epoch=1), other(7), switch(("new", 7), ("x", 1))]
    assert inferred(*records) == ["old", "old", "new", "new"]
    entries, memory = pack(records)
    assert task_names(entries, CATALOG, memory, {7: "saved"}).column() == ["old", "old", "saved", "saved"]


def test_damaged_records_name_nobody() -> None:
    short = Rec(SWITCH, 7, b"sh\0\0")
    outside = Rec(DYNAMIC, 0, struct.pack("<Ii", 200 << 16 | 16, 7))
    absurd = Rec(WAKING, 0, name("x") + struct.pack("<i", 2_000_000_000))
    assert inferred(short, outside, absurd, other(7)) == ["<...>", "<idle>", "<idle>", "<...>"]


@pytest.mark.parametrize("order", ["little", "big"])
def test_byte_orders(order: Literal["little", "big"]) -> None:
    sign = "<" if order == "little" else ">"
    body = name("sh") + struct.pack(f"{sign}i", 7) + name("init") + struct.pack(f"{sign}i", 1)
    entries, memory = pack([Rec(SWITCH, 7, body), other(1)], Abi(order, 8))
    assert infer_comms(entries, CATALOG, memory).column() == ["sh", "init"]


def test_no_rows() -> None:
    entries, memory = pack([])
    assert infer_comms(entries, CATALOG, memory).column() == []
    assert saved_comms(entries.pid, {1: "init"}).column() == []


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=30))
def test_equals_a_plain_walk(steps: list[tuple[int, str, bool]]) -> None:
    """The columns give what reading the records one after the other gives."""
    records = [switch((comm, pid), ("x", 9)) if seen else other(pid) for pid, comm, seen in steps]
    expected = []
    for row, (pid, _, _) in enumerate(steps):
        until = [comm for its_pid, comm, seen in steps[: row + 1] if seen and its_pid == pid]
        later = [comm for its_pid, comm, seen in steps[row:] if seen and its_pid == pid]
        expected.append(until[-1] if until else later[0] if later else "<...>")
    assert inferred(*records) == expected
