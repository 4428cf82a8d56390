# SPDX-License-Identifier: Apache-2.0
"""The process of --jobs that walks a dump while this one reads the sources.

The `rbdump` command begins it by a guess at its arguments, before it imports what reads them. What is imported here is
not heavy: the process that decompresses the dump begins before numpy is imported.
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

__all__ = ["begin_walk", "dismiss_walk", "walk_beside"]


class _Walker:
    """A process that walks ``raw``, a file that was mapped by that path. OutputError when the system refuses it."""

    def __init__(self, raw: mmap, path: str, options: WalkOptions, words: bool) -> None:
        self.order: tuple[str, WalkOptions] | None = (path, options)
        """None when it is being received."""
        try:
            with ExitStack() as files:
                store, columns = (files.enter_context(memory_file()) for _ in range(2))
                dump = files.enter_context(Dump(raw, store))
                # Not in the copy of this process: other threads of a library's user may be importing as well, and a
                # lock that one holds would never be released there.
                from rbdump.analysis import walking

                self._child = Child(partial(walking.send_walk, path, dump, options, words, columns))
                self._receive = partial(walking.receive_walk, self._child, dump, words, columns)
                self._files = files.pop_all()
        except OSError as error:
            raise OutputError(f"cannot start a process for --jobs: {error.strerror}; try without it") from error

    def receive(self, prepare: Prepare | None = None) -> Walk:
        """The walk. Raises what the process raised."""
        with self._files:
            try:
                return self._receive(prepare)
            except OSError as error:
                raise OutputError(f"cannot use a process for --jobs: {error.strerror}; try without it") from error

    def dismiss(self) -> None:
        """The walk is not wanted."""
        self._child.dismiss()
        self._files.close()


_begun: _Walker | None = None


def begin_walk(path: str, *, words: bool) -> None:
    """Begin what `walk_beside` will be asked for most likely: ``path``, read as it is read without options.

    ``words``: that `Walk.words` will be wanted; they are received when they are asked for. Who copies a walk, keeps it
    or forks must not use this. What fails here is tried again, and said, when it is asked for.
    """
    global _begun
    raw = _plain_file(path)
    if raw is not None:
        with contextlib.suppress(OutputError, MemoryError):
            _begun = _Walker(raw, path, WalkOptions(), words)


def dismiss_walk() -> None:
    """End what `begin_walk` began, whether it was used or not: nothing more of it is wanted."""
    global _begun
    walker, _begun = _begun, None
    if walker is not None:
        walker.dismiss()


def walk_beside(path: str, options: WalkOptions) -> Receive:
    """Begin `walk_dump` in another process; the function that is returned waits for it, and raises what it raised.

    It may be given a `Prepare`. What is no plain file can be read once only: that function then reads and walks it
    itself. OutputError when the system refuses the process.
    """
    if _begun is not None and _begun.order is not None:
        if _begun.order == (path, options):
            _begun.order = None
            return _begun.receive
        dismiss_walk()
    raw = _plain_file(path)
    if raw is None:
        return partial(_walk_here, path, options)
    return _Walker(raw, path, options, words=False).receive


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
