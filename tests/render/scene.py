# SPDX-License-Identifier: Apache-2.0
"""What rendering tests need around a few hand-made records: built-in formats, names for a few addresses, a style."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rbdump.abi import Abi
from rbdump.events.builtin import builtin_formats
from rbdump.events.catalog import Catalog
from rbdump.events.facts import Facts
from rbdump.events.texts import FormatTexts
from rbdump.render.bodies import Bodies, LastBoot
from rbdump.render.style import Style, Syscalls
from rbdump.symbols.kallsyms_text import parse_kallsyms
from rbdump.symbols.symbolizer import Symbolizer
from tests.events.records import LE64, Rec, pack

BASE = 0xFFFFFFFF81000000
MODULE = 0xFFFFFFFFC0000000
KALLSYMS = f"""\
{BASE:x} T _stext
{BASE + 0x100:x} T vfs_read
{BASE + 0x200:x} T vfs_write
{BASE + 0x300:x} T ksys_read
{BASE + 0x400:x} T asm_irq
{BASE + 0x500:x} T after_irq
{BASE + 0x1000:x} T _etext
{BASE + 0x2000:x} D some_data
{BASE + 0x3000:x} B _end
{MODULE:x} t br_init\t[bridge]
{MODULE + 0x40:x} t br_exit\t[bridge]
{MODULE + 0x80:x} T __traceiter_br_add\t[bridge]
"""
OLD = Style(
    lazy=False,
    graph_columns=True,
    syscalls=Syscalls.HEX,
    syscall_fields=True,
    selective=False,
    adjusted_fields=False,
    hex_strings=False,
    synthetic_faults=False,
)
NEW = Style(
    lazy=True,
    graph_columns=False,
    syscalls=Syscalls.USER,
    syscall_fields=False,
    selective=True,
    adjusted_fields=True,
    hex_strings=True,
    synthetic_faults=False,
)


def facts_of(abi: Abi = LE64, **changes: object) -> Facts:
    """Facts of a small kernel that has the symbols above."""
    table = parse_kallsyms(KALLSYMS.encode())
    facts = Facts(abi=abi, symbols=Symbolizer(table, abi), addr_of=table.addr, in_module=table.in_module)
    return replace(facts, **changes)  # type: ignore[arg-type]


def catalog(events: Iterable[tuple[str, str]] = (), abi: Abi = LE64, numbering: int = 20) -> Catalog:
    """ftrace's own events and others of (system, format text)."""
    texts = FormatTexts("test", abi.long_size)
    for system, text in events:
        assert texts.add(system, text.split("\n", 1)[0].removeprefix("name: "), text)
    return Catalog([texts, builtin_formats(abi, numbering)], numbering)


def render(
    records: list[Rec],
    events: Iterable[tuple[str, str]] = (),
    *,
    abi: Abi = LE64,
    style: Style = OLD,
    numbering: int = 20,
    last_boot: LastBoot | None = None,
    nr_cpus: int = 4,
    **changes: object,
) -> list[str]:
    """Bodies of the records."""
    entries, memory = pack(records, abi)
    bodies = Bodies(
        catalog(events, abi, numbering),
        facts_of(abi, **changes),
        style,
        memory,
        nr_cpus=nr_cpus,
        last_boot=last_boot,
    )
    return bodies.render(entries)
