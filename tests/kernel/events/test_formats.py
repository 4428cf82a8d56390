# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.events.formats import ImageFormats, read_formats
from rbdump.kernel.memory import ImageMemory, Segment
from rbdump.kernel.types.btf import Btf
from tests.eventwriter import EventWriter, FakeImage

ABIS = pytest.mark.parametrize(
    "abi", [Abi("little", 8), Abi("big", 8), Abi("little", 4), Abi("big", 4)], ids=["le64", "be64", "le32", "be32"]
)
COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""


def formats_of(image: FakeImage) -> ImageFormats:
    assert image.btf is not None
    return read_formats(image, Btf(image.btf), image.machine)


def kernel(abi: Abi, machine: str = "x86-64") -> EventWriter:
    out = EventWriter(abi, machine)
    out.event("initcall", "initcall_finish", [("int", "ret", 4, 4, True, 0)], '"%d", REC->ret')
    out.event("ftrace", "print", [("unsigned long", "ip", abi.long_size, abi.long_size, False, 0)], '"%s"', static_id=5)
    out.event(
        "sched",
        "sched_switch",
        [
            ("char[TASK_COMM_LEN]", "comm", 16, 1, False, 16),
            ("pid_t", "pid", 4, 4, True, 0),
            ("u8", "flag", 1, 1, False, 0),
            ("u64", "when", 8, abi.long_size, False, 0),
            ("__data_loc char[]", "name", 4, 4, False, 0),
            ("__rel_loc char[]", "other", 4, 4, False, 0),
            ("unsigned long[]", "caller", 0, abi.long_size, False, 0),
        ],
        '"%s %d", REC->comm, STATE_MAX',
    )
    out.eval_map("timer", "STATE_MAX", 1)
    out.eval_map("sched", "STATE_MAX", -256)
    return out


@ABIS
def test_a_format_file_to_the_byte(abi: Abi) -> None:
    switch = formats_of(kernel(abi).build()).events[2]
    word = abi.long_size
    assert (switch.system, switch.name, switch.id) == ("sched", "sched_switch", 22)
    assert switch.text == (
        f"""name: sched_switch
ID: 22
format:
{COMMON}
\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:u8 flag;\toffset:28;\tsize:1;\tsigned:0;
\tfield:u64 when;\toffset:32;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:40;\tsize:4;\tsigned:0;
\tfield:__rel_loc char other[];\toffset:44;\tsize:4;\tsigned:0;
\tfield:unsigned long caller[];\toffset:{48 + -48 % word};\tsize:0;\tsigned:0;

print fmt: "%s %d", REC->comm, -256
"""
    )


@ABIS
def test_ids_count_from_the_last_fixed_type_and_ftrace_keeps_its_own(abi: Abi) -> None:
    formats = formats_of(kernel(abi).build())
    assert [event.id for event in formats.events] == [21, 5, 22]
    assert formats.next_id == 23


def test_names_that_the_kernel_leaves_are_given_as_constants() -> None:
    out = EventWriter()
    out.event("x", "y", [], '"%d LEFT_OVER %d", REC->LEFT_OVER, OTHER_NAME')
    assert formats_of(out.build()).constants == {}
    out = EventWriter()
    out.event("x", "z", [], '"%d", LEFT_OVER')
    assert formats_of(out.build()).constants == {"LEFT_OVER": -7}


def test_what_functions_in_print_fmts_print_is_given_as_constants_too() -> None:
    out = EventWriter()
    out.event("x", "y")
    types = out.types()
    types.enum("req_op", {"REQ_OP_READ": 0, "REQ_OP_DRV_IN": 34, "REQ_OP_LAST": 36})
    formats = read_formats(out.build(), Btf(types.build()), "x86-64")
    assert formats.constants == {"REQ_OP_READ": 0, "REQ_OP_DRV_IN": 34}


def test_an_event_that_cannot_be_read_ends_the_ids() -> None:
    out = kernel(Abi("little", 8))
    out.tables["ftrace_events"].insert(1, 0x1234)
    formats = formats_of(out.build())
    assert [event.name for event in formats.events] == ["initcall_finish"]
    assert [finding.code for finding in formats.findings] == ["event-table-broken"]
    assert "event 1 of 4" in formats.findings[0].message


def test_ids_end_where_16_bits_do() -> None:
    out = EventWriter(last_type=65534)
    for name in ("one", "two", "three"):
        out.event("x", name)
    assert [(event.name, event.id) for event in formats_of(out.build()).events] == [("one", 65534), ("two", 65535)]


def test_fields_that_a_function_defines_are_said_to_be_missing() -> None:
    out = EventWriter()
    more = out.event_class("odd", [("int", "a", 4, 4, True, 0)], more=True)
    out.event("odd", "one", event_class=more)
    formats = formats_of(out.build())
    assert formats.findings[0].code == "fields-by-function"
    assert "odd:one" in formats.findings[0].message
    assert "field:int a;" in formats.events[0].text


@pytest.mark.parametrize("name", ["trace_event_call", "trace_event_class", "trace_event_fields", "trace_entry"])
def test_types_that_are_missing_are_named(name: str) -> None:
    with pytest.raises(SourceError, match=f"struct {name}"):
        formats_of(kernel(Abi("little", 8)).build(without=name))


def test_without_enum_trace_type_no_id_is_guessed() -> None:
    with pytest.raises(SourceError, match="enum trace_type"):
        formats_of(kernel(Abi("little", 8)).build(without="trace_type"))


def test_without_the_symbols_of_the_table_there_is_one_clear_sentence() -> None:
    with pytest.raises(SourceError, match=r"__start_ftrace_events.*System\.map"):
        formats_of(EventWriter().build())


def test_symbols_of_another_image_are_refused() -> None:
    out = EventWriter()
    out.tables["ftrace_events"] = [0x10, 0x20]
    with pytest.raises(SourceError, match="none of the 2 entries"):
        formats_of(out.build())
    out.symbols = [(out.base, "__start_ftrace_events"), (out.base + 3, "__stop_ftrace_events")]
    out.tables = {}
    with pytest.raises(SourceError, match="do not enclose a table"):
        formats_of(out.build())
    out.symbols = [(0x10, "__start_ftrace_events"), (0x20, "__stop_ftrace_events")]
    with pytest.raises(SourceError, match="cut short"):
        formats_of(out.build())


def test_the_cached_form_is_the_same() -> None:
    out = kernel(Abi("little", 8))
    out.printk('a "quoted"\n')
    out.syscall("sys_read", [("int", "fd")], "__x64_sys_read")
    formats = formats_of(out.build())
    assert ImageFormats.from_bytes(formats.to_bytes()) == formats
    for garbage in (b"", b"{}", b"[]", b'{"events": 3}', b"\xff"):
        with pytest.raises(ValueError, match=r".*"):
            ImageFormats.from_bytes(garbage)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_garbage_in_the_tables_never_raises_anything_else(seed: int) -> None:
    rng = random.Random(seed)
    out = kernel(Abi(rng.choice(["little", "big"]), rng.choice([4, 8])))
    out.syscall("sys_read", [("int", "fd")], "__x64_sys_read")
    image = out.build()
    data = bytearray(out.data)
    for _ in range(rng.randrange(1, 40)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    image.memory = ImageMemory([Segment(out.base, np.frombuffer(bytes(data), np.uint8))], out.abi)
    try:
        formats_of(image)
    except SourceError:
        return
