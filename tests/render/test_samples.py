# SPDX-License-Identifier: Apache-2.0
"""The samples of the project against what the kernel itself printed of them, line by line."""

from __future__ import annotations

import lzma
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from rbdump.events.builtin import builtin_formats, choose_numbering
from rbdump.events.catalog import Catalog
from rbdump.events.comms import task_names
from rbdump.events.entries import gather_entries
from rbdump.events.facts import Facts
from rbdump.events.rows import Memory
from rbdump.events.tracefs import load_tracefs
from rbdump.inputs import load_input
from rbdump.render.bodies import Bodies, LastBoot
from rbdump.render.funcgraph import fold_funcgraph
from rbdump.render.prefix import PrefixRenderer
from rbdump.render.style import style_of
from rbdump.render.trace import TraceRenderer
from rbdump.ring import default_policy, open_region, walk_region
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.symbolizer import Symbolizer

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"
TASK = re.compile(rb"^ *(?:\S.*?)?-(\d+) +(?=\[\d+\])")


@lru_cache(maxsize=1)
def rendered(sample: str, *, strict: bool = False, last_boot: LastBoot | None = None) -> list[bytes]:
    folder = SAMPLES / sample
    data = load_input(str(folder / "region.bin.xz")).data
    region = open_region(data)
    table = walk_region(region, policy=default_policy(region) if strict else None)
    memory = Memory(data, region.abi)
    entries, _ = gather_entries(table, memory)
    tracefs = load_tracefs(str(folder / "tracefs.tar.xz"), long_size=region.abi.long_size)
    symbols = load_kallsyms(str(folder / "kallsyms.xz"))
    numbering = choose_numbering(region.abi, region.layout.name, [tracefs.formats], entries)
    catalog = Catalog([tracefs.formats, builtin_formats(region.abi, numbering, entries, memory)], numbering)
    facts = Facts(
        abi=region.abi,
        symbols=Symbolizer(symbols, region.abi),
        string_at=tracefs.printk_formats.get,
        addr_of=symbols.addr,
    )
    style = style_of(region.layout.name, catalog)
    names = task_names(entries, catalog, memory, tracefs.saved_cmdlines)
    calls = [catalog.by_name("ftrace:funcgraph_entry"), catalog.by_name("ftrace:funcgraph_exit")]
    fold = fold_funcgraph(entries, memory, [fmt for fmt in calls[:1] if fmt], calls[1])
    if last_boot is not None and last_boot.modules == ():
        last_boot = replace(last_boot, modules=tuple(module.addr for module in region.modules))
    bodies = Bodies(catalog, facts, style, memory, nr_cpus=len(region.cpus), last_boot=last_boot)
    prefix = PrefixRenderer(names.names, lazy=style.lazy, in_ns=True)
    text = TraceRenderer(prefix, bodies).render(entries.select(fold.keep), names.index[fold.keep], fold.leaf[fold.keep])
    return text.splitlines()


def unpacked(sample: str, name: str) -> bytes:
    return lzma.decompress((SAMPLES / sample / f"{name}.xz").read_bytes())


def oracle(sample: str, name: str) -> list[bytes]:
    lines = unpacked(sample, f"{name}.txt").split(b"\n")
    return [line for line in lines if line and not line.startswith(b"#")]


def differences(want: list[bytes], got: list[bytes]) -> list[tuple[bytes, bytes]]:
    assert len(want) == len(got)
    return [pair for pair in zip(want, got, strict=True) if pair[0] != pair[1]]


LIVE = [
    "6.12.43-sched",
    "6.12.43-function",
    "6.12.43-dynamic",
    "6.12.43-modules",
    "7.3.4-sched",
    "7.3.4-dynamic",
    "7.3.4-modules",
    "armhf-6.12.107-sched",
    "s390x-6.12.107-sched",
]
# How far the reading boot had moved its kernel: `last_boot_info` told it, or the numbers in its text tell it.
LAST_BOOT = [
    ("6.12.43-sched", -851443712, False),
    ("6.12.43-function", 710934528, False),
    ("6.12.43-dynamic", 520093696, False),
    ("6.12.43-modules", 209715200, False),
    ("6.12.43-fgraph", -759169024, False),
    ("6.12.43-consumed", 0, True),
    ("7.3.4-sched", 0x5A00000, False),
    ("7.3.4-modules", 0x5800000, False),
    ("7.3.4-consumed", -0x11000000, True),
]


@pytest.mark.parametrize("sample", LIVE)
def test_as_the_dead_kernel_printed_it(sample: str) -> None:
    assert differences(oracle(sample, "live"), rendered(sample)) == []


@pytest.mark.parametrize(("sample", "delta", "strict"), LAST_BOOT)
def test_as_the_next_boot_printed_it(sample: str, delta: int, strict: bool) -> None:
    """Task names aside: they died with the kernel."""
    got = rendered(sample, strict=strict, last_boot=LastBoot(delta))
    want, got = ([TASK.sub(rb"<task>-\1 ", line) for line in lines] for lines in (oracle(sample, "lastboot"), got))
    different = differences(want, got)
    # data symbols that the shortened kallsyms of a sample lacks
    names = set(unpacked(sample, "kallsyms").split()) if different else set()
    assert [pair for pair in different if not set(re.findall(rb"=(\w+)\+0x", pair[0])) - names] == []
    assert len(different) <= 4


def test_a_boot_at_the_same_place_prints_no_fields() -> None:
    """The next boot of a kernel that is not moved; its %p are hashed with a secret of that boot."""
    hashed = re.compile(rb"\b((?:hrtimer|timer|work|workqueue|function|struct)[= ])[0-9a-f]{8}\b")
    got = rendered("armhf-6.12.107-sched", last_boot=LastBoot(moved=False))
    want = oracle("armhf-6.12.107-sched", "lastboot")
    lines = ([hashed.sub(rb"\1?", TASK.sub(rb"<task>-\1 ", line)) for line in side] for side in (want, got))
    assert differences(*lines) == []
