# SPDX-License-Identifier: Apache-2.0
"""Events as a kernel prints them of a last boot."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from rbdump.abi import Abi
from rbdump.render.bodies import LastBoot
from rbdump.render.fields import FilterType, filter_type
from tests.events.records import Rec, format_text
from tests.render.scene import BASE, MODULE, NEW, OLD, render

MASK64 = 2**64 - 1
EVENT = format_text(
    "many",
    300,
    ("char comm[16]", 8, 16, 0),
    ("__data_loc char[] name", 24, 4, 0),
    ("__rel_loc char[] rel", 28, 4, 0),
    ("u8 letter", 32, 1, 0),
    ("bool on", 33, 1, 0),
    ("u16 port", 34, 2, 0),
    ("int ret", 36, 4, 1),
    ("void * ptr", 40, 8, 0),
    ("__data_loc u8[] raw", 48, 4, 0),
    ("__data_loc cpumask_t mask", 52, 4, 0),
    ("__u8 saddr[6]", 56, 6, 0),
    ("const char * s", 64, 8, 0),
)
TAIL = 72


def body(name: bytes = b"abc", ptr: int = BASE + 0x110) -> bytes:
    fixed = struct.pack(
        "<16sIIBBHiQII6s2xQ",
        b"sh",
        len(name) << 16 | TAIL,
        2 << 16 | (TAIL + len(name) - 32),
        ord("a"),
        1,
        80,
        -2,
        ptr,
        3 << 16 | (TAIL + len(name) + 2),
        0,
        b"123456",
        BASE + 0x2000,
    )
    return fixed + name + b"x\0" + b"\1\2\xff"


def fields(record: Rec, **options: object) -> str:
    options.setdefault("last_boot", LastBoot())
    return render([record], [("test", EVENT)], **options)[0]  # type: ignore[arg-type]


def test_before_symbols() -> None:
    assert fields(Rec(300, 1, body())) == (
        f"many: comm=sh name=abc rel=x letter='a'(97) on=(1) port=0x50 (80) ret=0xfffffffe (-2) "
        f"ptr={BASE + 0x110:#x} ({BASE + 0x110 - 2**64}) raw=01,02,ff mask=<INVALID-TYPE> saddr=<INVALID-SIZE> "
        f"s=(0x{BASE + 0x2000:016x})\n"
    )


def test_with_symbols() -> None:
    got = fields(Rec(300, 1, body(b"\x1b[m\0")), style=NEW, string_at={BASE + 0x2000: "text"}.get)
    assert "name=.[m. (1b:5b:6d:00) " in got
    assert f"ptr=vfs_read+0x10/0x100 ({BASE + 0x110 - 2**64})" in got
    assert f"s=(0x{BASE + 0x2000:016x}:text)\n" in got
    assert "name=abc " in fields(Rec(300, 1, body(b"abc\0")), style=NEW)


def test_the_dead_kernel_names_its_own_addresses() -> None:
    """Its option ``fields``; what an event falls back to whose print fmt cannot be rendered."""
    event = EVENT.replace('fmt: ""', 'fmt: "%d", function_of_the_kernel(REC->ret)')
    record = Rec(300, 1, body(b"abc\0", ptr=MODULE + 4))
    (got,) = render([record], [("test", event)], style=NEW, string_at={BASE + 0x2000: "text"}.get)
    assert " ptr=br_init+0x4/0x40 [bridge] (" in got
    assert f"s=(0x{BASE + 0x2000:016x}:text)\n" in got
    assert f"ptr={MODULE + 4:#x} (" in render([record], [("test", event)])[0]


@pytest.mark.parametrize("style", [OLD, NEW])
def test_what_lies_behind_the_record_overflows(style: object) -> None:
    got = fields(Rec(300, 1, body()[:20]), style=style)
    assert got.startswith("many: comm=sh name=<OVERFLOW> rel=<OVERFLOW> letter=<OVERFLOW>")
    wild = bytearray(body())
    wild[16:20] = struct.pack("<I", 0xFFFF << 16 | TAIL)
    assert "name=<OVERFLOW> rel=x" in fields(Rec(300, 1, bytes(wild)), style=style)


@pytest.mark.parametrize(
    ("addr", "delta", "text"),
    [
        (BASE + 0x110, 0x5000, f"vfs_read+0x10/0x100 ({BASE + 0x5110 - 2**64})"),
        (5, 0x5000, "0x5 (5)"),
        (BASE + 0x4000, 0x5000, f"{BASE + 0x4000:#x} ({BASE + 0x4000 - 2**64})"),
        (BASE + 0x5110, 0x5000, f"vfs_read+0x10/0x100 ({BASE + 0x5110 - 2**64})"),  # by chance in the reader's text
        (MODULE + 4, 0x5000, f"{MODULE + 4:#x} ({MODULE + 4 - 2**64})"),  # the reader has not loaded it
        (MASK64 - 11, 0x5000, "0xfffffffffffffff4 (-12)"),  # counts as behind the last module
    ],
)
def test_addresses_are_moved_as_the_reader_moves_them(addr: int, delta: int, text: str) -> None:
    got = fields(Rec(300, 1, body(ptr=addr)), style=NEW, last_boot=LastBoot(delta, modules=[MODULE]))
    assert f" ptr={text} raw=" in got


def test_functions_are_moved_wherever_they_lead_before_the_scratch_had_modules() -> None:
    call = Rec(1, 1, struct.pack("<QQ", MODULE + 4, BASE + 0x310))
    assert render([call], last_boot=LastBoot(0x5000)) == [f"{MODULE + 0x5004:#x} <-ksys_read\n"]
    late = render([call], style=NEW, numbering=21, last_boot=LastBoot(0x5000, modules=[MODULE]))
    assert late == [f"{MODULE + 4:#x} <-ksys_read\n"]


def test_offsets_of_irqsoff_events_are_named() -> None:
    event = format_text("irq_disable", 301, ("u32 caller_offs", 8, 4, 0), ("u32 parent_offs", 12, 4, 0))
    record = Rec(301, 1, struct.pack("<II", 0x110, 0x210))
    got = render([record], [("preemptirq", event)], style=NEW, last_boot=LastBoot())
    assert got == [
        "irq_disable: caller_offs=vfs_read+0x10/0x100 0x110 (272) parent_offs=vfs_write+0x10/0x100 0x210 (528)\n"
    ]
    old = render([record], [("preemptirq", event)], last_boot=LastBoot())
    assert old == ["irq_disable: caller_offs=0x110 (272) parent_offs=0x210 (528)\n"]


def test_words_of_32_bit() -> None:
    abi = Abi("big", 4)
    event = format_text("small", 302, ("void * ptr", 8, 4, 0), ("u64 ns", 12, 8, 0), ("const char * s", 20, 4, 0))
    record = Rec(302, 1, struct.pack(">IQI", 0xC0000010, 2**40, 0xC0001000))
    got = render([record], [("test", event)], abi=abi, style=NEW, last_boot=LastBoot())
    assert got == [
        f"small: ptr=0xc0000010 ({0xC0000010 - 2**32}) ns=0x10000000000 ({2**40}) s=(0xc0001000)\n",
    ]


def test_bytes_that_the_kernel_takes_for_letters() -> None:
    event = format_text("byte", 303, ("u8 b", 8, 1, 0))
    got = [render([Rec(303, 1, bytes([b]))], [("t", event)], last_boot=LastBoot())[0] for b in (31, 32, 127, 0xE9)]
    assert got == ["byte: b=(31)\n", "byte: b=' '(32)\n", "byte: b=(127)\n", "byte: b='\udce9'(233)\n"]


def test_an_event_without_fields() -> None:
    assert render([Rec(304, 1)], [("t", format_text("none", 304))], last_boot=LastBoot()) == ["none:No fields found\n"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("__data_loc char[]", FilterType.DYN_STRING),
        ("__rel_loc char[]", FilterType.RDYN_STRING),
        ("__data_loc cpumask_t", FilterType.CPUMASK),
        ("__rel_loc cpumask_t", FilterType.OTHER),  # printed as bytes, as any other dynamic array
        ("__data_loc u8[]", FilterType.OTHER),
        ("unsigned char[32]", FilterType.STATIC_STRING),
        ("const char *", FilterType.PTR_STRING),
        ("char *", FilterType.PTR_STRING),
        ("const void *", FilterType.OTHER),
        ("unsigned char", FilterType.OTHER),
    ],
)
def test_filter_types(text: str, kind: FilterType) -> None:
    assert filter_type(text) is kind


def test_hex_strings_came_later() -> None:
    style = replace(NEW, hex_strings=False)
    assert "name=\x1b[m rel" in fields(Rec(300, 1, body(b"\x1b[m\0")), style=style)
