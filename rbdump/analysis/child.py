# SPDX-License-Identifier: Apache-2.0
"""A forked process that works beside this one and sends what it finds: the processes of --jobs.

Imports nothing heavy: the first one is started before numpy is imported.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
from collections.abc import Callable, Iterable
from traceback import format_exc
from typing import Any, NoReturn

from rbdump.errors import OutputError, RbdumpError

__all__ = ["Child", "is_ready", "write_all"]

_QUIET = frozenset({signal.SIGPIPE, signal.SIGINT})
"""Signals that are meant for all processes of a run."""
_leaving: list[Child] = []
"""Processes that have said all, and give back their memory: large, and some milliseconds go by."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``. OutputError if the system refuses."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            raise OutputError(f"cannot write the output: {error.strerror}; it is incomplete") from error


def is_ready(fd: int) -> bool:
    """Whether a read would not have to wait."""
    poll = select.poll()  # select() refuses the descriptors from 1024 on
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class Child:
    """Runs ``work`` in a copy of this process, and passes on what it yields and the exception that ends it.

    OutputError when the system refuses one more process.
    """

    __slots__ = ("_parent", "_pid", "_reply", "_status")

    def __init__(self, work: Callable[[], Iterable[Any]]) -> None:
        self._status: int | None = 0
        self._parent = os.getpid()
        while _leaving:
            _leaving.pop().close()
        ends: tuple[int, ...] = ()
        try:
            ends = reply, answer = os.pipe()
            self._pid = os.fork()
        except OSError as error:
            for end in ends:
                os.close(end)
            raise OutputError(f"cannot start a process for --jobs: {error.strerror}; try without it") from error
        if not self._pid:
            os.close(reply)
            _answer(work, answer)
        os.close(answer)
        self._reply = os.fdopen(reply, "rb")
        self._status = None

    def receive(self) -> Any:
        """The next item that ``work`` yields; raises what it raised, and OutputError when the process is gone.

        One that ended because the output was closed or by Ctrl-C ends this process by the same signal.
        """
        try:
            item = pickle.load(self._reply)
        except (EOFError, pickle.UnpicklingError):
            self._say_gone()
        if isinstance(item, Exception):
            self.close()
            try:
                raise item
            finally:
                del item  # else it and this frame would keep each other, and the files of the caller open
        return item

    def has_answered(self) -> bool:
        """Whether `receive` would not have to wait; False as well where what it gives came with what was received."""
        return is_ready(self._reply.fileno())

    def close(self) -> int:
        """Wait for the end of the process; what it still has to say is lost. Its wait status."""
        if self._status is None:
            self._reply.close()
            try:
                self._status = os.waitpid(self._pid, 0)[1]
            except ChildProcessError:  # where the caller ignores SIGCHLD nobody can wait
                self._status = 0
        return self._status

    def receive_last(self) -> Any:
        """As `receive`, of the last item that is wanted; the end of the process is waited for when the next begins."""
        item = self.receive()
        self._reply.close()
        _leaving.append(self)
        return item

    def dismiss(self) -> None:
        """End the process, whatever it is doing."""
        if self._status is None and self._parent == os.getpid():  # not in a process that was forked later
            # where the caller ignores SIGCHLD or waits for all children, the number may be another process's by now
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    os.kill(self._pid, signal.SIGKILL)
            self.close()

    def __del__(self) -> None:
        self.dismiss()

    def _say_gone(self) -> NoReturn:
        status = self.close()
        why = "ended early"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number in _QUIET:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            why = f"was ended by a signal ({signal.strsignal(number) or number})"
        raise OutputError(f"a process of --jobs {why}; the output is incomplete")


def _answer(work: Callable[[], Iterable[Any]], answer: int) -> NoReturn:
    """All that a child does: what it cannot say shows in its status alone."""
    status = 1
    try:
        with os.fdopen(answer, "wb") as out:
            try:
                for item in work():
                    pickle.dump(item, out, 5)
                    out.flush()
            except Exception as error:
                if not isinstance(error, RbdumpError):  # a bug, and a traceback does not survive the passage
                    error.add_note(f"in a process of --jobs: {format_exc()}")
                pickle.dump(error, out, 5)
        status = 0
    finally:
        os._exit(status)
