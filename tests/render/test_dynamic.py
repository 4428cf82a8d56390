# SPDX-License-Identifier: Apache-2.0
"""Probes and synthetic events."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from rbdump.abi import Abi
from rbdump.render.bodies import Bodies, LastBoot
from rbdump.symbols.kallsyms_text import parse_kallsyms
from rbdump.symbols.symbolizer import Symbolizer
from tests.events.records import Rec, format_text, pack
from tests.render.scene import BASE, MODULE, NEW, OLD, catalog, facts_of, render

BE64 = Abi("big", 8)
LONG = "unsigned long __probe_ip"
PROBE = format_text(
    "p_open", 1548, (LONG, 8, 8, 0), ("__data_loc char[] name", 16, 4, 1), ("u32 flags", 20, 4, 0)
).replace('print fmt: ""', r'print fmt: "(%lx) name=\"%s\" flags=0x%x", REC->__probe_ip, __get_str(name), REC->flags')
BARE = format_text("p_bare", 1549, (LONG, 8, 8, 0)).replace('""', '"(%lx)", REC->__probe_ip')
RETURN = format_text(
    "r_read",
    1550,
    ("unsigned long __probe_func", 8, 8, 0),
    ("unsigned long __probe_ret_ip", 16, 8, 0),
    ("s64 ret", 24, 8, 1),
).replace('""', '"(%lx <- %lx) ret=%Ld", REC->__probe_func, REC->__probe_ret_ip, REC->ret')
UPROBE = format_text("u_main", 1551, (LONG, 8, 8, 0)).replace('""', '"(%lx)", REC->__probe_ip')
SYNTHETIC = format_text(
    "wake_lat",
    1552,
    ("u64 lat", 8, 8, 0),
    ("pid_t pid", 16, 4, 1),
    ("s8 small", 24, 1, 1),
    ("gfp_t gfp", 32, 4, 0),
    ("char comm[16]", 40, 16, 1),
    ("__data_loc char[] who", 296, 8, 1),
)
STACK = format_text("stacked", 1553, ("__data_loc unsigned long[] stack", 8, 8, 0), ("u32 n", 16, 4, 0))
EPROBE = format_text("sw", 1554, ("u32 pid", 8, 4, 0), ("__data_loc char[] comm", 12, 4, 1)).replace(
    'print fmt: ""', r'print fmt: " pid=%u comm=\"%s\"", REC->pid, __get_str(comm)'
)
BARE_EPROBE = format_text("tick", 1555)
STRINGS = format_text(
    "p_args", 1556, (LONG, 8, 8, 0), ("__data_loc char[][3] argv", 16, 12, 1), ("__data_loc char[][2] two", 28, 8, 1)
).replace(
    'print fmt: ""',
    r'print fmt: "(%lx) argv={\"%s\",\"%s\",\"%s\"} two={\"%s\",\"%s\"}", REC->__probe_ip, '
    "__get_str(argv[0]), __get_str(argv[1]), __get_str(argv[2]), __get_str(two[0]), __get_str(two[1])",
)
EVENTS = [
    ("kprobes", STRINGS),
    ("eprobes", EPROBE),
    ("mine", BARE_EPROBE),
    ("kprobes", PROBE),
    ("mine", BARE),
    ("kprobes", RETURN),
    ("uprobes", UPROBE),
    ("synthetic", SYNTHETIC),
    ("synthetic", STACK),
]


def test_kprobe_and_a_string_that_could_not_be_read() -> None:
    def probe(name: bytes, size: int) -> Rec:
        return Rec(1548, 1, struct.pack("<QII", BASE + 0x110, size << 16 | 24, 0x8000) + name)

    assert render([probe(b"/tmp/x\0", 7), probe(b"", 0), probe(b"/\0", 2)], EVENTS) == [
        'p_open: (vfs_read+0x10/0x100) name="/tmp/x" flags=0x8000\n',
        "p_open: (vfs_read+0x10/0x100) name=(fault) flags=0x8000\n",
        'p_open: (vfs_read+0x10/0x100) name="/" flags=0x8000\n',
    ]


def test_probe_with_arrays_of_strings() -> None:
    where = [3 << 16 | 36, 3 << 16 | 39, 36, 1 << 16 | 42, 2 << 16 | 43]
    record = Rec(1556, 1, struct.pack("<Q5I", BASE + 0x110, *where) + b"sh\0-c\0\0x\0")
    wrong = Rec(1556, 1, struct.pack("<Q5I", BASE + 0x110, *where[:4], 900 << 16 | 43) + b"sh\0-c\0\0x\0")
    assert render([record, wrong], EVENTS) == [
        'p_args: (vfs_read+0x10/0x100) argv={"sh","-c",(fault)} two={"","x"}\n',
        'p_args: (vfs_read+0x10/0x100) argv={"sh","-c",(fault)} two={"",(bad __data_loc)}\n',
    ]


def test_return_probes_of_one_function_hide_each_others_return_address() -> None:
    table = parse_kallsyms(
        f"{BASE:x} T _stext\n{BASE + 0x100:x} T arch_rethook_trampoline\n{BASE + 0x200:x} T f".encode()
    )
    records = [Rec(1550, 1, struct.pack("<QQq", BASE + 0x200, at, 0)) for at in (BASE + 0x100, BASE + 0x104, 0)]
    assert render(records, EVENTS, symbols=Symbolizer(table, Abi("little", 8))) == [
        "r_read: ([unknown/kretprobe'd] <- f) ret=0\n",
        "r_read: (arch_rethook_trampoline+0x4/0x100 <- f) ret=0\n",
        "r_read: (0 <- f) ret=0\n",
    ]


def test_probe_without_arguments_in_a_group_of_its_own() -> None:
    got = render([Rec(1549, 1, struct.pack("<Q", addr)) for addr in (MODULE + 4, 0x401000)], EVENTS)
    assert got == ["p_bare: (br_init+0x4/0x40 [bridge])\n", "p_bare: (0x401000)\n"]


def test_kretprobe_and_uprobe() -> None:
    back = Rec(1550, 1, struct.pack("<QQq", BASE + 0x100, BASE + 0x310, -9))
    user = Rec(1551, 1, struct.pack("<Q", 0x401136))
    assert render([back, user], EVENTS) == [
        "r_read: (ksys_read+0x10/0x100 <- vfs_read) ret=-9\n",
        "u_main: (0x401136)\n",
    ]


def test_probes_of_a_kernel_in_the_lower_half() -> None:
    table = parse_kallsyms(b"000003fffe518000 T _text\n000003fffe969000 T ksys_read\n000003fffe96a000 T _end\n")
    names = {"symbols": Symbolizer(table, BE64), "addr_of": table.addr}
    record = Rec(1549, 1, struct.pack(">Q", 0x3FFFE969010))
    assert render([record], EVENTS, abi=BE64, **names) == ["p_bare: (ksys_read+0x10/0x1000)\n"]


def test_eprobes_name_the_event_that_they_are_attached_to() -> None:
    records = [
        Rec(1554, 1, struct.pack("<II", 7, 3 << 16 | 16) + b"sh\0"),
        Rec(1554, 1, struct.pack("<II", 8, 16)),
        Rec(1555, 1, b""),
    ]
    known = {("eprobes", "sw"): "sched.sched_switch", ("mine", "tick"): "timer.hrtimer_start"}
    assert render(records, EVENTS, eprobes=known) == [
        'sw: (sched.sched_switch) pid=7 comm="sh"\n',
        "sw: (sched.sched_switch) pid=8 comm=(fault)\n",
        "tick: (timer.hrtimer_start)\n",
    ]
    assert render(records[-1:], EVENTS, eprobes=known, last_boot=LastBoot()) == ["Unknown type 1555\n"]


@pytest.mark.parametrize("group", ["eprobes", "mine"])
def test_eprobe_whose_event_nobody_tells(group: str) -> None:
    entries, memory = pack([Rec(1554, 1, struct.pack("<II", 7, 3 << 16 | 16) + b"sh\0")])
    bodies = Bodies(catalog([(group, EPROBE)]), facts_of(), OLD, memory)
    assert bodies.render(entries) == ['sw:  pid=7 comm="sh"\n']
    assert [finding.code for finding in bodies.findings] == ["eprobe-unknown"]
    assert Bodies(catalog([(group, EPROBE)]), facts_of(), OLD, memory, last_boot=LastBoot()).render(entries) == [
        "Unknown type 1554\n"
    ]


def test_synthetic_fields() -> None:
    body = struct.pack("<Qi4xb7xI4x256sII", 770, -18, -1, 0xCC0, b"sh", 4 << 16 | 304, 0) + b"abc\0"
    assert render([Rec(1552, 1, body)], EVENTS) == ["wake_lat: lat=770 pid=-18 small=255 gfp=cc0 comm=sh who=abc\n"]


def test_synthetic_string_that_is_longer_than_its_type() -> None:
    text = format_text("named", 1557, ("char name[16]", 8, 16, 1), ("u8 n", 264, 1, 0))
    body = struct.pack("<256sQ", b"a string of thirty characters!", 3)
    want = ["named: name=a string of thirty characters! n=3\n"]
    assert render([Rec(1557, 1, body)], [("synthetic", text)]) == want


def test_fixed_strings_of_kernels_that_print_them_with_an_argument_too_many() -> None:
    text = format_text("lat", 1558, ("char comm[16]", 8, 16, 1), ("u64 n", 264, 8, 0), ("char last[8]", 272, 8, 1))
    faulty = replace(OLD, synthetic_faults=True)
    record = Rec(1558, 1, struct.pack("<256sQ256s", b"sh", 3, b"end"))
    spelled = text.replace('""', '"comm=%s n=%llu last=%s", REC->comm, REC->n, REC->last')
    assert render([record], [("synthetic", spelled)], style=faulty) == ["lat: comm=(efault)shn=3 last=(efault)end\n"]
    before = text.replace('""', '"comm=%.*s, n=%llu, last=%.*s", REC->comm, REC->n, REC->last')
    assert render([record], [("synthetic", before)], style=faulty) == ["lat: comm=sh n=3 last=end\n"]


def test_gfp_flags_of_a_synthetic_event_are_named_when_another_event_has_the_table() -> None:
    kmalloc = format_text("kmalloc", 600, ("unsigned long gfp_flags", 8, 8, 0)).replace(
        '""',
        '"gfp_flags=%s n=%s", (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", '
        '{(unsigned long)((1 << 6)|(1 << 7)), "GFP_KERNEL"}, '
        '{(unsigned long)(1 << 8), "__GFP_ZERO"}, { 0, ((void *)0) } ) : "none", (1) ? "a" : "b"',
    )
    text = format_text("alloc", 1556, ("gfp_t gfp", 8, 4, 0), ("u32 n", 16, 4, 0), ("gfp_t last", 24, 4, 0))
    records = [
        Rec(1556, 1, struct.pack("<QQQ", 0x1C0, 5, 0)),
        Rec(1556, 1, struct.pack("<QQQ", 0x7000001C0, 6, 0x201)),
    ]
    assert render(records, [("kmem", kmalloc), ("synthetic", text)]) == [
        "alloc: gfp=1c0  (GFP_KERNEL|__GFP_ZERO\0)n=5 last=0 (\0)\n",
        "alloc: gfp=1c0  (GFP_KERNEL|__GFP_ZERO|0x700000000\0)n=6 last=201 (0x201\0)\n",
    ]
    assert render(records[:1], [("synthetic", text)]) == ["alloc: gfp=1c0 n=5 last=0\n"]


def test_synthetic_stack() -> None:
    body = struct.pack("<IIIIQQQ", 24 << 16 | 24, 0, 5, 0, 2, BASE + 0x110, BASE + 0x210)
    got = render([Rec(1553, 1, body)], EVENTS)
    assert got == ["stacked: stack=STACK:\n=> vfs_read+0x10/0x100\n=> vfs_write+0x10/0x100\nn=5\n"]


def test_the_next_boot_does_not_know_them() -> None:
    got = render([Rec(1549, 1, struct.pack("<Q", BASE)), Rec(1552, 1, bytes(60))], EVENTS, last_boot=LastBoot())
    assert got == ["Unknown type 1549\n", "Unknown type 1552\n"]


@pytest.mark.parametrize("system", ["user_events", "user_events_multi"])
def test_events_of_processes_are_printed_as_their_fields(system: str) -> None:
    said = format_text("said", 1559, ("__data_loc char[] msg", 8, 4, 0), ("u32 n", 12, 4, 0))
    said = said.replace('""', '"msg=%s n=%u", __get_str(msg), REC->n')
    record = Rec(1559, 1, struct.pack("<II", 3 << 16 | 16, 3) + b"hi\0")
    nothing = Rec(1560, 1)
    assert render([record, nothing], [(system, said), (system, format_text("none", 1560))], style=NEW) == [
        "said: msg=hi n=0x3 (3)\n",
        "none:No fields found\n",
    ]
