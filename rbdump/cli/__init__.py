# SPDX-License-Identifier: Apache-2.0
"""The command line: one module for each command; the only place that knows typer."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

import typer

from rbdump import __version__
from rbdump.cli import check, formats, info, parse, resolve
from rbdump.cli.helptext import Command
from rbdump.cli.reporting import complain, open_standard_files
from rbdump.errors import ExitStatus, RbdumpError

__all__ = ["app", "main"]

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


def main() -> NoReturn:
    """Entry point of the `rbdump` command: errors become one line and their exit status.

    A closed pipe and Ctrl-C end the process by their signals, as they end any filter: 141 and 130 in a shell.
    """
    open_standard_files()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody can wait for the processes of --jobs
    gc.disable()  # one run, few cycles, millions of short-lived strings
    # numpy's linear algebra is not used; its threads cost start-up time and do not survive the fork of --jobs
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        status = _run()
        sys.stdout.flush()
    except RbdumpError as error:
        complain(str(error))
        status = error.status
    except OSError as error:  # files of the user are RbdumpErrors; what is left is standard output
        complain(f"cannot write the output: {error.strerror}")
        status = ExitStatus.OUTPUT
    except MemoryError:
        complain("there is not enough memory for what these inputs ask for")
        status = ExitStatus.INPUT
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)  # taking a large trace apart object by object would be 4 % of the run


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitStatus.OK if end.code is None else ExitStatus.USAGE
    return ExitStatus.OK
