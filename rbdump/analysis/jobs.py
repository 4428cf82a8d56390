# SPDX-License-Identifier: Apache-2.0
"""Writes slices of a trace in order, rendered by one process or by several.

With several, this process and those that it forks each render every n-th slice and write it to the output themselves
when their turn comes: a token travels round through pipes, so no rendered text is copied between processes.
"""

from __future__ import annotations

import itertools
import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from rbdump.analysis.child import Child, write_all
from rbdump.errors import OutputError

__all__ = ["write_slices"]

_AHEAD = 4
"""Rendered slices that a process keeps until its turn comes: some megabytes each."""

Render = Callable[[int], bytes]
T = TypeVar("T")


def write_slices(fd: int, count: int, render: Render, report: Callable[[], Iterable[T]], jobs: int = 1) -> list[T]:
    """Write ``render(0)``, ``render(1)`` .. ``render(count - 1)`` to ``fd`` and return what ``report`` says at the end.

    ``report`` is called once in each process that rendered, after its last slice; its items are returned together.
    Raises what any of the processes raised, and OutputError when the output cannot be written, or when a worker is
    killed. One that ends because the output was closed or by Ctrl-C ends this process by the same signal.
    """
    jobs = min(jobs, count)
    if jobs <= 1:
        for index in range(count):
            write_all(fd, render(index))
        return list(report())
    tokens: list[tuple[int, int]] = []
    workers: list[Child] = []
    try:
        tokens.extend(os.pipe() for _ in range(jobs))
        workers.extend(Child(partial(_work, fd, count, render, report, tokens, worker)) for worker in range(1, jobs))
    except (OSError, OutputError) as error:
        for end in itertools.chain(*tokens):
            os.close(end)
        for started in workers:
            started.dismiss()
        if isinstance(error, OSError):
            raise OutputError(f"cannot connect {jobs} processes: {error.strerror}; try fewer --jobs") from error
        raise
    os.write(tokens[0][1], b"t")
    passing = tokens[1][1]
    for _, other in tokens:
        if other != passing:
            os.close(other)
    found: list[T] = []
    try:
        _take_turns(fd, count, render, jobs, 0, tokens[0][0], passing)
        found += report()
    except EOFError:
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
    fd: int,
    count: int,
    render: Render,
    report: Callable[[], Iterable[T]],
    tokens: list[tuple[int, int]],
    worker: int,
) -> Iterator[list[T]]:
    """Render and write every slice of a worker that is a child; what it has to report."""
    jobs = len(tokens)
    turn, passing = tokens[worker][0], tokens[(worker + 1) % jobs][1]
    for other, pair in enumerate(tokens):
        if other != worker:
            os.close(pair[0])
        if pair[1] != passing:
            os.close(pair[1])
    try:
        _take_turns(fd, count, render, jobs, worker, turn, passing)
    except EOFError:
        yield []  # what matters is told by the one that is gone
    else:
        yield list(report())


def _take_turns(fd: int, count: int, render: Render, jobs: int, worker: int, turn: int, passing: int) -> None:
    """Render every ``jobs``-th slice from ``worker`` on and write it in turn. EOFError when the one before is gone.

    Who is early renders on: slices take different times, and so does a processor that others use as well.
    """
    rendered: deque[tuple[int, bytes]] = deque()

    def write(most: int) -> None:
        """Write the slices whose turn has come; wait for it while there are more than ``most``."""
        while rendered and (len(rendered) > most or select.select([turn], [], [], 0)[0]):
            if not os.read(turn, 1):
                raise EOFError("the worker before this one is gone")
            index, data = rendered.popleft()
            write_all(fd, data)
            if index + 1 < count:
                os.write(passing, b"t")

    for index in range(worker, count, jobs):
        try:
            rendered.append((index, render(index)))
        except Exception:
            write(0)  # what lies before the slice that fails is not lost
            raise
        write(_AHEAD)
    write(0)
