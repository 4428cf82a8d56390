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
from mmap import mmap
from typing import TYPE_CHECKING, Any

from rbdump.analysis.child import Child, write_all
from rbdump.analysis.walkoptions import WalkOptions
from rbdump.errors import OutputError
from rbdump.memoryfile import Identity, map_identified, memory_file

if TYPE_CHECKING:
    from rbdump.analysis.walking import Prepare, Walk

    Receive = Callable[..., Walk]

__all__ = ["dismiss_walker", "start_walker", "walk_beside"]


class _Walker:
    """A process that waits for the order to walk a dump. OutputError when the system refuses it."""

    def __init__(self) -> None:
        try:
            with ExitStack() as files:
                self._store, self._columns = (files.enter_context(memory_file()) for _ in range(2))
                orders, order = os.pipe()
                # both ends stay open: an order for a process that was killed must not end this one by SIGPIPE
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

    def walk(self, path: str, dump: mmap, identity: Identity, options: WalkOptions, words: bool) -> Receive:
        """Give the order to walk ``dump``, which was mapped by that path; waiting for it is `receive_walk`."""
        with self._orders, self._order:
            write_all(self._order.fileno(), pickle.dumps((path, identity, options, words)))
        return partial(self._receive, path, dump, options, words)

    def dismiss(self) -> None:
        """There is nothing to walk."""
        self._child.dismiss()
        self._files.close()

    def _receive(
        self, path: str, dump: mmap, options: WalkOptions, words: bool, prepare: Prepare | None = None
    ) -> Walk:
        from rbdump.analysis.walking import receive_walk

        with self._files:
            try:
                return receive_walk(self._child, path, dump, options, words, self._store, self._columns, prepare)
            except OSError as error:
                raise OutputError(f"cannot use a process for --jobs: {error.strerror}; try without it") from error


_early: _Walker | None = None


def start_walker() -> None:
    """Start the process that the next `walk_beside` uses; where that fails `walk_beside` tries again, and says why."""
    global _early
    with contextlib.suppress(OutputError):
        _early = _Walker()


def dismiss_walker() -> None:
    """End that process if nothing has used it."""
    global _early
    walker, _early = _early, None
    if walker is not None:
        walker.dismiss()


def walk_beside(path: str, options: WalkOptions, *, words: bool = False) -> Receive:
    """Begin `walk_dump` in another process; the function that is returned waits for it, and raises what it raised.

    It may be given a `Prepare`. ``words``: that `Walk.words` will be wanted. What is no plain file can be read once
    only: that function then reads and walks it itself. OutputError when the system refuses the process.
    """
    global _early
    found = _plain_file(path)
    if found is None:
        dismiss_walker()
        return partial(_walk_here, path, options)
    walker, _early = _early, None
    if walker is not None:
        return walker.walk(path, *found, options, words)
    # A library: other threads of its user may be importing, and a lock that one holds would never be released in a
    # copy of this process. Its user may also keep, copy and fork what is returned: nothing is left to be received.
    import rbdump.analysis.walking  # noqa: F401

    return _Walker().walk(path, *found, options, words=False)


def _plain_file(path: str) -> tuple[mmap, Identity] | None:
    """The file if it is one that two processes can read, else None; `walk_dump` says what is wrong with it."""
    if path == "-":
        return None
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path):
            with open(path, "rb", buffering=0) as file:
                return map_identified(file)
    return None


def _walk_here(path: str, options: WalkOptions, _: Prepare | None = None) -> Walk:
    from rbdump.analysis.walking import walk_dump

    return walk_dump(path, options)
