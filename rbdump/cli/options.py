# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share: one spelling, one help text, one meaning."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from rbdump.numbers import parse_number

__all__ = [
    "FindingsFile",
    "Force",
    "Kallsyms",
    "Modules",
    "NoCache",
    "Offset",
    "Region",
    "TextAddr",
    "Tracefs",
    "Vmlinux",
    "parse_address",
    "parse_distance",
    "parse_int",
]

_BARE = re.compile(r"[0-9a-f]{8,16}", re.ASCII | re.IGNORECASE)
SOURCES = "Sources of names and formats"
CHOOSING = "What to print"
OUTPUT = "How to print"
READING = "How to read the region"


def parse_int(text: str) -> int:
    """A number with a K, M or G suffix perhaps: ``0x2000``, ``8192``, ``64K``, ``-0x1000``."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(digits[-1:].lower(), 0)
    number = parse_number(digits[:-1] if factor else digits)
    if number is None:
        raise typer.BadParameter(f"{text!r} is not a number (0x2000, 8192, 64K)")
    return (-1 if text[:1] == "-" else 1) * number * (factor or 1)


def parse_distance(text: str) -> int:
    """A number of up to 64 bits, and a sign."""
    number = parse_int(text)
    if abs(number) >> 64:
        raise typer.BadParameter(f"{text!r} has more than 64 bits")
    return number


def parse_address(text: str) -> int:
    """An address, as a number of up to 64 bits, or as symbol lists have it: 8 to 16 hexadecimal digits."""
    if _BARE.fullmatch(text):
        if text.isdigit():
            raise typer.BadParameter(f"{text!r} may be decimal or hexadecimal; 0x{text} is the hexadecimal one")
        return int(text, 16)
    addr = parse_distance(text)
    if addr < 0:
        raise typer.BadParameter(f"{text!r} is no address: it is negative")
    return addr


Region = Annotated[
    str,
    typer.Argument(metavar="REGION", help="The dump: raw, .gz, .xz or .zst; `-` is stdin."),
]
Offset = Annotated[
    int | None,
    typer.Option(
        "--offset",
        parser=parse_int,
        metavar="N",
        help="Byte offset of the region in the file; without it the region is searched for.",
        rich_help_panel=READING,
    ),
]
Vmlinux = Annotated[
    list[str] | None,
    typer.Option(
        "--vmlinux",
        metavar="FILE",
        help="Image of the dead kernel (vmlinux, vmlinuz, Image): formats, symbols, strings. May be repeated.",
        rich_help_panel=SOURCES,
    ),
]
Modules = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="DIR",
        help="Folder of the dead kernel's .ko files (also .ko.xz, .ko.zst, .ko.gz).",
        rich_help_panel=SOURCES,
    ),
]
Tracefs = Annotated[
    list[str] | None,
    typer.Option(
        "--tracefs",
        metavar="PATH",
        help="Copy of /sys/kernel/tracing: a folder or a tar. May be repeated.",
        rich_help_panel=SOURCES,
    ),
]
Kallsyms = Annotated[
    str | None,
    typer.Option(
        "--kallsyms",
        metavar="FILE",
        help="/proc/kallsyms of the boot that died, or System.map text.",
        rich_help_panel=SOURCES,
    ),
]
TextAddr = Annotated[
    int | None,
    typer.Option(
        "--text-addr",
        parser=parse_address,
        metavar="ADDR",
        help="Run-time address of _text in the boot that died, where the region does not hold it.",
        rich_help_panel=SOURCES,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Use an image even if it does not fit the region.", rich_help_panel=SOURCES),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither read nor write the image cache.", rich_help_panel=SOURCES),
]
FindingsFile = Annotated[
    str | None,
    typer.Option(
        "--findings",
        metavar="FILE",
        help="Write all findings as JSON lines to FILE instead of a digest to stderr.",
        rich_help_panel=OUTPUT,
    ),
]
