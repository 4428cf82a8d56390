# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.events.formats import read_formats
from rbdump.kernel.memory import ImageMemory, Segment
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.inferred import InferredTypes
from tests.eventwriter import EventWriter

ABIS = [Abi("little", 8), Abi("big", 8), Abi("little", 4), Abi("big", 4)]


def kernel(abi: Abi, *, user_args: bool = False) -> EventWriter:
    out = EventWriter(abi, "x86-64", last_type=17, user_args=user_args)
    word = abi.long_size
    out.symbols.append((out.base, "trace_event_raw_init"))
    if user_args:
        out.symbols.append((out.base + 16, "trace_user_fault_init"))
    long = ("unsigned long", word, word, False, 0)
    out.event("ftrace", "function", [(long[0], name, *long[1:]) for name in ("ip", "parent_ip")], '" %ps"', static_id=1)
    out.event("ftrace", "print", [(long[0], "ip", *long[1:])], '"%s"', static_id=5)
    out.event("ftrace", "func_repeats", [("u64", "when", 8, word, False, 0)], '"%s"', static_id=16)
    out.event("sched", "one", [("char[16]", "comm", 16, 1, False, 16), ("pid_t", "pid", 4, 4, True, 0)], '"%s", STATE')
    out.event("sched", "two", [("u8", "flag", 1, 1, False, 0), ("unsigned char[6]", "mac", 6, 1, False, 6)], '"%d"')
    out.event("irq", "three", [("int", "irq", 4, 4, True, 0), ("__data_loc char[]", "name", 4, 4, False, 0)], '"%d"')
    out.eval_map("sched", "STATE", 256)
    out.eval_map("irq", "HI_SOFTIRQ", 3)
    out.syscall("sys_gone", [("int", "which")], None)
    out.syscall("sys_read", [("unsigned int", "fd"), ("char *", "buf"), ("size_t", "count")], "__x64_sys_read")
    out.syscall("sys_getpid", [], "__x64_sys_getpid")
    out.syscall("sys_rename", [("const char *", "oldname"), ("const char *", "newname")], "__x64_sys_rename")
    return out


@pytest.mark.parametrize("user_args", [False, True])
@pytest.mark.parametrize("abi", ABIS)
def test_tables_show_what_btf_says(abi: Abi, user_args: bool) -> None:
    image = kernel(abi, user_args=user_args).build()
    assert image.btf is not None
    described = read_formats(image, Btf(image.btf), image.machine)
    shown = read_formats(image, InferredTypes(image), image.machine)
    assert shown.events == described.events
    exits = [event.name for event in shown.events if event.name.startswith("sys_exit_")]
    assert exits == ["sys_exit_read", "sys_exit_getpid", "sys_exit_rename"]
    assert ("__newname_val" in shown.events[-2].text) is user_args


def test_a_system_may_have_a_hyphen() -> None:
    out = kernel(ABIS[2])
    out.event("spi-mem", "four", [("u32", "opcode", 4, 4, False, 0)], '"%d"')
    image = out.build()
    events = read_formats(image, InferredTypes(image), image.machine).events
    assert [(event.system, event.name) for event in events].count(("spi-mem", "four")) == 1


def test_ids_begin_behind_those_of_ftrace() -> None:
    types = InferredTypes(kernel(ABIS[0]).build())
    assert types.enum("trace_type") == {"__TRACE_LAST_TYPE": 17}
    assert types.enum("state") == {}
    assert types.constant("HI_SOFTIRQ") is None
    assert types.struct("trace_event_call", "absent") is None
    assert types.struct("task_struct") is None


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("trace_event_raw_init", "how events are registered"),
        ("__start_ftrace_events", "the table of events"),
    ],
)
def test_what_a_table_does_not_show_is_named(missing: str, words: str) -> None:
    image = kernel(ABIS[0]).build()
    row = image.symbols.find(missing)[0]
    keep = np.arange(len(image.symbols)) != row
    image.symbols = type(image.symbols)(
        image.symbols.addrs[keep], image.symbols.names.select(keep), image.symbols.types[keep], "symtab"
    )
    with pytest.raises(SourceError, match=f"{words} clearly.*copy of tracefs"):
        InferredTypes(image)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_garbage_never_raises_anything_else(seed: int) -> None:
    rng = random.Random(seed)
    out = kernel(rng.choice(ABIS))
    image = out.build()
    data = bytearray(out.data)
    for _ in range(rng.randrange(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    image.memory = ImageMemory([Segment(out.base, np.frombuffer(bytes(data), np.uint8))], out.abi)
    try:
        read_formats(image, InferredTypes(image), image.machine)
    except SourceError:
        return
