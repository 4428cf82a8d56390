# SPDX-License-Identifier: Apache-2.0
"""`rbdump formats`: the events of a kernel image, and which image fits a region."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import rbdump
from rbdump.cli import options
from rbdump.cli.reporting import report_findings
from rbdump.errors import SourceError, UsageError, WrongImageError, complain

__all__ = ["formats"]


def formats(
    region: Annotated[
        str | None,
        typer.Argument(metavar="REGION", help="The dump that --best-of is about.", show_default=False),
    ] = None,
    vmlinux: options.Vmlinux = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write an events/ folder as tracefs has it, for this and other tools; DIR must be new or empty.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    best_of: Annotated[
        str | None,
        typer.Option(
            "--best-of",
            metavar="DIR",
            help="Hold all kernel images and copies of tracefs below DIR against REGION, best first.",
            rich_help_panel=options.SOURCES,
        ),
    ] = None,
    no_cache: options.NoCache = False,
    findings: options.FindingsFile = None,
    offset: options.Offset = None,
) -> None:
    """List the events that a kernel image defines, write them as format files, or find the image that fits a region.

    With --best-of each line is: verdict, score of the formats, code addresses that fit, source. The verdict is
    right (formats and, of an image, addresses fit), open (nothing speaks against it, too little for it) or wrong.
    The exit status is 0 when the best is right or open, 6 when all are wrong.
    """
    if (best_of is None) == (not vmlinux):
        raise UsageError("give either --vmlinux IMAGE, or --best-of DIR and a REGION")
    if best_of is not None:
        if region is None or output is not None:
            raise UsageError("--best-of DIR needs a REGION, and writes no formats")
        _best_of(best_of, region, offset, cache=not no_cache, findings=findings)
        return
    if region is not None or not vmlinux or len(vmlinux) > 1:
        raise UsageError("the formats of one image: --vmlinux IMAGE, without a REGION")
    _list(vmlinux[0], output, cache=not no_cache, findings=findings)


def _list(path: str, output: str | None, *, cache: bool, findings: str | None) -> None:
    from rbdump.analysis.formatsets import write_formats
    from rbdump.kernel.events.formats import image_formats
    from rbdump.kernel.image import load_image
    from rbdump.symbols.table import SymbolTable

    image = load_image(path, cache=cache)
    known = image_formats(image)
    found = list(known.findings)
    if output is None:
        sys.stdout.write("".join(f"{event.system}:{event.name} {event.id}\n" for event in known.events))
        sys.stdout.flush()
    else:
        page_size = SymbolTable.from_data(image.symbols).page_size
        count, more = write_formats(output, known.events, image.abi, page_size)
        found += more
        complain(f"{count} formats written to {output}")
    report_findings(found, findings)


def _best_of(folder: str, region: str, offset: int | None, *, cache: bool, findings: str | None) -> None:
    from rbdump.analysis.formatsets import rank
    from rbdump.symbols.verify import Verdict

    trace = rbdump.open(region, cache=cache, offset=offset)
    ranked, found = rank(folder, trace.region, trace.entries, trace.memory, cache=cache)
    report_findings(found, findings)
    if not ranked:
        raise SourceError(f"there is no kernel image and no copy of tracefs below {folder} that can be used")
    sys.stdout.write("verdict   score   addresses  source\n")
    sys.stdout.write("".join(f"{candidate}\n" for candidate in ranked))
    sys.stdout.flush()
    if ranked[0].verdict is Verdict.WRONG:
        raise WrongImageError(
            f"nothing below {folder} is of the kernel that wrote {region}; the best is {ranked[0].fit}"
        )
