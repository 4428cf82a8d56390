# SPDX-License-Identifier: Apache-2.0
"""The process of --jobs that walks a dump while this one reads the sources.

The `rbdump` command starts it before it knows which dump is meant, so that it imports numpy while this process imports
typer: nothing that is imported here is heavy.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from rbdump.analysis.child import Child, write_all
from rbdump.analysis.walkoptions import WalkOptions
from rbdump.errors import OutputError
from rbdump.memoryfile import memory_file

if TYPE_CHECKING:
    from rbdump.analysis.walking import Walk

__all__ = ["start_walker", "walk_beside"]


class _Walker:
    """A process that waits for the order to walk a dump. OutputError when the system refuses it."""

    def __init__(self) -> None:
        try:
            with ExitStack() as files:
                self._store, self._columns = (files.enter_context(memory_file()) for _ in range(2))
                orders, order = os.pipe()
                # open to the end: an order for a process that was killed must not end this one by SIGPIPE
                self._orders = files.enter_context(os.fdopen(orders, "rb", buffering=0))
                self._order = files.enter_context(os.fdopen(order, "wb", buffering=0))
                self._child = Child(self._work)
                self._files = files.pop_all()
        except OSError as error:
            raise OutputError(f"cannot start a process for --jobs: {error.strerror}; try without it") from error

    def _work(self) -> Iterator[Any]:
        """What the process does, beginning with what takes long and needs no order."""
        self._order.close()
        from rbdump.analysis.walking import send_walk

        with contextlib.suppress(EOFError):  # where none is given
            path, identity, options, words = pickle.load(self._orders)
            yield from send_walk(path, identity, options, words, self._store, self._columns)

    def walk(self, path: str, file: BinaryIO, options: WalkOptions, words: bool) -> Callable[[], Walk]:
        """Give the order to walk ``file``, which was opened by that path; waiting for it is `receive_walk`."""
        write_all(self._order.fileno(), pickle.dumps((path, os.fstat(file.fileno())[:3], options, words)))
        return partial(self._receive, path, file, options, words)

    def dismiss(self) -> None:
        """There is nothing to walk."""
        self._child.dismiss()
        self._files.close()

    def _receive(self, path: str, file: BinaryIO, options: WalkOptions, words: bool) -> Walk:
        from rbdump.analysis.walking import receive_walk

        with self._files, file:
            return receive_walk(self._child, path, file, options, words, self._store, self._columns)


_early: _Walker | None = None


def start_walker() -> None:
    """Start the process that the next `walk_beside` uses; where that fails `walk_beside` tries again, and says why."""
    global _early
    with contextlib.suppress(OutputError):
        _early = _Walker()


def walk_beside(path: str, options: WalkOptions, *, words: bool = False) -> Callable[[], Walk]:
    """Begin `walk_dump` in another process; the function that is returned waits for it, and raises what it raised.

    ``words``: that `Walk.words` will be wanted. What is no plain file can be read once only: that function then reads
    and walks it itself. OutputError when the system refuses the process.
    """
    global _early
    walker, _early = _early, None
    file = _plain_file(path)
    if file is None:
        if walker is not None:
            walker.dismiss()
        return partial(_walk_here, path, options)
    try:
        return (walker or _Walker()).walk(path, file, options, words)
    except BaseException:
        file.close()
        raise


def _plain_file(path: str) -> BinaryIO | None:
    """The file if it is one that two processes can read, else None; `walk_dump` says what is wrong with it."""
    if path == "-":
        return None
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path) and os.path.getsize(path):
            return open(path, "rb", buffering=0)
    return None


def _walk_here(path: str, options: WalkOptions) -> Walk:
    from rbdump.analysis.walking import walk_dump

    return walk_dump(path, options)
