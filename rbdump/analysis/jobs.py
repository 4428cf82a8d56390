# SPDX-License-Identifier: Apache-2.0
"""Writes slices of a trace in order, rendered by one process or by several.

With several, this process and those that it forks each render every n-th slice and write it to the output themselves
when their turn comes: a token travels round through pipes, so no rendered text is copied between processes.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rbdump.analysis.child import Child, write_all
from rbdump.errors import OutputError, RbdumpError

__all__ = ["write_slices"]

Render = Callable[[int], bytes]
Report = Callable[[], Iterable[Any]]

_QUIET = frozenset({signal.SIGPIPE, signal.SIGINT})
"""Signals that are meant for all processes of a run."""


def write_slices(fd: int, count: int, render: Render, report: Report, jobs: int = 1) -> list[Any]:
    """Write ``render(0)``, ``render(1)`` .. ``render(count - 1)`` to ``fd`` and return what ``report`` says at the end.

    ``report`` is called once in each process that rendered, after its last slice; its items must be JSON values and
    are returned together. Raises OutputError when the output cannot be written, or when a worker is killed. One that
    ends because the output was closed or by Ctrl-C ends this process by the same signal.
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
            started.wait()
        if isinstance(error, OSError):
            raise OutputError(f"cannot connect {jobs} processes: {error.strerror}; try fewer --jobs") from error
        raise
    os.write(tokens[0][1], b"t")
    passing = tokens[1][1]
    for _, other in tokens:
        if other != passing:
            os.close(other)
    found: list[Any] = []
    try:
        _take_turns(fd, count, render, jobs, 0, tokens[0][0], passing)
        found += report()
    except EOFError:
        pass  # one of the others is gone: its status says why
    finally:
        os.close(passing)
        replies = [worker.wait() for worker in workers]
        for turn, _ in tokens:
            os.close(turn)  # open until now: who passes the token to one that is gone does not get SIGPIPE
    signals = {os.WTERMSIG(status) for _, status in replies if os.WIFSIGNALED(status)}
    for number in _QUIET & signals:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    for answer in (json.loads(reply) for reply, status in replies if not status):
        if "error" in answer:
            raise OutputError(answer["error"])
        found += answer["report"]
    if signals:
        names = " and ".join(signal.strsignal(number) or str(number) for number in sorted(signals))
        raise OutputError(f"a process of --jobs was ended by a signal ({names}); the output is incomplete")
    if any(status for _, status in replies):
        raise OutputError("a process of --jobs ended early; the output is incomplete")
    return found


def _work(fd: int, count: int, render: Render, report: Report, tokens: list[tuple[int, int]], worker: int) -> bytes:
    """Render and write every slice of a worker that is a child; what it has to say, as JSON."""
    jobs = len(tokens)
    turn, passing = tokens[worker][0], tokens[(worker + 1) % jobs][1]
    for other, pair in enumerate(tokens):
        if other != worker:
            os.close(pair[0])
        if pair[1] != passing:
            os.close(pair[1])
    answer: dict[str, Any]
    try:
        _take_turns(fd, count, render, jobs, worker, turn, passing)
        answer = {"report": list(report())}
    except RbdumpError as error:
        answer = {"error": str(error)}
    return json.dumps(answer).encode()


def _take_turns(fd: int, count: int, render: Render, jobs: int, worker: int, turn: int, passing: int) -> None:
    """Render every ``jobs``-th slice from ``worker`` on and write it in turn. EOFError when the one before is gone."""
    for index in range(worker, count, jobs):
        data = render(index)
        if not os.read(turn, 1):
            raise EOFError("the worker before this one is gone")
        write_all(fd, data)
        if index + 1 < count:
            os.write(passing, b"t")
