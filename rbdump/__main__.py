# SPDX-License-Identifier: Apache-2.0
"""The process of the `rbdump` command, also as `python -m rbdump`: standard files, signals, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import signal
import sys
from itertools import pairwise
from typing import NoReturn

from rbdump.errors import ExitStatus, RbdumpError, complain

__all__ = ["guess_walk", "main"]

_SEVERAL_JOBS = re.compile(r"(?:^| )(?:-j|--jobs)[ =]?0*(?:[2-9]|1[0-9])")
_OTHERWISE = re.compile(r" --(?:offset|strict|policy|uncommitted)")
"""Options that change what is walked."""


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
    from rbdump.analysis.walker import begin_walk, dismiss_walk  # takes long enough to press Ctrl-C

    try:
        region = guess_walk(sys.argv[1:])
        if region is not None:
            begin_walk(region, words=any(word.startswith(("--kallsyms", "--vmlinux")) for word in sys.argv))
        from rbdump.cli import run

        status = run()
        sys.stdout.flush()
    except RbdumpError as error:
        complain(str(error))
        status = error.status
    except (MemoryError, OSError) as error:
        if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
            complain("there is not enough memory for what these inputs ask for")
            status = ExitStatus.INPUT
        else:  # files of the user are RbdumpErrors; what is left is standard output
            complain(f"cannot write the output: {error.strerror}")
            status = ExitStatus.OUTPUT
    dismiss_walk()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)  # taking a large trace apart object by object would be 4 % of the run


def guess_walk(arguments: list[str]) -> str | None:
    """The region that the arguments name if they ask for several --jobs, guessed: to import what reads them takes long.

    None where it might be another word, or is read in another way than by default.
    """
    words = " ".join(arguments)
    if arguments[:1] != ["parse"] or not _SEVERAL_JOBS.search(words) or _OTHERWISE.search(words):
        return None
    named = (word for before, word in pairwise(arguments) if not before.startswith("-") and not word.startswith("-"))
    return next(named, None)


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
