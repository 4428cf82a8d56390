# SPDX-License-Identifier: Apache-2.0
"""The command in real pipes, with real files, as a new user would try it."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rbdump.errors import ExitStatus
from tests.conftest import Run, command
from tests.ringwriter import RegionWriter

SAMPLE = "6.12.43-sched"


@pytest.fixture
def region(samples: Path) -> Path:
    return samples / SAMPLE / "region.bin.xz"


@pytest.fixture
def raw(region: Path, tmp_path: Path) -> Path:
    path = tmp_path / "region.bin"
    path.write_bytes(lzma.decompress(region.read_bytes()))
    return path


def body(output: bytes) -> list[bytes]:
    return [line for line in output.splitlines() if not line.startswith(b"#")]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_head_ends_it_at_once_and_quietly(raw: Path, jobs: str) -> None:
    with subprocess.Popen(
        command("parse", raw, "--jobs", jobs), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"# tracer: nop\n"
        process.stdout.close()
        assert process.wait(timeout=30) == -13  # SIGPIPE: 141 in a shell
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "words",
    [
        "parse - --kallsyms -",
        "parse - --vmlinux - -j2",
        "parse - --tracefs -",
        "parse REGION --kallsyms - --tracefs -",
        "parse REGION --tracefs - --tracefs -",
        "resolve --kallsyms -",
        "resolve - --vmlinux -",
    ],
)
def test_standard_input_can_be_read_once(run: Run, raw: Path, words: str) -> None:
    done = run(*[raw if word == "REGION" else word for word in words.split()], stdin=b"text\n")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert done.stderr == b"rbdump: standard input can be read once only; give a file for all inputs but one\n"


def test_one_source_may_be_standard_input(run: Run, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw.parent)
    Path("-").mkdir()
    listed = b"ffffffff81000000 T _text\nffffffff81000010 T here\nffffffff81000020 T there\n"
    assert run("resolve", "0xffffffff81000012", "--kallsyms", "-", stdin=listed).stdout == b"here+0x2/0x10\n"
    assert b"this looks like text" in run("parse", raw, "--tracefs", "-", stdin=b"text\n").stderr


@pytest.mark.parametrize("words", ["parse --tracefs", "parse --kallsyms", "parse --modules", "formats --best-of"])
def test_a_source_that_is_missing_has_one_status(run: Run, raw: Path, words: str) -> None:
    assert run(*words.split(), raw.with_name("nosuch"), raw).returncode == ExitStatus.SOURCE


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_full_disk_is_one_sentence(raw: Path, jobs: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("parse", raw, "--jobs", jobs), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == ExitStatus.OUTPUT
    assert done.stderr == b"rbdump: cannot write the output: No space left on device; it is incomplete\n"


def test_info_on_a_full_disk_is_one_sentence(raw: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command("info", raw), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == ExitStatus.OUTPUT
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("missing", None, ExitStatus.INPUT, "No such file"),
        ("empty", b"", ExitStatus.INPUT, "is empty"),
        (
            "core",
            b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00\x3e\x00" + bytes(5000),
            ExitStatus.NOT_A_REGION,
            "ELF core",
        ),
        ("trace.dat", b"\x17\x08\x44tracing6\0" + bytes(5000), ExitStatus.NOT_A_REGION, "trace.dat"),
        ("notes", b"call me back\n" * 800, ExitStatus.NOT_A_REGION, "text"),
        ("zeros", bytes(1 << 16), ExitStatus.NOT_A_REGION, "zero"),
        ("zeros.gz", gzip.compress(bytes(1 << 16)), ExitStatus.NOT_A_REGION, "zero"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_region(
    run: Run, tmp_path: Path, name: str, content: bytes | None, status: ExitStatus, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for verb in ("parse", "check"):
        done = run(verb, path)
        assert (done.returncode, done.stdout) == (status, b"")
        assert words in done.stderr.decode()
        assert done.stderr.decode().startswith(f"rbdump: {path}")
        assert done.stderr.count(b"\n") == 1


def test_standard_input_that_is_no_region(run: Run) -> None:
    assert run("info", "-", stdin=b"words\n").stderr.startswith(b"rbdump: standard input: no persistent ring buffer")


def test_a_message_does_not_command_the_terminal(run: Run, tmp_path: Path) -> None:
    done = run("parse", tmp_path / "\x1b[2J\n\x07\x9b\u202ename é")
    assert done.returncode == ExitStatus.INPUT
    assert done.stderr.decode() == (
        f"rbdump: {tmp_path}/\\x1b[2J\\n\\x07\\x9b\\u202ename é: cannot be read: No such file or directory\n"
    )


def test_a_directory_is_no_file(run: Run, tmp_path: Path) -> None:
    done = run("parse", tmp_path)
    assert done.returncode == ExitStatus.INPUT
    assert b"is a directory" in done.stderr


def test_every_way_in_gives_the_same(run: Run, region: Path, raw: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "region.gz"
    zipped.write_bytes(gzip.compress(raw.read_bytes(), 1))
    wanted = run("parse", raw).stdout
    assert run("parse", region).stdout == wanted
    assert run("parse", zipped).stdout == wanted
    assert run("parse", "-", stdin=raw.read_bytes()).stdout == wanted
    assert run("parse", raw, "--jobs", "3").stdout == wanted


def test_output_does_not_depend_on_where_it_runs(raw: Path) -> None:
    outputs = {
        subprocess.run(
            command("parse", raw),
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "LC_ALL": locale, "COLUMNS": columns, "TZ": zone},
        ).stdout
        for locale, columns, zone in (("C", "40", "UTC"), ("C.UTF-8", "200", "Asia/Tokyo"))
    }
    assert len(outputs) == 1


def test_the_input_is_never_written(run: Run, raw: Path) -> None:
    raw.chmod(0o444)
    before = (raw.read_bytes(), raw.stat().st_mtime_ns)
    for verb in ("parse", "info", "check"):
        assert run(verb, raw).returncode == 0
    assert (raw.read_bytes(), raw.stat().st_mtime_ns) == before


def test_more_regions_than_anybody_has_are_not_all_listed(run: Run, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.write_bytes(RegionWriter([[]], layout="C1", nr_subbufs=3).region() * 40)
    done = run("parse", many)
    assert done.stderr.count(b", 0x") == 31
    assert b"and perhaps more (--offset opens another)" in done.stderr


def test_two_regions_in_one_file(run: Run, raw: Path, samples: Path, tmp_path: Path) -> None:
    second = lzma.decompress((samples / "6.12.43-function" / "region.bin.xz").read_bytes())
    both = tmp_path / "both"
    junk = bytes(range(256)) * 32
    both.write_bytes(junk + raw.read_bytes() + second)
    first_at, second_at = len(junk), len(junk) + raw.stat().st_size
    found = json.loads(run("info", both, "--json").stdout)
    assert (found["offset"], found["other_regions"]) == (first_at, [second_at])
    done = run("parse", both)
    assert body(done.stdout) == body(run("parse", raw).stdout)
    assert f"{second_at:#x}".encode() in done.stderr, "the other region is not mentioned"
    other = run("parse", both, "--offset", f"{second_at:#x}")
    alone = tmp_path / "second"
    alone.write_bytes(second)
    assert body(other.stdout) == body(run("parse", alone).stdout)


def test_damage_is_reported_and_survived(run: Run, raw: Path, tmp_path: Path) -> None:
    data = bytearray(raw.read_bytes())
    data[0x1000 + 8 : 0x1000 + 16] = (0xFFFF).to_bytes(8, "little")  # the commit word of CPU 0's first sub-buffer
    data[0x3000 + 8 : 0x3000 + 16] = (0x7FF0).to_bytes(8, "little")
    raw.chmod(0o644)
    whole = len(body(run("parse", raw).stdout))
    hurt = tmp_path / "hurt"
    hurt.write_bytes(data)
    report = tmp_path / "findings.jsonl"
    done = run("parse", hurt, "--findings", report)
    assert done.returncode == 0
    assert done.stderr == b""
    assert 0.9 * whole < len(body(done.stdout)) <= whole
    findings = [json.loads(line) for line in report.read_text().splitlines()]
    assert {(f["severity"], f["cpu"], f["subbuf"]) for f in findings if f["severity"] == "error"} >= {("error", 0, 2)}
    assert run("check", hurt).returncode == ExitStatus.DAMAGE
    assert run("info", hurt).returncode == ExitStatus.OK
    assert run("check", raw).returncode == ExitStatus.OK
    assert b"rbdump: error: " in run("parse", hurt).stderr


def test_findings_file_that_cannot_be_written(run: Run, raw: Path, tmp_path: Path) -> None:
    done = run("parse", raw, "--findings", tmp_path / "no" / "such" / "folder")
    assert done.returncode == ExitStatus.OUTPUT
    assert b"cannot write findings" in done.stderr


@pytest.mark.parametrize("words", [["parse"], ["parse", "--jobs", "2"], ["info"], ["info", "--json"]])
def test_standard_output_that_is_closed_or_full_is_one_sentence(raw: Path, words: list[str]) -> None:
    for redirection in (">&-", ">/dev/full"):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *command(*words, raw)],
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert done.returncode == ExitStatus.OUTPUT
        assert done.stderr.startswith(b"rbdump: cannot write the output: ")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "words", ["--version", "--help", "parse --help", "resolve --kallsyms KALLSYMS 0xffffffff81000000"]
)
def test_what_needs_no_region_says_as_well_that_it_cannot_be_written(tmp_path: Path, words: str) -> None:
    symbols = tmp_path / "kallsyms"
    symbols.write_bytes(b"ffffffff81000000 T _stext\nffffffff81000010 T f\n")
    for redirection in (">&-", ">/dev/full"):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *command(*words.replace("KALLSYMS", str(symbols)).split())],
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert done.returncode == ExitStatus.OUTPUT
        assert done.stderr.startswith(b"rbdump: cannot write the output: ")
        assert done.stderr.count(b"\n") == 1


def test_a_closed_stdin_is_one_sentence() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *command("parse", "-")], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == ExitStatus.INPUT
    assert done.stderr == b"rbdump: standard input: cannot be read: Bad file descriptor\n"


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_nobody_reads_stderr(raw: Path, redirection: str) -> None:
    damaged = raw.with_name("damaged.bin")
    damaged.write_bytes(raw.read_bytes()[:1000000])
    whole = subprocess.run(command("parse", damaged), capture_output=True, check=False, timeout=60)
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command("parse", damaged)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (ExitStatus.OK, whole.stdout)
    assert whole.stderr


def test_an_error_does_not_wait_for_a_source_that_is_still_read(tmp_path: Path) -> None:
    fifo, text = tmp_path / "kallsyms", tmp_path / "text"
    os.mkfifo(fifo)
    text.write_bytes(b"no region\n" * 1000)
    with subprocess.Popen(
        command("parse", text, "--jobs", "2", "--kallsyms", fifo), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(timeout=30) == ExitStatus.NOT_A_REGION  # nobody ever writes into the pipe


def test_no_process_is_left_by_a_run_that_needs_none(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    done = subprocess.run(
        command("parse", "--jobs", "2", "--bad"), stderr=writer, pass_fds=[writer], check=False, timeout=60
    )
    os.close(writer)
    os.set_blocking(reader, False)
    while os.read(reader, 1 << 16):  # BlockingIOError where somebody still holds the other end
        pass
    os.close(reader)
    assert done.returncode == ExitStatus.USAGE


def test_a_caller_that_ignores_its_children_may_use_jobs(raw: Path) -> None:
    code = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *command("parse", raw, "--jobs", "2")],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert len(body(done.stdout)) > 1000


@pytest.mark.parametrize(
    ("jobs", "error"), [("1", "MemoryError"), ("2", "MemoryError"), ("1", "OSError(12, 'Cannot allocate memory')")]
)
def test_no_room_even_for_numpy_is_one_sentence(raw: Path, tmp_path: Path, jobs: str, error: str) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(f"raise {error}")
    done = subprocess.run(
        [*command(), "parse", str(raw), "--jobs", jobs],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    said = b"rbdump: there is not enough memory for what these inputs ask for\n"
    assert (done.returncode, done.stderr) == (ExitStatus.INPUT, said)


def test_ctrl_c_ends_it_by_the_signal(samples: Path) -> None:
    words = command("resolve", "--kallsyms", samples / "armhf-6.12.107-sched" / "kallsyms.xz")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"it runs\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"it runs\n"
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)
    assert (process.returncode, rest) == (-signal.SIGINT, (b"", b""))
    assert ExitStatus.INTERRUPTED == 128 + signal.SIGINT
