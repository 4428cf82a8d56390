# SPDX-License-Identifier: Apache-2.0
"""Writes slices of a trace in order, rendered by one process or by several.

With several, this process and those that it forks each take the next slice that nobody has, render it and write it to
the output themselves when its turn comes: a token that says which slice is next travels round through pipes, so no
rendered text is copied between processes.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from rbdump.analysis.child import Child, is_ready, write_all
from rbdump.errors import OutputError
from rbdump.memoryfile import memory_file

__all__ = ["write_slices"]

_AHEAD = 4
"""Rendered slices that a process keeps until their turn comes: some megabytes each."""
_NUMBER = 8
"""Bytes of the number of a slice, in the token and in the file that says which slice nobody has taken."""

Render = Callable[[int], bytes]
T = TypeVar("T")


class _GoneError(Exception):
    """The process that would pass the token to this one is gone."""


def write_slices(
    fd: int,
    count: int,
    render: Render,
    report: Callable[[], Iterable[T]],
    jobs: int = 1,
    begin: Callable[[], None] = lambda: None,
) -> list[T]:
    """Write ``render(0)``, ``render(1)`` .. ``render(count - 1)`` to ``fd`` and return what ``report`` says at the end.

    ``report`` is called once in each process that rendered, after its last slice; its items are returned together.
    ``begin`` is called in this process before anything is written, while the others render already.
    Raises what any of the processes raised, and OutputError when the output cannot be written, or when a worker is
    killed. One that ends because the output was closed or by Ctrl-C ends this process by the same signal.
    """
    jobs = min(jobs, count)
    if jobs <= 1:
        begin()
        for index in range(count):
            write_all(fd, render(index))
        return list(report())
    tokens: list[tuple[int, int]] = []
    workers: list[Child] = []
    with ExitStack() as files:
        try:
            untaken = files.enter_context(memory_file())
            os.pwrite(untaken.fileno(), _number(0), 0)  # where that is refused, no process waits for the lock
            tokens.extend(os.pipe() for _ in range(jobs))
            turns = partial(_take_turns, fd, count, render, untaken.fileno())
            workers.extend(Child(partial(_work, turns, report, tokens, worker)) for worker in range(1, jobs))
            begin()
        except Exception as error:
            for end in itertools.chain(*tokens):
                os.close(end)
            for started in workers:
                started.dismiss()
            if isinstance(error, OSError):
                raise OutputError(f"cannot connect {jobs} processes: {error.strerror}; try fewer --jobs") from error
            raise
        os.write(tokens[0][1], _number(0))
        passing = tokens[1][1]
        for _, other in tokens:
            if other != passing:
                os.close(other)
        found: list[T] = []
        try:
            turns(tokens[0][0], passing)
            found += report()
        except _GoneError:
            pass  # one of the others is gone, and tells why
        finally:
            os.close(passing)
            replies: list[list[T] | Exception] = [_reply(worker) for worker in workers]
            for turn, _ in tokens:
                os.close(turn)  # open until now: who passes the token to one that is gone does not get SIGPIPE
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
        found += reply
    return found


def _number(index: int) -> bytes:
    return index.to_bytes(_NUMBER, "little")


def _take(untaken: int) -> int:
    """The next slice that no process has taken. A lock of the system: it goes with the process that holds it."""
    fcntl.lockf(untaken, fcntl.LOCK_EX)
    try:
        index = int.from_bytes(os.pread(untaken, _NUMBER, 0), "little")
        os.pwrite(untaken, _number(index + 1), 0)
    finally:
        fcntl.lockf(untaken, fcntl.LOCK_UN)
    return index


def _reply(worker: Child) -> list[T] | Exception:
    """What a worker reports, or what ended it."""
    try:
        reply: list[T] = worker.receive()
    except Exception as error:
        return error
    finally:
        worker.close()
    return reply


def _work(
    turns: Callable[[int, int], None],
    report: Callable[[], Iterable[T]],
    tokens: list[tuple[int, int]],
    worker: int,
) -> Iterator[list[T]]:
    """All that a worker does that is a child; what it has to report."""
    turn, passing = tokens[worker][0], tokens[(worker + 1) % len(tokens)][1]
    for other, pair in enumerate(tokens):
        if other != worker:
            os.close(pair[0])
        if pair[1] != passing:
            os.close(pair[1])
    try:
        turns(turn, passing)
        found = list(report())
    except _GoneError:
        found = []  # what matters is told by the one that is gone
    finally:
        os.close(passing)  # before anything long is said: the next one may have to learn that this one is gone
    yield found


def _take_turns(fd: int, count: int, render: Render, untaken: int, turn: int, passing: int) -> None:
    """Take slices by the file ``untaken`` until there are no more, render each and write it when its turn comes.

    _GoneError when the process before this one is gone. What ``render`` raises is raised when that slice's turn comes:
    what lies before it is not lost.
    """
    rendered: deque[tuple[int, bytes | Exception]] = deque()

    def hand_on() -> int:
        """Wait for the token, write what is next as far as it is here, and pass the token on; the slice it names."""
        token = os.read(turn, _NUMBER)
        if not token:
            raise _GoneError
        following = int.from_bytes(token, "little")
        while rendered and rendered[0][0] == following:
            data = rendered.popleft()[1]
            if isinstance(data, Exception):
                raise data
            write_all(fd, data)
            following += 1
        os.write(passing, _number(following))
        return following

    following = 0
    while (index := _take(untaken)) < count:
        try:
            rendered.append((index, render(index)))
        except Exception as error:
            rendered.append((index, error))
            break
        # who has passed the last token on is gone, and that its pipe is closed means nothing any more
        while following < count and (len(rendered) > _AHEAD or is_ready(turn)):
            following = hand_on()
    while following < count:
        following = hand_on()
