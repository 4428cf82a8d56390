# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from rbdump.abi import Abi
from rbdump.kernel.events.printk import read_printk_formats
from tests.eventwriter import EventWriter


def test_formats_and_tracepoint_strings_by_address() -> None:
    for abi in (Abi("little", 8), Abi("big", 4)):
        out = EventWriter(abi)
        first = out.printk("CPU_ON")
        second = out.printk("hello %d\n", "__trace_bprintk_fmt")
        out.printk("CPU_ON")
        out.tables["__tracepoint_str"].append(0)
        assert read_printk_formats(out.build()) == {second: "hello %d\n", first: "CPU_ON"}


def test_an_image_without_the_tables_has_none() -> None:
    assert read_printk_formats(EventWriter().build()) == {}
