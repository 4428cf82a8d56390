# SPDX-License-Identifier: Apache-2.0
"""`rbdump resolve`: names for the addresses of a region, of a text, or of the command line."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rbdump.cli import options
from rbdump.cli.reporting import report_findings
from rbdump.errors import InputError, UsageError, complain
from rbdump.findings import Finding, Severity

__all__ = ["resolve"]


def resolve(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REGION|TEXT|ADDR",
            help="A dump or a text (by content, compressed or not; `-` is stdin), or addresses (0x..., name+0x12);"
            " without any, stdin.",
            show_default=False,
        ),
    ] = None,
    vmlinux: options.Vmlinux = None,
    modules: options.Modules = None,
    tracefs: options.Tracefs = None,
    kallsyms: options.Kallsyms = None,
    text_addr: options.TextAddr = None,
    force: options.Force = False,
    no_cache: options.NoCache = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave each address in front of its name.", rich_help_panel=options.OUTPUT),
    ] = False,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Add (file:line) where the image has DWARF.", rich_help_panel=options.OUTPUT),
    ] = False,
    findings: options.FindingsFile = None,
    offset: options.Offset = None,
) -> None:
    """Put names in the place of old kernel addresses.

    REGION prints its trace, as `parse` does. TEXT (or stdin) is passed on line by line, with names: the output of
    `parse`, an oops from a console, anything; where the kernel was comes from the `# rbdump:` lines that `parse`
    writes, from a `Kernel Offset:` line, from --text-addr, or from the addresses themselves. ADDR prints
    name+offset/size, and file:line where the image has DWARF; without --text-addr it is a link-time address (no
    KASLR), or one of --kallsyms.
    """
    words = what or []
    path = _file_of(words)
    if not vmlinux and kallsyms is None:
        raise UsageError("nothing to take names from; give --vmlinux IMAGE or --kallsyms FILE")
    from rbdump.analysis.addrs import resolve_addrs
    from rbdump.analysis.placing import Placer
    from rbdump.analysis.resolve import TextResolver, filter_text
    from rbdump.analysis.texts import Given, look_into

    addrs = bool(words) and path is None
    given = Given(()) if addrs else look_into(path or "-", stream=path is None)
    if given.text is None:
        if keep or lines:
            raise UsageError("--keep and --lines are for text: rbdump parse REGION | rbdump resolve --lines ...")
        from rbdump.analysis.sources import Sources
        from rbdump.analysis.trace import Trace
        from rbdump.analysis.walking import walk_dump
        from rbdump.analysis.walkoptions import WalkOptions

        sources = Sources(
            tracefs=tuple(tracefs or ()),
            kallsyms=kallsyms,
            vmlinux=tuple(vmlinux or ()),
            modules=modules,
            text_addr=text_addr,
            force=force,
            cache=not no_cache,
        )
        trace = Trace(walk_dump(path or "-", WalkOptions(offset), raw=given.raw), sources)
        trace.write(sys.stdout.fileno())
        report_findings(trace.findings, findings)
        return

    placer = Placer(
        vmlinux or (),
        kallsyms=kallsyms,
        modules=modules,
        text_addr=text_addr,
        force=force,
        cache=not no_cache,
        lines=lines or addrs,
    )
    missing = []
    if lines and not placer.has_lines:
        message = "--lines adds nothing: --vmlinux names no image with DWARF, a vmlinux with debug information"
        missing.append(Finding(Severity.WARNING, "no-lines", message))
    if addrs:
        if keep:
            raise UsageError("--keep is for text; names of ADDR arguments come in their order")
        resolved = resolve_addrs(placer, words, stated=text_addr is not None or kallsyms is not None)
        sys.stdout.write("".join(f"{text}\n" for text in resolved.texts))
        sys.stdout.flush()
        report_findings([*resolved.findings, *missing], findings)
        for error in resolved.errors[:-1]:
            complain(str(error))
        if resolved.errors:
            raise resolved.errors[-1]
        return
    resolver = TextResolver(placer, given.places, keep=keep, lines=lines)
    filter_text(resolver, given.text, sys.stdout.fileno())
    report_findings([*given.findings, *missing, *resolver.findings], findings)


def _file_of(words: list[str]) -> str | None:
    """The file that is meant, None when the words are addresses. UsageError when they might be either, or neither."""
    from rbdump.analysis.addrs import parse_addr

    files = [word for word in words if word == "-" or os.path.exists(word)]
    for word in files:
        if isinstance(parse_addr(word), int):
            raise UsageError(f"{word!r} is an address and a file as well; ./{word} is the file, 0x{word} the address")
    if words and not files and all(parse_addr(word) is None for word in words):
        raise InputError(f"{words[0]}: no such file, and no address either (0xffffffff81234567, name+0x12)")
    if files and len(words) > 1:
        raise UsageError(f"one file at a time: {', '.join(words)}")
    return files[0] if files else None
