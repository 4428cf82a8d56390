# SPDX-License-Identifier: Apache-2.0
"""A forked process that does one piece of work beside this one and replies with bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

from rbdump.errors import OutputError

__all__ = ["Child", "write_all"]


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``. OutputError if the system refuses."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            raise OutputError(f"cannot write the output: {error.strerror}; it is incomplete") from error


class Child:
    """Runs ``work`` in a copy of this process; what an exception leaves undone shows in the status alone.

    OutputError when the system refuses one more process.
    """

    __slots__ = ("_pid", "_reply")

    def __init__(self, work: Callable[[], bytes]) -> None:
        ends: tuple[int, ...] = ()
        try:
            ends = self._reply, answer = os.pipe()
            self._pid = os.fork()
        except OSError as error:
            for end in ends:
                os.close(end)
            raise OutputError(f"cannot start a process for --jobs: {error.strerror}; try without it") from error
        if self._pid:
            os.close(answer)
            return
        status = 1
        try:
            os.close(self._reply)
            write_all(answer, work())
            status = 0
        finally:
            os._exit(status)

    def wait(self) -> tuple[bytes, int]:
        """What ``work`` returned, and the wait status of the process: the reply is whole only where that is 0."""
        parts = []
        while part := os.read(self._reply, 1 << 16):
            parts.append(part)
        os.close(self._reply)
        return b"".join(parts), os.waitpid(self._pid, 0)[1]
