# SPDX-License-Identifier: Apache-2.0
"""The columns in front of events, against one plain spelling of each row."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.events.entries import Entries
from rbdump.render.prefix import PrefixRenderer, latency_text, stamp_text
from rbdump.ring.records import RecordTable

NAMES = ("<...>", "<idle>", "sh", "kworker/u16:2-ev", "a b", "café\udcff")


def entries_of(ts: list[int], cpu: list[int], flags: list[int], preempt: list[int], pid: list[int]) -> Entries:
    count = len(ts)
    records = RecordTable(
        np.array(ts, np.uint64),
        np.array(cpu, np.uint16),
        np.zeros(count, np.int64),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
    )
    ids = np.zeros(count, np.uint16)
    return Entries(records, ids, np.array(flags, np.uint8), np.array(preempt, np.uint8), np.array(pid, np.int32))


def plain(name: str, pid: int, cpu: int, flags: int, preempt: int, ts: int, *, lazy: bool, in_ns: bool) -> str:
    depth = f"{preempt & 15:x}" if preempt & 15 else "."
    migrate = f"{preempt >> 4:x}" if preempt >> 4 else "."
    if in_ns:
        micro = (ts + 500) // 1000
        stamp = f" {micro // 10**6:5d}.{micro % 10**6:06d}"
    else:
        stamp = f" {ts:12d}"
    blanks = " " * (16 - len(name.encode("utf-8", "surrogateescape")))
    return f"{blanks}{name}-{pid:<7d} [{cpu:03d}] {latency_text(flags, lazy=lazy)}{depth}{migrate}{stamp}: "


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("in_ns", [True, False])
@pytest.mark.parametrize(
    "begin",
    [0, 79_814_210_499, 99_999_999_900_000, 10**12 - 40, 17 * 10**17, 2**64 - 10**15],
    ids=["zero", "boot", "second 100000", "13 digits", "tai", "top"],
)
def test_every_row_is_spelled_as_one_by_one(begin: int, in_ns: bool, lazy: bool) -> None:
    rng = np.random.default_rng(7)
    count = 600
    ts = np.sort(rng.integers(0, 1_000_000_000, count)).tolist()
    ts = [begin + value for value in ts]
    comm = rng.integers(0, len(NAMES), count)
    columns = {
        "cpu": rng.choice([0, 1, 7, 999, 1000, 65535], count).tolist(),
        "flags": rng.integers(0, 256, count).tolist(),
        "preempt": rng.integers(0, 256, count).tolist(),
        "pid": rng.choice([0, 1, 150, 4_194_304, 99_999_999, -1, -(2**31), 2**31 - 1], count).tolist(),
    }
    renderer = PrefixRenderer(NAMES, lazy=lazy, in_ns=in_ns)
    entries = entries_of(ts, **columns)
    want = [
        plain(NAMES[comm[i]], pid=pid, cpu=cpu, flags=flags, preempt=preempt, ts=ts[i], lazy=lazy, in_ns=in_ns)
        for i, (cpu, flags, preempt, pid) in enumerate(zip(*columns.values(), strict=True))
    ]
    assert renderer.render(entries, comm) == want
    assert renderer.render(entries, comm) == want  # from tables that the first call filled


def test_the_tables_of_tasks_grow_once_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5000
    zeros = [0] * count
    entries = entries_of([*range(count)], zeros, zeros, zeros, [*range(1, count + 1)])
    names = np.full(count, NAMES.index("sh"))
    grown = []
    append = np.append
    monkeypatch.setattr(np, "append", lambda *args: grown.append(1) or append(*args))
    lines = PrefixRenderer(NAMES, lazy=False, in_ns=True).render(entries, names)
    assert len(grown) < 10
    want = [plain("sh", pid, 0, 0, 0, pid - 1, lazy=False, in_ns=True) for pid in range(1, count + 1)]
    assert lines == want


def test_a_pid_may_change_its_name() -> None:
    renderer = PrefixRenderer(NAMES, lazy=False, in_ns=True)
    entries = entries_of([1000, 2000, 3000], [0, 0, 0], [0, 0, 0], [0, 0, 0], [150, 150, 150])
    got = renderer.render(entries, np.array([2, 4, 2]))
    assert [line[:20].strip() for line in got] == ["sh-150", "a b-150", "sh-150"]
    assert renderer.render(entries.select(slice(0, 0)), np.array([], np.int64)) == []


@pytest.mark.parametrize(
    ("flags", "lazy", "want"),
    [
        (0x00, False, "..."),
        (0x01, False, "d.."),
        (0x80, False, "b.."),
        (0x81, False, "D.."),
        (0x02, False, "X.."),
        (0x03, False, "d.."),  # IRQS_NOSUPPORT is asked last
        (0x02, True, ".l."),
        (0x04, False, ".n."),
        (0x20, False, ".p."),
        (0x24, False, ".N."),
        (0x06, True, ".b."),
        (0x22, True, ".L."),
        (0x26, True, ".B."),
        (0x26, False, "XN."),
        (0x08, False, "..h"),
        (0x10, False, "..s"),
        (0x18, False, "..H"),
        (0x40, False, "..z"),
        (0x50, False, "..z"),
        (0x48, False, "..Z"),
    ],
)
def test_latency_characters(flags: int, lazy: bool, want: str) -> None:
    assert latency_text(flags, lazy=lazy) == want


def test_trap_12_microseconds_are_rounded() -> None:
    assert stamp_text(79_814_210_499, in_ns=True) == "    79.814210"
    assert stamp_text(79_814_210_500, in_ns=True) == "    79.814211"
    assert stamp_text(999_999_500, in_ns=True) == "     1.000000"
    assert stamp_text(21270569225, in_ns=False) == "  21270569225"
