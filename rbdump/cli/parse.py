# SPDX-License-Identifier: Apache-2.0
"""`rbdump parse`: print the trace."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

import rbdump
from rbdump.cli import options
from rbdump.cli.reporting import report_findings
from rbdump.errors import UsageError

__all__ = ["parse"]


class Policy(StrEnum):
    """Kernels whose validation after a reboot differs."""

    V6_12 = "6.12"
    V6_17 = "6.17"
    V7_2 = "7.2"


CHOOSING = options.CHOOSING
OUTPUT = options.OUTPUT
READING = options.READING

_kept: list[rbdump.Trace] = []
"""Until the process ends: to take a large trace apart, object by object, is one hundredth of a run."""


def parse(
    region: options.Region,
    vmlinux: options.Vmlinux = None,
    modules: options.Modules = None,
    tracefs: options.Tracefs = None,
    kallsyms: options.Kallsyms = None,
    text_addr: options.TextAddr = None,
    force: options.Force = False,
    no_cache: options.NoCache = False,
    cpu: Annotated[
        list[str] | None,
        typer.Option("--cpu", metavar="LIST", help="CPUs, as in 0,2-3. May be repeated.", rich_help_panel=CHOOSING),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            "-e",
            metavar="NAME",
            help="Events: sched_switch, sched:sched_switch, 'sched:*', 801 (an id). May be repeated.",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    pid: Annotated[
        list[str] | None,
        typer.Option("--pid", metavar="LIST", help="Tasks, as in 1,42. May be repeated.", rich_help_panel=CHOOSING),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="From this time on: seconds as printed (raw units for clocks that count no time), "
            "or before the end: -5s, -20ms.",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Up to this time, as --since.", rich_help_panel=CHOOSING),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            parser=options.parse_int,
            metavar="N",
            help="The last N events of what the other options leave.",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    filter_text: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="EXPR",
            help="The kernel's event filter grammar: 'next_pid == 42 && prev_comm ~ \"sh*\"'.",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    boot: Annotated[
        str,
        typer.Option(
            "--boot",
            metavar="N|all",
            help="Which boot, where several share the buffer: 0 the last, 1 the one before it.",
            rich_help_panel=CHOOSING,
        ),
    ] = "0",
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="One JSON object for each event.", rich_help_panel=OUTPUT),
    ] = False,
    raw_fields: Annotated[
        bool,
        typer.Option(
            "--raw-fields",
            help="As the kernel prints the buffer of a last boot: fields instead of print fmt.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    text_delta: Annotated[
        int | None,
        typer.Option(
            "--text-delta",
            parser=options.parse_distance,
            metavar="N",
            help="With --raw-fields: `_text` of the kernel that reads the buffer after the reboot less that of the "
            "dead one (last_boot_info of 6.12 has it); 0 where the kernel is not moved.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    findings: options.FindingsFile = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Work with N processes.", rich_help_panel=OUTPUT),
    ] = 1,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Only what the kernel of that layout would have kept after a reboot.",
            rich_help_panel=READING,
        ),
    ] = False,
    policy: Annotated[
        Policy | None,
        typer.Option(
            "--policy",
            help="Strict as this release (and later ones) was; without it, chosen by the layout.",
            rich_help_panel=READING,
        ),
    ] = None,
    uncommitted: Annotated[
        bool,
        typer.Option(
            "--uncommitted",
            help="Also, behind the rest, what lies behind the last commit: records that were being written when the "
            "machine died, or bytes from before; nothing tells which.",
            rich_help_panel=READING,
        ),
    ] = False,
    clock: Annotated[
        str | None,
        typer.Option(
            "--clock",
            metavar="NAME",
            help="Trace clock of the dead kernel (local, global, counter, x86-tsc, ...), where neither the region nor "
            "a copy of tracefs tells it, or whatever they tell.",
            rich_help_panel=READING,
        ),
    ] = None,
    offset: options.Offset = None,
) -> None:
    """Print the trace that the dead kernel had recorded, as its own trace file would spell it.

    Findings about damage go to stderr; the exit status is 0 even then (`rbdump check` fails on damage).
    """
    if text_delta is not None and not raw_fields:
        raise UsageError("--text-delta says how to print with --raw-fields; give both, or neither")
    trace = rbdump.open(
        region,
        vmlinux=vmlinux or (),
        modules=modules,
        tracefs=tracefs or (),
        kallsyms=kallsyms,
        text_addr=text_addr,
        text_delta=text_delta,
        clock=clock,
        force=force,
        cache=not no_cache,
        offset=offset,
        strict=strict or policy is not None,
        policy=policy.value if policy else None,
        uncommitted=uncommitted,
        jobs=jobs,
    )
    _kept[:] = [trace]
    selection = rbdump.Selection(
        cpus=tuple(cpu or ()),
        events=tuple(event or ()),
        pids=tuple(pid or ()),
        since=since,
        until=until,
        last=last,
        filter=filter_text,
        boot=boot,
    )
    trace.write(sys.stdout.fileno(), selection, jsonl=jsonl, raw_fields=raw_fields, jobs=jobs)
    report_findings(trace.findings, findings)
