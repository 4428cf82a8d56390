# SPDX-License-Identifier: Apache-2.0
"""What `rbdump info` shows: a region as one JSON-ready dictionary, and the same as tables for a person."""

from __future__ import annotations

import shutil
import textwrap
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from rbdump.errors import printable
from rbdump.findings import Finding, Severity, as_unicode
from rbdump.ring.region import CpuBuffer, Region
from rbdump.ring.subbufs import SubbufState

__all__ = ["print_report", "summarize"]

MAP_CHARS = {
    SubbufState.EMPTY: ".",
    SubbufState.STALE: "-",
    SubbufState.RING: "#",
    SubbufState.READER: "R",
    SubbufState.CONSUMED: "c",
    SubbufState.STRAY: "s",
    SubbufState.REJECTED: "r",
    SubbufState.DISCARDED: "d",
    SubbufState.MISSING: "m",
    SubbufState.INVALID: "X",
}
"""From harmless to bad: where one character stands for several sub-buffers, the last of them in this order wins."""
LEGEND = {
    "H": "head page",
    "C": "commit page",
    "R": "reader page",
    "#": "events",
    ".": "empty",
    "-": "old data",
    "c": "consumed",
    "s": "stray",
    "r": "rejected",
    "d": "discarded",
    "m": "missing",
    "X": "invalid",
}
MAP_WIDTH = 64
"""Characters in a row of the map, where there is room for them."""
MAP_INDENT = 9
MAP_MOST = 16 * MAP_WIDTH
FINDINGS_SHOWN = 40


def summarize(region: Region, findings: list[Finding], *, name: str, sha256: str, clock: str | None) -> dict[str, Any]:
    """Everything that is known of a walked region as JSON values; time stamps are integers in units of the clock.

    ``name`` and ``sha256`` are those of the input, decompressed; ``clock`` is the trace clock, None if unknown.
    """
    return {
        "input": as_unicode(name),
        "input_size": len(region.data) - region.lacking,
        "input_sha256": sha256,
        "offset": region.offset,
        "size": region.size,
        "lacking": region.lacking,
        "layout": region.layout.name,
        "byteorder": region.abi.byteorder,
        "long_size": region.abi.long_size,
        "subbuf_size": region.subbuf_size,
        "nr_subbufs": region.nr_subbufs,
        "clock": clock,
        "text_addr": _address(region.text_addr),
        "data_addr": _address(region.data_addr),
        "kaslr_offset": _address(region.kaslr_offset),
        "modules": [{"name": module.name, "addr": _address(module.addr)} for module in region.modules],
        "other_regions": list(region.other_regions),
        "events": sum(_events(cpu) for cpu in region.cpus),
        "cpus": [_summarize_cpu(cpu) for cpu in region.cpus],
        "findings": [finding.as_dict() for finding in findings],
    }


def _address(addr: int | None) -> str | None:
    return None if addr is None else f"{addr:#x}"


def _events(cpu: CpuBuffer) -> int:
    return int(cpu.subbufs.nr_events.sum())


def _summarize_cpu(cpu: CpuBuffer) -> dict[str, Any]:
    subbufs = cpu.subbufs
    filled = subbufs.nr_events > 0
    states = np.bincount(subbufs.state, minlength=len(SubbufState))
    known = subbufs.missed_count[subbufs.missed_count > 0]
    return {
        "cpu": cpu.cpu,
        "online": cpu.online,
        "meta_ok": cpu.meta_ok,
        "offset": cpu.offset,
        "data_offset": cpu.data_offset,
        "reader": cpu.reader,
        "head": cpu.head,
        "commit": cpu.commit,
        "events": _events(cpu),
        "first_ts": int(subbufs.first_ts[filled].min()) if filled.any() else None,
        "last_ts": int(subbufs.last_ts[filled].max()) if filled.any() else None,
        "boots": int(subbufs.epoch[filled].max()) + 1 if filled.any() else 0,
        "missed": bool(subbufs.missed.any()),
        "missed_events": int(known.sum()),
        "subbufs": {state.name.lower(): int(states[state]) for state in SubbufState if states[state]},
        "map": _map(cpu),
    }


def _map(cpu: CpuBuffer) -> str:
    """One character for each sub-buffer in memory order; see LEGEND."""
    chars = [MAP_CHARS[SubbufState(state)] for state in cpu.subbufs.state.tolist()]
    for index, char in ((cpu.head, "H"), (cpu.commit, "C"), (cpu.reader, "R")):
        if index is not None and index < len(chars) and chars[index] in "#.R":
            chars[index] = char
    return "".join(chars)


def print_report(summary: dict[str, Any], findings: list[Finding], out: IO[str], *, in_ns: bool) -> None:
    """Print a summary for a person to ``out``; colour only if it is a terminal and NO_COLOR is not set.

    Nothing is cut off: a terminal that is too narrow for a line breaks it.
    """
    width = shutil.get_terminal_size().columns if out.isatty() else 120
    console = Console(file=out, width=width, highlight=False, soft_wrap=True)
    for line in (*_facts(summary), Text(), *_cpu_table(summary, in_ns), *_maps(summary, width)):
        console.print(line)
    if findings:
        console.print()
        console.print(Text(f"Findings ({len(findings)})", style="bold"))
        styles = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: ""}
        for finding in findings[:FINDINGS_SHOWN]:
            console.print(Text(printable(str(finding)), style=styles[finding.severity]))
        if len(findings) > FINDINGS_SHOWN:
            console.print(f"... and {len(findings) - FINDINGS_SHOWN} more; --json has them all")


def _facts(summary: dict[str, Any]) -> list[Text]:
    cpus = "1 CPU" if len(summary["cpus"]) == 1 else f"{len(summary['cpus'])} CPUs"
    rows = {
        "region": f"{summary['input']} at offset {summary['offset']:#x}, {summary['size']} bytes",
        "sha256": summary["input_sha256"],
        "layout": f"{summary['layout']}, {8 * summary['long_size']}-bit {summary['byteorder']} endian",
        "sub-buffers": f"{cpus} of {summary['nr_subbufs']} x {summary['subbuf_size']} bytes",
        "clock": summary["clock"] or "the region does not store its trace clock: local is assumed",
        "text_addr": summary["text_addr"],
        "data_addr": summary["data_addr"],
        "kaslr_offset": summary["kaslr_offset"],
        "modules": ", ".join(f"{m['name']} at {m['addr']}" for m in summary["modules"]),
        "other regions": ", ".join(f"{offset:#x} (--offset)" for offset in summary["other_regions"]),
        "events": str(summary["events"]),
    }
    known = {key: str(value) for key, value in rows.items() if value}
    width = max(map(len, known))
    return [Text.assemble((key.ljust(width), "bold"), "  ", printable(value)) for key, value in known.items()]


def _time(ts: int | None, in_ns: bool) -> str:
    if ts is None:
        return "-"
    return f"{ts // 10**9}.{ts % 10**9:09}" if in_ns else str(ts)


def _cpu_table(summary: dict[str, Any], in_ns: bool) -> list[Text]:
    rows = [["CPU", "events", "first", "last", "lost", "reader", "head", "commit", "sub-buffers"]]
    for cpu in summary["cpus"]:
        lost = str(cpu["missed_events"]) if cpu["missed_events"] else "yes" if cpu["missed"] else "-"
        states = ", ".join(f"{count} {state}" for state, count in cpu["subbufs"].items())
        if not cpu["online"]:
            states = "never online"
        elif cpu["boots"] > 1:
            states += f"; {cpu['boots']} boots"
        if not cpu["meta_ok"] and cpu["online"]:
            states += "; header damaged"
        roles = ("-" if cpu[role] is None else str(cpu[role]) for role in ("reader", "head", "commit"))
        first, last = _time(cpu["first_ts"], in_ns), _time(cpu["last_ts"], in_ns)
        rows.append([str(cpu["cpu"]), str(cpu["events"]), first, last, lost, *roles, states])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = ["  ".join([*map(str.rjust, row, widths), row[-1]]) for row in rows]
    return [Text(line, style="" if position else "bold") for position, line in enumerate(lines)]


def _maps(summary: dict[str, Any], room: int) -> list[Text]:
    """The map of each CPU in rows that fit into ``room`` columns, and what the characters mean."""
    width = max(8, min(MAP_WIDTH, (room - MAP_INDENT) // 8 * 8))
    rank = "".join(MAP_CHARS.values())
    order = {char: position for position, char in enumerate(rank)} | {"H": len(rank), "C": len(rank) + 1}
    lines: list[Text] = []
    used: set[str] = set()
    step = 1
    for cpu in summary["cpus"]:
        if not cpu["online"]:
            continue
        chars = cpu["map"]
        step = max(1, -(-len(chars) // MAP_MOST))
        short = "".join(max(chars[at : at + step], key=order.__getitem__) for at in range(0, len(chars), step))
        used.update(short)
        lines += [Text(), Text(f"CPU {cpu['cpu']}", style="bold")]
        lines += [Text(f"{at * step:>8} {short[at : at + width]}") for at in range(0, len(short), width)]
    if lines:
        # a character and its meaning stay on one line
        legend = "  ".join(f"{char} {meaning}".replace(" ", "\0") for char, meaning in LEGEND.items() if char in used)
        legend += f"; each character stands for {step} sub-buffers" if step > 1 else ""
        lines.append(Text())
        parts = textwrap.wrap(legend, room, break_long_words=False, break_on_hyphens=False)
        lines += [Text(part.replace("\0", " "), style="dim") for part in parts]
    return lines
