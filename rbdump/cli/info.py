# SPDX-License-Identifier: Apache-2.0
"""`rbdump info`: what a region is and how it fares."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

import rbdump
from rbdump.cli import options
from rbdump.errors import OutputError
from rbdump.findings import Severity

__all__ = ["info", "show"]

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object instead of tables.", rich_help_panel=options.OUTPUT)
]


def info(region: options.Region, as_json: Json = False, offset: options.Offset = None) -> None:
    """Show layout, CPUs, sub-buffers and findings of a region."""
    show(region, offset, as_json)


def show(path: str, offset: int | None, as_json: bool) -> bool:
    """Print the report; False when a finding says that the evidence is damaged."""
    from rbdump.render.report import print_report

    trace = rbdump.open(path, offset=offset)
    summary = trace.summary()
    try:
        if as_json:
            sys.stdout.write(json.dumps(summary) + "\n")
        else:
            print_report(summary, trace.findings, sys.stdout, in_ns=trace.in_ns)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"cannot write the output: {error.strerror}") from error
    return not any(finding.severity is Severity.ERROR for finding in trace.findings)
