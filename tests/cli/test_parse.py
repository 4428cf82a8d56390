# SPDX-License-Identifier: Apache-2.0
"""`rbdump parse`: choosing and ways of printing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rbdump.__main__ import guess_walk
from rbdump.errors import ExitStatus
from tests.conftest import Run

LINE = re.compile(rb"^ *(?P<comm>.+)-(?P<pid>\d+) +\[(?P<cpu>\d+)\] \S{5} +(?P<ts>\d+\.\d{6}): (?P<event>\w*)")


@pytest.fixture
def sample(samples: Path) -> list[str | Path]:
    folder = samples / "6.12.43-sched"
    return [folder / "region.bin.xz", "--tracefs", folder / "tracefs.tar.xz"]


def matches(output: bytes) -> list[re.Match[bytes]]:
    found = [LINE.match(line) for line in output.splitlines() if not line.startswith(b"#")]
    assert found
    assert all(found), "a line does not look like a line of trace"
    return [match for match in found if match]


def test_header_lines_are_the_kernels_and_ours(run: Run, sample: list[str | Path]) -> None:
    head = run("parse", *sample).stdout.split(b"\n", 20)
    assert head[0] == b"# tracer: nop"
    assert head[2] == b"# entries-in-buffer/entries-written: 10151/10151   #P:2"
    ours = [line for line in head if line.startswith(b"# rbdump: ")]
    assert len(ours) == 1
    assert re.fullmatch(
        rb"# rbdump: layout=B abi=le64 clock=local text_addr=0xffffffff[0-9a-f]{8} data_addr=0xffffffff[0-9a-f]{8}",
        ours[0],
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_formats_of_another_kernel_are_refused_before_anything_is_printed(run: Run, samples: Path, jobs: str) -> None:
    other = samples / "7.3.4-sched" / "tracefs.tar.xz"
    given = ["parse", samples / "6.12.43-sched" / "region.bin.xz", "--tracefs", other, "--jobs", jobs]
    done = run(*given)
    assert (done.returncode, done.stdout) == (ExitStatus.WRONG_IMAGE, b"")
    assert b"they are of another kernel (--force uses them all the same)" in done.stderr
    chosen = run(*given, "--event", "nobody:knows")  # whatever the others call their events
    assert (chosen.returncode, chosen.stderr) == (ExitStatus.WRONG_IMAGE, done.stderr)
    forced = run(*given, "--force")
    assert forced.returncode == 0
    assert b"formats-do-not-fit" in forced.stderr
    assert forced.stdout.count(b"\n") > 10_000


def test_cpu_event_and_pid(run: Run, sample: list[str | Path]) -> None:
    done = run(
        "parse", *sample, "--cpu", "1", "--event", "sched_switch", "--event", "sched:sched_wakeup*", "--pid", "0,150"
    )
    found = matches(done.stdout)
    assert {match["cpu"] for match in found} == {b"001"}
    assert {match["event"] for match in found} == {b"sched_switch", b"sched_wakeup", b"sched_wakeup_new"}
    assert {match["pid"] for match in found} == {b"0", b"150"}


def test_last_and_times(run: Run, sample: list[str | Path]) -> None:
    every = matches(run("parse", *sample).stdout)
    assert [m[0] for m in matches(run("parse", *sample, "--last", "7").stdout)] == [m[0] for m in every[-7:]]
    middle, end = every[4000]["ts"].decode(), every[6000]["ts"].decode()
    window = matches(run("parse", *sample, "--since", middle, "--until", end).stdout)
    assert [m[0] for m in window] == [m[0] for m in every if middle <= m["ts"].decode() <= end]
    recent = matches(run("parse", *sample, "--since", "-20ms").stdout)
    assert 0 < len(recent) < len(every)
    assert float(every[-1]["ts"]) - float(recent[0]["ts"]) <= 0.020001


def test_filter_is_the_kernels_grammar(run: Run, sample: list[str | Path]) -> None:
    done = run("parse", *sample, "--filter", 'next_pid == 0 && prev_comm ~ "wo*"')
    lines = [line for line in done.stdout.splitlines() if not line.startswith(b"#")]
    assert lines
    assert all(b"sched_switch: prev_comm=work" in line and b"next_pid=0 " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--event", "sched_swich"], "sched_switch"),
        (["--cpu", "one"], "--cpu 'one' is no list of CPUs"),
        (["--cpu", "0,9"], "--cpu 9: there is no such CPU; the region has CPUs 0-1"),
        (["--cpu", ""], "no list of CPUs"),
        (["--pid", "x"], "--pid 'x'"),
        (["--last", "0"], "--last 0: give how many events, 1 or more"),
        (["--last", "0o7"], "'0o7' is not a number"),
        (["--offset", "0o10"], "'0o10' is not a number"),
        (["--offset", "0b1"], "'0b1' is not a number"),
        (["--text-addr", "0x1ffffffffffffffffffff"], "'0x1ffffffffffffffffffff' has more than 64 bits"),
        (["--text-addr", "80000000"], "'80000000' may be decimal or hexadecimal; 0x80000000 is the hexadecimal one"),
        (["--text-addr", "-0x1000"], "'-0x1000' is no address: it is negative"),
        (["--raw-fields", "--text-delta", "-0x10000000000000000"], "'-0x10000000000000000' has more than 64 bits"),
        (["--since", "yesterday"], "'yesterday'"),
        (["--since", ""], "--since ''"),
        (["--until", ""], "--until ''"),
        (["--filter", "prev_pid == "], "filter"),
        (["--filter", "prev_pid ="], "filter"),
        (["--boot", "first"], "--boot"),
        (["--boot", "3"], "holds 1 boot,"),
        (["--clock", "sundial"], "--clock 'sundial'"),
        (["--policy", "2.4"], "6.12"),
        (["--offset", "here"], "'here'"),
        (["--offset", "-1"], "--offset -0x1 lies outside of the input, which ends at 0x200000\n"),
        (
            ["--offset", "99999999999", "-j2"],
            "--offset 0x174876e7ff lies outside of the input, which ends at 0x200000\n",
        ),
        (["--jobs", "0"], "--jobs"),
        (["--text-delta", "0x1000"], "--raw-fields"),
        (["--filter", "prev_pid == 0", "--filter", "next_pid == 0"], "--filter is given more than once"),
        (["-j2", "--jobs", "3"], "-j"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    run: Run, sample: list[str | Path], arguments: list[str], words: str
) -> None:
    done = run("parse", *sample, *arguments)
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_numbers_may_be_hexadecimal(run: Run, sample: list[str | Path], samples: Path) -> None:
    chosen = matches(run("parse", *sample, "--pid", "0x96", "--last", "0x2").stdout)
    assert [match["pid"] for match in chosen] == [b"150", b"150"]
    plain = run("parse", sample[0], "--event", "300", "--last", "5").stdout
    assert run("parse", sample[0], "--event", "0x12c", "--last", "0x5").stdout == plain
    given = ["parse", samples / "7.3.4-sched" / "region.bin.xz", "--kallsyms"]
    given += [samples / "7.3.4-modules" / "kallsyms.xz", "--text-addr"]
    said = [run(*given, addr).stderr for addr in ("0xffffffff98200800", "ffffffff98200800")]
    assert b"--text-addr 0xffffffff98200800" in said[0]
    assert said[0] == said[1]


def test_event_names_without_formats_are_not_guessed(run: Run, samples: Path) -> None:
    done = run("parse", samples / "6.12.43-sched" / "region.bin.xz", "--event", "sched_switch")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, b"")
    assert b"--vmlinux or --tracefs" in done.stderr
    assert b"did you mean" not in done.stderr


def test_jsonl_has_one_object_for_each_event(run: Run, sample: list[str | Path]) -> None:
    done = run("parse", *sample, "--jsonl", "--event", "sched_switch", "--last", "3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == 3
    for event in events:
        assert list(event) == ["ts", "cpu", "pid", "comm", "flags", "event", "fields", "text", "offset"]
        assert event["event"] == "sched:sched_switch"
        assert isinstance(event["fields"]["prev_comm"], str)
        assert isinstance(event["fields"]["next_pid"], int)


@pytest.mark.parametrize(
    "words",
    [
        "parse region.bin -j2",
        "parse -j 2 --kallsyms k region.bin --raw-fields",
        "parse --tracefs t region.bin --jobs=16",
        "parse region.bin --jsonl --jobs 04 --cpu 0 another",
    ],
)
def test_several_jobs_begin_before_the_options_are_read(words: str) -> None:
    assert guess_walk(words.split()) == "region.bin"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "parse",
        "--jobs 2",
        "info region.bin --jobs 2",
        "parse region.bin",
        "parse region.bin --jobs 1",
        "parse region.bin --jobs=",
        "parse region-j2 --last 2",
        "parse --jsonl region.bin --jobs 2",  # it may be the value of an option
        "parse - --jobs 2",
        "parse region.bin --jobs 2 --offset 4096",
        "parse region.bin --jobs 2 --strict",
        "parse region.bin --policy=6.12 --jobs 2",
        "parse region.bin --uncommitted --jobs 2",
    ],
)
def test_what_cannot_be_guessed_is_not_begun(words: str) -> None:
    assert guess_walk(words.split()) is None


@pytest.mark.parametrize("extra", [["--help"], ["--event", "no_such_event"], ["--no-such-option"]])
def test_what_was_begun_for_nothing_leaves_nothing(run: Run, sample: list[str | Path], extra: list[str]) -> None:
    one, two = (run("parse", *sample, *extra, *jobs) for jobs in ([], ["--jobs", "2"]))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)


@pytest.mark.parametrize("extra", [["--strict"], ["--uncommitted"], ["--offset", "0"], ["--raw-fields"], []])
def test_jobs_read_a_region_as_one_process_does(run: Run, sample: list[str | Path], extra: list[str]) -> None:
    one, two = (run("parse", *extra, *sample, *jobs) for jobs in ([], ["--jobs", "2"]))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)


def test_jobs_change_nothing(run: Run, sample: list[str | Path]) -> None:
    for extra in ([], ["--jsonl"], ["--raw-fields"]):
        assert run("parse", *sample, *extra, "--jobs", "4").stdout == run("parse", *sample, *extra).stdout


@pytest.mark.parametrize(
    ("source", "content", "status"),
    [
        ("--tracefs", b"no archive", ExitStatus.SOURCE),
        ("--kallsyms", b"no symbols\n", ExitStatus.SOURCE),
        ("--vmlinux", b"no kernel", ExitStatus.SOURCE),
        ("--tracefs", None, ExitStatus.SOURCE),
        ("--kallsyms", None, ExitStatus.SOURCE),
        ("--vmlinux", None, ExitStatus.SOURCE),
        ("--modules", None, ExitStatus.SOURCE),
    ],
)
def test_a_source_that_is_none(
    run: Run, samples: Path, tmp_path: Path, source: str, content: bytes | None, status: ExitStatus
) -> None:
    path = tmp_path / "source"
    if content is not None:
        path.write_bytes(content)
    done = run("parse", samples / "6.12.43-sched" / "region.bin.xz", source, path)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"rbdump: ")
    assert str(path).encode() in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_copy_of_another_word_size_is_refused(run: Run, samples: Path) -> None:
    done = run(
        "parse",
        samples / "6.12.43-sched" / "region.bin.xz",
        "--tracefs",
        samples / "armhf-6.12.107-sched" / "tracefs.tar.xz",
    )
    assert done.returncode == ExitStatus.WRONG_IMAGE
    assert b"32-bit" in done.stderr
