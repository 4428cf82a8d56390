# SPDX-License-Identifier: Apache-2.0
"""The command line: one module for each command; the only place that knows typer."""

from __future__ import annotations

import typer

from rbdump import __version__
from rbdump.cli import check, formats, info, parse, resolve
from rbdump.cli.command import Command
from rbdump.errors import ExitStatus

__all__ = ["app", "run"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read a raw dump of a persistent (boot-mapped) ftrace ring buffer and print what the dead kernel recorded.",
)
app.command("parse", cls=Command, short_help="Print the trace that the dead kernel had recorded.")(parse.parse)
app.command("info", cls=Command)(info.info)
app.command("check", cls=Command)(check.check)
app.command("resolve", cls=Command)(resolve.resolve)
app.command(
    "formats", cls=Command, short_help="List or write the events of a kernel image, or find the image that fits."
)(formats.formats)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rbdump {__version__}", flush=True)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> int:
    """Do what the arguments of this process say; the exit status."""
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitStatus.OK if end.code is None else ExitStatus.USAGE
    return ExitStatus.OK
