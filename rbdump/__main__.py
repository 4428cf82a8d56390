# SPDX-License-Identifier: Apache-2.0
"""The process of the `rbdump` command, also as `python -m rbdump`: standard files, signals, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

from rbdump.errors import ExitStatus, RbdumpError

__all__ = ["main"]


def main() -> NoReturn:
    """Entry point of the `rbdump` command: errors become one line and their exit status.

    A closed pipe and Ctrl-C end the process by their signals, as they end any filter: 141 and 130 in a shell.
    """
    _open_standard_files()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody can wait for the processes of --jobs
    gc.disable()  # one run, few cycles, millions of short-lived strings
    # numpy's linear algebra is not used; its threads cost start-up time and do not survive the fork of --jobs
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from rbdump.cli import run
    from rbdump.cli.reporting import complain

    try:
        status = run()
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


def _open_standard_files() -> None:
    """Give standard files that the caller closed a number that nothing else gets, and that fails when it is used.

    Else the first file that is opened would be standard output, and Python has no object for it at all.
    """
    for fd, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, flags)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


if __name__ == "__main__":
    main()
