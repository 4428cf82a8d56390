# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import pytest

from rbdump.analysis.child import write_all
from rbdump.analysis.jobs import write_slices
from rbdump.errors import OutputError, SourceError


def render(index: int) -> bytes:
    time.sleep(0.002 * (index % 3))  # workers become ready out of order
    return f"slice {index}\n".encode() * 50


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 23])
def test_slices_come_in_order(jobs: int, count: int) -> None:
    with tempfile.TemporaryFile() as file:
        write_slices(file.fileno(), count, render, lambda: [os.getpid()], jobs)
        file.seek(0)
        assert file.read() == b"".join(render(i) for i in range(count))


def test_a_slow_slice_does_not_keep_the_others_from_rendering() -> None:
    begun = mmap.mmap(-1, 32)

    def uneven(index: int) -> bytes:
        begun[index] = 1
        deadline = time.monotonic() + 20
        while index == 0 and not all(begun[1:6]):  # the other process has begun five, none of which it can write
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return b"%d " % index

    with tempfile.TemporaryFile() as file:
        write_slices(file.fileno(), 20, uneven, list, 2)
        file.seek(0)
        assert file.read() == b"".join(b"%d " % index for index in range(20))


def test_each_worker_reports_once() -> None:
    with tempfile.TemporaryFile() as file:
        pids = write_slices(file.fileno(), 9, render, lambda: [os.getpid()], 3)
    assert len(pids) == len(set(pids)) == 3
    assert os.getpid() in pids


def test_each_slice_is_taken_once_and_each_process_sees_the_end() -> None:
    """Slices that take no time: processes race for them, and for the last token."""
    wanted = b"".join(b"%d " % index for index in range(50))
    for _ in range(20):
        with tempfile.TemporaryFile() as file:
            pids = write_slices(file.fileno(), 50, lambda index: b"%d " % index, lambda: [os.getpid()], 8)
            file.seek(0)
            assert file.read() == wanted
        assert len(set(pids)) == 8


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_full_disk_is_one_error(jobs: int) -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OutputError, match="No space left"):
        write_slices(full.fileno(), 9, render, list, jobs)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_closed_pipe_ends_all_processes_by_sigpipe(jobs: int) -> None:
    code = (
        "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL);"
        "from rbdump.analysis.jobs import write_slices;"
        f"write_slices(1, 10**6, lambda i: b'x' * 65536, list, {jobs})"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=20) == -13
        assert process.stderr.read() == b""


class Meeting:
    """Lets ``who``, the parent or a worker, be the one that renders some slice from the fifth on."""

    def __init__(self, who: str) -> None:
        self.parent = os.getpid()
        self.who = who
        self.met = mmap.mmap(-1, 8)

    def meets(self, index: int) -> bool:
        """Whether it is this process; the others wait, with the slices that they have, until there is one."""
        if index < 5:
            return False
        if (os.getpid() == self.parent) == (self.who == "parent"):
            if not self.met[0]:
                self.met[0] = index
            return self.met[0] == index
        deadline = time.monotonic() + 20
        while not self.met[0]:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_one_error_and_no_hang(number: signal.Signals) -> None:
    meeting = Meeting("worker")

    def render_or_die(index: int) -> bytes:
        if meeting.meets(index):
            os.kill(os.getpid(), number)
        return render(index)

    before = os.listdir("/proc/self/fd")
    with tempfile.TemporaryFile() as file:
        with pytest.raises(OutputError, match="by a signal"):
            write_slices(file.fileno(), 23, render_or_die, list, 3)
        file.seek(0)
        written = file.read()
    assert len(written) % len(render(0)) == 0, "a slice was written in part"
    assert b"".join(render(i) for i in range(meeting.met[0])).startswith(written)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("error", [SourceError("a format lies"), ZeroDivisionError("0"), EOFError("it ends")])
@pytest.mark.parametrize("who", ["parent", "worker"])
def test_an_error_is_the_same_whichever_process_meets_it(who: str, error: Exception) -> None:
    meeting = Meeting(who)

    def fail(index: int) -> bytes:
        if meeting.meets(index):
            raise error
        return render(index)

    before = os.listdir("/proc/self/fd")
    with tempfile.TemporaryFile() as file:
        with pytest.raises(type(error), match=str(error)):
            write_slices(file.fileno(), 23, fail, list, 3)
        file.seek(0)
        assert file.read() == b"".join(render(i) for i in range(meeting.met[0]))
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_error_that_takes_long_to_say_is_no_hang() -> None:
    """A pipe holds 64 KiB, and the parent reads the reply when its own work is done."""
    meeting = Meeting("worker")

    def fail(index: int) -> bytes:
        if meeting.meets(index):
            raise SourceError("x" * 200_000)
        return render(index)

    with tempfile.TemporaryFile() as file, pytest.raises(SourceError, match=r"x{200000}"):
        write_slices(file.fileno(), 23, fail, list, 2)


@pytest.mark.parametrize("who", ["parent", "worker"])
@pytest.mark.parametrize("jobs", [2, 3])
def test_what_a_slow_process_has_to_report_is_not_lost(monkeypatch: pytest.MonkeyPatch, who: str, jobs: int) -> None:
    """It passes on the last token when the one that passed it to it is gone already."""
    parent, select_now = os.getpid(), select.select

    def select_late(*arguments: Any) -> object:
        if (os.getpid() == parent) == (who == "parent"):
            time.sleep(0.05)
        return select_now(*arguments)

    monkeypatch.setattr("select.select", select_late)
    with tempfile.TemporaryFile() as file:
        pids = write_slices(file.fileno(), 2 * jobs, lambda index: b"x", lambda: [os.getpid()], jobs)
    assert len(set(pids)) == jobs


def test_a_file_that_may_not_grow_is_one_error_and_no_hang() -> None:
    code = """
import os, resource
from rbdump.analysis.jobs import write_slices
from rbdump.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    write_slices(os.open(os.devnull, os.O_WRONLY), 10, lambda index: b"x", list, 2)
except OutputError as error:
    assert "--jobs" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_wrong_at_the_beginning_leaves_nothing_written(jobs: int) -> None:
    def refuse() -> None:
        raise SourceError("of another kernel")

    before = os.listdir("/proc/self/fd")
    with tempfile.TemporaryFile() as file:
        with pytest.raises(SourceError, match="of another kernel"):
            write_slices(file.fileno(), 23, render, list, jobs, refuse)
        assert os.fstat(file.fileno()).st_size == 0
        write_slices(file.fileno(), 2, render, list, jobs, lambda: write_all(file.fileno(), b"head "))
        file.seek(0)
        assert file.read() == b"head " + render(0) + render(1)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_worker_that_cannot_be_started_is_one_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, forks = os.fork, iter(range(9))

    def refuse_the_second() -> int:
        if next(forks):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    monkeypatch.setattr(os, "fork", refuse_the_second)
    before = os.listdir("/proc/self/fd")
    with tempfile.TemporaryFile() as file, pytest.raises(OutputError, match="cannot start a process"):
        write_slices(file.fileno(), 23, render, list, 3)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_too_few_file_descriptors_are_one_error() -> None:
    code = """
import os, resource
from rbdump.analysis.jobs import write_slices
from rbdump.errors import OutputError
null, hard = os.open(os.devnull, os.O_WRONLY), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
errors = 0
for limit in range(null + 2, null + 40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        write_slices(null, 50, lambda index: b"x", list, 8)
    except OutputError as error:
        assert "--jobs" in str(error), error
        errors += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    assert max(map(int, os.listdir("/proc/self/fd"))) == null + 1, limit
    try:
        assert not os.waitpid(-1, os.WNOHANG), limit
    except ChildProcessError:
        pass
    else:
        raise SystemExit("a process is left")
assert 20 < errors < 38, errors
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
