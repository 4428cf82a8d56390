# SPDX-License-Identifier: Apache-2.0
"""The process of --jobs that walks a dump while this one reads the sources.

It is a copy of this process with all that a walk needs; what is imported here is not heavy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

from rbdump.analysis.child import Child
from rbdump.analysis.dump import Dump
from rbdump.analysis.walkoptions import WalkOptions
from rbdump.errors import OutputError
from rbdump.memoryfile import memory_file

if TYPE_CHECKING:
    from rbdump.analysis.walking import Prepare, Walk

    Receive = Callable[..., Walk]

__all__ = ["late_words", "walk_beside"]

late_words = False
"""Whether `Walk.words` may be received when they are asked for: the `rbdump` command sets this. Who uses the library
may copy a walk, keep it, and fork: for him nothing is left to be received.
"""


def walk_beside(path: str, options: WalkOptions, *, words: bool = False) -> Receive:
    """Begin `walk_dump` in another process; the function that is returned waits for it, and raises what it raised.

    It may be given a `Prepare`. ``words``: that `Walk.words` will be wanted. What is no plain file can be read once
    only: that function then reads and walks it itself. OutputError when the system refuses the process.
    """
    raw = _plain_file(path)
    words = words and late_words
    if raw is None:
        return partial(_walk_here, path, options)
    try:
        with ExitStack() as files:
            dump = files.enter_context(Dump(raw, files.enter_context(memory_file())))
            # A library: other threads of its user may be importing as well, and a lock that one holds would never be
            # released in a copy of this process.
            from rbdump.analysis import walking

            columns = files.enter_context(memory_file())
            child = Child(partial(walking.send_walk, path, dump, options, words, columns))
            return partial(_receive, files.pop_all(), partial(walking.receive_walk, child, dump, words, columns))
    except OSError as error:
        raise OutputError(f"cannot start a process for --jobs: {error.strerror}; try without it") from error


def _receive(files: ExitStack, receive: Receive, prepare: Prepare | None = None) -> Walk:
    with files:
        try:
            return receive(prepare)
        except OSError as error:
            raise OutputError(f"cannot use a process for --jobs: {error.strerror}; try without it") from error


def _plain_file(path: str) -> mmap | None:
    """The bytes of a file if it is one that can be mapped, else None; `walk_dump` says what is wrong with it."""
    if path == "-":
        return None
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path):
            with open(path, "rb", buffering=0) as file:
                return mmap(file.fileno(), 0, access=ACCESS_READ)
    return None


def _walk_here(path: str, options: WalkOptions, _: Prepare | None = None) -> Walk:
    from rbdump.analysis.walking import walk_dump

    return walk_dump(path, options)
