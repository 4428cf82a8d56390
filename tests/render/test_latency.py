# SPDX-License-Identifier: Apache-2.0
"""Lines of the latency tracers, of task switches, of device accesses and of branches."""

from __future__ import annotations

import struct

import pytest

from rbdump.abi import Abi
from rbdump.render.bodies import LastBoot
from tests.events.records import Rec
from tests.render.scene import render

SWITCH, WAKEUP, MMIO_RW, MMIO_MAP, BRANCH, HWLAT, OSNOISE, TIMERLAT = 2, 3, 7, 8, 9, 15, 16, 17


def test_hwlat() -> None:
    def body(nmis: int, nmi_time: int) -> bytes:
        return struct.pack("<QQQqqIII", 12, 3, nmi_time, 1700000000, 5, nmis, 7, 1)

    got = render([Rec(HWLAT, 1, body(0, 0)), Rec(HWLAT, 1, body(2, 900)), Rec(HWLAT, 1, body(2, 0))])
    head = "#7     inner/outer(us):   12/3     ts:1700000000.000000005 count:1"
    assert got == [f"{head}\n", f"{head} nmi-total:900 nmi-count:2\n", f"{head} nmi-count:2\n"]


@pytest.mark.parametrize("padding", [b"", bytes(4)])
def test_hwlat_where_a_timespec_may_be_padded(padding: bytes) -> None:
    body = struct.pack("<QQQqi", 12, 3, 0, 1700000000, 5) + padding + struct.pack("<III", 0, 7, 1) + padding
    got = render([Rec(HWLAT, 1, body)], abi=Abi("little", 4))
    assert got == ["#7     inner/outer(us):   12/3     ts:1700000000.000000005 count:1\n"]


def test_osnoise() -> None:
    noisy = struct.pack("<QQQIIIII", 5000, 1_000_000, 4000, 1, 2, 3, 4, 5)
    idle = struct.pack("<QQQIIIII", 0, 0, 0, 0, 0, 0, 0, 0)
    assert render([Rec(OSNOISE, 1, noisy), Rec(OSNOISE, 1, idle)]) == [
        "1000000       5000  99.50000    4000      1      2      3      4      5\n",
        "0          0   0.00000       0      0      0      0      0      0\n",
    ]


def test_timerlat() -> None:
    names = {0: "   irq", 1: "thread", 2: "user-ret", 3: "     3", 9: "     9"}
    got = render([Rec(TIMERLAT, 1, struct.pack("<IiQ", 3, context, 1234)) for context in names])
    assert got == [f"#3     context {name} timer_latency      1234 ns\n" for name in names.values()]


def test_switch_and_wakeup() -> None:
    body = struct.pack("<IIIBBBB", 150, 0, 3, 120, 1, 140, 99)
    assert render([Rec(SWITCH, 150, body), Rec(WAKEUP, 150, body)]) == [
        "     150:120:S ==> [003]       0:140:? <idle>\n",
        "     150:120:S   + [003]       0:140:? <idle>\n",
    ]


def test_mmiotrace() -> None:
    def access(opcode: int) -> Rec:
        return Rec(MMIO_RW, 1, struct.pack("<QQQiBB", 0xFEB00000, 0xABCD01, 0x10, 4, opcode, 2), ts=1_500_000_000)

    def mapping(opcode: int) -> Rec:
        return Rec(MMIO_MAP, 1, struct.pack("<QQQiB", 0xFEB00000, 0x2000, 0x1000, 4, opcode), ts=1_500_000_000)

    assert render([access(1), access(2), access(5), access(9), mapping(3), mapping(4), mapping(9)]) == [
        "R 2 1.500000 4 0xfeb00000 0xabcd01 0x10 0\n",
        "W 2 1.500000 4 0xfeb00000 0xabcd01 0x10 0\n",
        "UNKNOWN 1.500000 4 0xfeb00000 ab,cd,01 0x10 0\n",
        "rw what?\n",
        "MAP 1.500000 4 0xfeb00000 0x2000 0x1000 0x0 0\n",
        "UNMAP 1.500000 4 0x0 0\n",
        "map what?\n",
    ]
    assert render([access(1), mapping(3)], last_boot=LastBoot()) == ["Unknown type 7\n", "Unknown type 8\n"]


def test_branch() -> None:
    body = struct.pack("<I31s21s??", 42, b"vfs_read", b"fs/read_write.c", True, False)
    missed = struct.pack("<I31s21s??", 7, b"x" * 31, b"y" * 21, False, False)
    assert render([Rec(BRANCH, 1, body), Rec(BRANCH, 1, missed)]) == [
        "[  ok  ] vfs_read:fs/read_write.c:42\n",
        f"[ MISS ] {'x' * 31}:{'y' * 21}:7\n",
    ]
