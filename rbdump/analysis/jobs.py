# SPDX-License-Identifier: Apache-2.0
"""Writes slices of a trace in order, rendered by one process or by several.

With several, each forked worker renders every n-th slice and writes it to the output itself when its turn comes:
a token travels round the workers through pipes, so no rendered text is copied between processes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from rbdump.errors import ExitStatus, OutputError, RbdumpError

__all__ = ["write_all", "write_slices"]

Render = Callable[[int], bytes]
Report = Callable[[], Iterable[Any]]

_QUIET = frozenset({signal.SIGPIPE, signal.SIGINT})
"""Signals that are meant for all processes of a run."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``. OutputError if the system refuses."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            raise OutputError(f"cannot write the output: {error.strerror}; it is incomplete") from error


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
    tokens = [os.pipe() for _ in range(jobs)]
    workers = [_start_worker(fd, count, render, report, tokens, worker) for worker in range(jobs)]
    os.write(tokens[0][1], b"t")
    for _, passing in tokens:
        os.close(passing)
    replies = [_read_all(reply) for _, reply in workers]
    ended = [os.waitpid(pid, 0)[1] for pid, _ in workers]
    for turn, _ in tokens:
        os.close(turn)  # open until now: a worker that passes the token to one that is gone does not get SIGPIPE
    signals = {os.WTERMSIG(status) for status in ended if os.WIFSIGNALED(status)}
    for number in _QUIET & signals:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    found: list[Any] = []
    for answer in (json.loads(reply) for reply, status in zip(replies, ended, strict=True) if reply and not status):
        if "error" in answer:
            raise OutputError(answer["error"])
        found += answer["report"]
    if signals:
        names = " and ".join(signal.strsignal(number) or str(number) for number in sorted(signals))
        raise OutputError(f"a process of --jobs was ended by a signal ({names}); the output is incomplete")
    if any(ended):
        raise OutputError("a process of --jobs ended early; the output is incomplete")
    return found


def _start_worker(
    fd: int, count: int, render: Render, report: Report, tokens: list[tuple[int, int]], worker: int
) -> tuple[int, int]:
    reply_read, reply_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reply_write)
        return pid, reply_read
    status = 1
    try:
        jobs = len(tokens)
        turn, passing = tokens[worker][0], tokens[(worker + 1) % jobs][1]
        for other, pair in enumerate(tokens):
            if other != worker:
                os.close(pair[0])
            if pair[1] != passing:
                os.close(pair[1])
        status = _work(fd, range(worker, count, jobs), count, render, report, turn, passing, reply_write)
    finally:
        os._exit(status)


def _work(
    fd: int, slices: range, count: int, render: Render, report: Report, turn: int, passing: int, reply: int
) -> int:
    answer: dict[str, Any]
    try:
        for index in slices:
            data = render(index)
            if not os.read(turn, 1):
                return ExitStatus.OUTPUT  # the worker before this one is gone
            write_all(fd, data)
            if index + 1 < count:
                os.write(passing, b"t")
        answer = {"report": list(report())}
    except RbdumpError as error:
        answer = {"error": str(error)}
    write_all(reply, json.dumps(answer).encode())
    return 0


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)
