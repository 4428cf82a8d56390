# SPDX-License-Identifier: Apache-2.0
"""The three spellings of system calls."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from rbdump.render.bodies import LastBoot
from rbdump.render.style import Syscalls
from tests.events.records import Rec, format_text
from tests.render.scene import NEW, OLD, render

NR = ("int __syscall_nr", 8, 4, 1)
DUP2 = format_text("sys_enter_dup2", 500, NR, ("unsigned int oldfd", 16, 8, 0), ("unsigned int newfd", 24, 8, 0))
SYNC = format_text("sys_enter_sync", 501, NR)
EXIT = format_text("sys_exit_dup2", 502, NR, ("long ret", 16, 8, 1))
WRITE = format_text(
    "sys_enter_write",
    503,
    NR,
    ("unsigned int fd", 16, 8, 0),
    ("const char * buf", 24, 8, 0),
    ("size_t count", 32, 8, 0),
    ("__data_loc char[] __buf_val", 40, 4, 0),
).replace('print fmt: ""', 'print fmt: "buf: 0x%08lx (%s)", REC->buf, __print_dynamic_array(__buf_val, 1)')
RENAME = format_text(
    "sys_enter_rename",
    504,
    NR,
    ("const char * oldname", 16, 8, 0),
    ("const char * newname", 24, 8, 0),
    ("__data_loc char[] __oldname_val", 32, 4, 0),
    ("__data_loc char[] __newname_val", 36, 4, 0),
)
FLAGS = {
    0x1: "O_WRONLY",
    0x2: "O_RDWR",
    0x40: "O_CREAT",
    0x80: "O_EXCL",
    0x200: "O_TRUNC",
    0x10000: "O_DIRECTORY",
    0x80000: "O_CLOEXEC",
}
OPENAT = format_text(
    "sys_enter_openat",
    505,
    NR,
    ("int dfd", 16, 8, 0),
    ("const char * filename", 24, 8, 0),
    ("int flags", 32, 8, 0),
    ("umode_t mode", 40, 8, 0),
    ("__data_loc char[] __filename_val", 48, 4, 0),
).replace(
    'print fmt: ""',
    'print fmt: "%s", __print_flags(REC->flags, "|", '
    + ", ".join(f'{{ {mask:#x}, "{name}" }}' for mask, name in FLAGS.items())
    + ")",
)
EVENTS = [("syscalls", text) for text in (DUP2, SYNC, EXIT, WRITE, RENAME, OPENAT)]


def call(event_id: int, *args: int, tail: bytes = b"") -> Rec:
    return Rec(event_id, 1, struct.pack(f"<ii{len(args)}Q", 33, 0, *args) + tail)


@pytest.mark.parametrize(
    ("spelling", "text"),
    [
        (Syscalls.HEX, "sys_dup2(oldfd: a, newfd: 9)\n"),
        (Syscalls.PREFIXED, "sys_dup2(oldfd: 0xa, newfd: 9)\n"),
        (Syscalls.USER, "sys_dup2(oldfd: 0xa, newfd: 9)\n"),
    ],
)
def test_plain_arguments(spelling: Syscalls, text: str) -> None:
    style = replace(OLD, syscalls=spelling)
    assert render([call(500, 10, 9), call(501)], EVENTS, style=style) == [text, "sys_sync()\n"]


def test_exit() -> None:
    got = render([call(502, 1), call(502, 2**64 - 1)], EVENTS)
    assert got == ["sys_dup2 -> 0x1\n", "sys_dup2 -> 0xffffffffffffffff\n"]


def written(data: bytes, count: int) -> Rec:
    return call(503, 1, 0x7000, count, tail=struct.pack("<I", len(data) << 16 | 44) + data)


def test_buffers() -> None:
    got = render([written(b"ab\n", 3), written(b"\0\1", 2), written(b"xx", 9), written(b"", 5)], EVENTS, style=NEW)
    assert got == [
        'sys_write(fd: 1, buf: 0x7000 (61:62:0a) "ab.", count: 3)\n',
        "sys_write(fd: 1, buf: 0x7000 (00:01), count: 2)\n",
        'sys_write(fd: 1, buf: 0x7000 (78:78, ...) "xx"..., count: 9)\n',
        "sys_write(fd: 1, buf: 0x7000 (, ...), count: 5)\n",
    ]


def test_strings() -> None:
    tail = struct.pack("<II", 3 << 16 | 40, 0xFFFF << 16 | 43) + b"/a\0/b\0"
    got = render([call(504, 0x10, 0x20, tail=tail)], EVENTS, style=NEW)
    assert got == ['sys_rename(oldname: 0x10 "/a", newname: 0x20 "")\n']


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "flags: O_RDONLY"),
        (0x80000, "flags: O_RDONLY|O_CLOEXEC"),
        (0x242, "flags: O_RDWR|O_CREAT|O_TRUNC, mode: 0644"),
        (0x10000, "flags: O_RDONLY|O_DIRECTORY, mode: 0644"),  # O_TMPFILE holds its bit
        (0x410001, "flags: O_TMPFILE|O_WRONLY, mode: 0644"),
        (0x20000000, "flags: O_RDONLY|0x20000000"),
        (0x80000000, "flags: O_RDONLY|0xffffffff80000000"),
    ],
)
def test_openat(flags: int, text: str) -> None:
    record = call(505, 0xFFFFFF9C, 4771889, flags, 0o644, tail=struct.pack("<I", 3 << 16 | 52) + b"/a\0")
    got = render([record], EVENTS, style=NEW)
    assert got == [f'sys_openat(dfd: 4294967196, filename: 4771889 "/a", {text})\n']


def test_openat_of_a_machine_with_other_flags() -> None:
    mips = OPENAT.replace("{ 0x40,", "{ 0x100,")
    flags = (0x40, 0x101)
    tail = struct.pack("<I", 3 << 16 | 52) + b"/a\0"
    got = render([call(505, 3, 0x10, value, 0o644, tail=tail) for value in flags], [("syscalls", mips)], style=NEW)
    assert [text.split('"/a", ')[1] for text in got] == [
        "flags: O_RDONLY|0x40)\n",
        "flags: O_WRONLY|O_CREAT, mode: 0644)\n",
    ]


def test_a_last_boot_prints_them_as_fields_until_they_have_user_memory() -> None:
    old = render([call(500, 10, 9)], EVENTS, last_boot=LastBoot())
    assert old == ["sys_enter_dup2: __syscall_nr=0x21 (33) oldfd=0xa (10) newfd=0x9 (9)\n"]
    new = render([call(500, 10, 9)], EVENTS, style=NEW, last_boot=LastBoot())
    assert new == ["sys_dup2(oldfd: 0xa, newfd: 9)\n"]
