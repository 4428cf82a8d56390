# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.decompress import zstd
from rbdump.errors import SourceError
from rbdump.events import tree
from rbdump.events.format import FormatError, parse_format
from rbdump.events.tracefs import (
    load_tracefs,
    parse_clock,
    parse_eprobes,
    parse_printk_formats,
    parse_saved_cmdlines,
)

SAMPLES = Path(__file__).parents[2] / "samples"

COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)
HEADER_PAGE = (
    b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n"
    b"\tfield: char data;\toffset:12;\tsize:4084;\tsigned:0;\n"
)


def format_text(name: str, event_id: int) -> bytes:
    fields = "\tfield:unsigned long ip;\toffset:8;\tsize:4;\tsigned:0;\n"
    return f'name: {name}\nID: {event_id}\nformat:\n{COMMON}{fields}\nprint fmt: "%lx", REC->ip\n'.encode()


FILES = {
    "events/header_page": HEADER_PAGE,
    "events/sched/sched_switch/format": format_text("sched_switch", 300),
    "events/sched/sched_switch/id": b"300\n",
    "events/ftrace/function/format": format_text("function", 1),
    "printk_formats": b'0xc0001000 : "one\\ttwo\\n\\"x\\" \\ y"\n0xc0002000 : ""\n',
    "saved_cmdlines": b"1 init\n22 kworker/0:0 x\n-5 odd\n",
    "dynamic_events": b"e:eprobes/sw sched.sched_switch pid=$next_pid:u32\n",
    "trace_clock": b"[local] global counter\n",
}


def tar_of(files: dict[str, bytes], prefix: str = "", fmt: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def folder_of(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


def write(folder: Path, data: bytes) -> str:
    path = folder / "tracing.tar"
    path.write_bytes(data)
    return str(path)


def check_all(path: str) -> None:
    tracefs = load_tracefs(path)
    assert sorted(tracefs.formats) == [1, 300]
    assert tracefs.formats[300].system == "sched"
    assert tracefs.formats.names() == {("sched", "sched_switch"): 300, ("ftrace", "function"): 1}
    assert tracefs.formats.name_of(1) == ("ftrace", "function")
    assert tracefs.formats[1] == parse_format(
        format_text("function", 1).decode(), "ftrace", long_size=tracefs.long_size
    )
    assert tracefs.printk_formats == {0xC0001000: 'one\ttwo\n"x" \\ y', 0xC0002000: ""}
    assert tracefs.saved_cmdlines == {1: "init", 22: "kworker/0:0 x", -5: "odd"}
    assert tracefs.eprobes == {("eprobes", "sw"): "sched.sched_switch"}
    assert tracefs.clock == "local"
    assert tracefs.long_size == 4
    assert tracefs.findings == []


@pytest.mark.parametrize("prefix", ["", "./", "tracing/", "sys/kernel/tracing/", "/sys/kernel/tracing/", "./a/b/"])
@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_with_any_prefix(tmp_path: Path, prefix: str, fmt: int) -> None:
    check_all(write(tmp_path, tar_of(FILES, prefix, fmt)))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd.compress])
def test_a_compressed_tar(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    check_all(write(tmp_path, pack(tar_of(FILES, "tracing/"))))


def test_lines_may_end_as_windows_ends_them(tmp_path: Path) -> None:
    check_all(folder_of(tmp_path, {name: data.replace(b"\n", b"\r\n") for name, data in FILES.items()}))


def test_a_task_name_may_end_with_a_carriage_return(tmp_path: Path) -> None:
    tracefs = load_tracefs(folder_of(tmp_path, FILES | {"saved_cmdlines": b"1 init\n2 odd\r\n"}))
    assert tracefs.saved_cmdlines == {1: "init", 2: "odd\r"}


@pytest.mark.parametrize("prefix", ["", "sys/kernel/tracing/", "a/b/c/d/e/f/g/h/i/j/k/l/"])
def test_a_folder(tmp_path: Path, prefix: str) -> None:
    check_all(folder_of(tmp_path, {prefix + name: data for name, data in FILES.items()}))


def test_the_bare_events_folder(tmp_path: Path) -> None:
    files = {name.removeprefix("events/"): data for name, data in FILES.items() if name.startswith("events/")}
    for path in (folder_of(tmp_path / "events", files), write(tmp_path, tar_of(files))):
        tracefs = load_tracefs(path)
        assert sorted(tracefs.formats) == [1, 300]
        assert tracefs.long_size == 4
        assert tracefs.clock is None


@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_paths(tmp_path: Path, fmt: int) -> None:
    name = "n" * 60
    files = {f"{'p' * 80}/events/{'s' * 20}/{name}/format": format_text(name, 7)}
    assert load_tracefs(write(tmp_path, tar_of(files, fmt=fmt))).formats[7].name == name


def test_instances_give_the_clock_and_no_second_formats(tmp_path: Path) -> None:
    twin = {f"instances/boot/{name}": data for name, data in FILES.items()}
    twin["instances/boot/trace_clock"] = b"local [counter] mono\n"
    tracefs = load_tracefs(write(tmp_path, tar_of(twin | FILES)))
    assert (tracefs.clock, len(tracefs.formats), tracefs.findings) == ("counter", 2, [])
    twin["instances/other/trace_clock"] = b"local counter [mono]\n"
    tracefs = load_tracefs(write(tmp_path, tar_of(twin | FILES)))
    assert tracefs.clock == "local"
    assert [f.code for f in tracefs.findings] == ["tracefs-several-clocks"]


def test_a_copy_of_the_instance_alone(tmp_path: Path) -> None:
    tracefs = load_tracefs(write(tmp_path, tar_of(FILES, "tracing/instances/boot_map/")))
    assert sorted(tracefs.formats) == [1, 300]
    assert tracefs.clock == "local"


def test_two_copies_in_one_archive_are_said(tmp_path: Path) -> None:
    files = {f"a/{n}": d for n, d in FILES.items()} | {"b/events/x/y/format": format_text("y", 9)}
    tracefs = load_tracefs(write(tmp_path, tar_of(files)))
    assert sorted(tracefs.formats) == [1, 300]
    assert [f.code for f in tracefs.findings] == ["tracefs-several"]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("events/header_page", b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n", "tracefs-broken-header"),
        ("events/irq/irq_entry/format", b"", "tracefs-empty-format"),
        ("events/irq/irq_entry/format", b"name: irq_entry\n", "tracefs-broken-format"),
    ],
)
def test_what_is_wrong_with_one_file_is_said(tmp_path: Path, name: str, data: bytes, code: str) -> None:
    tracefs = load_tracefs(folder_of(tmp_path, FILES | {name: data}))
    assert [finding.code for finding in tracefs.findings] == [code]
    assert tracefs.long_size == (None if code == "tracefs-broken-header" else 4)
    assert sorted(tracefs.formats) == [1, 300]


def test_an_archive_of_mounted_tracefs_has_only_empty_files(tmp_path: Path) -> None:
    path = write(tmp_path, tar_of(dict.fromkeys(FILES, b"")))
    with pytest.raises(SourceError, match="do `cp --parents events/header_"):
        load_tracefs(path)


def test_paths_in_the_tar_are_never_followed(tmp_path: Path) -> None:
    files = {"../../../../tmp/events/s/evil/format": format_text("evil", 8)}
    tracefs = load_tracefs(write(tmp_path, tar_of(files)))
    assert tracefs.formats[8].name == "evil"
    assert [p.name for p in tmp_path.iterdir()] == ["tracing.tar"]


def test_links_in_the_tar(tmp_path: Path) -> None:
    out = io.BytesIO(tar_of(FILES))
    with tarfile.open(fileobj=out, mode="a") as archive:
        for name, target, kind in (
            ("events/sched/alias/format", "events/ftrace/function/format", tarfile.LNKTYPE),
            ("events/sched/soft/format", "/etc/passwd", tarfile.SYMTYPE),
            ("trace_clock", "instances/x/clock", tarfile.SYMTYPE),
            ("instances/x/clock", "../../clock", tarfile.SYMTYPE),
            ("events/sched/loop/format", "format", tarfile.SYMTYPE),
            ("printk_formats", "there/../" * 20 + "strings", tarfile.SYMTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        for name, data in (("clock", b"local [mono]\n"), ("strings", b'0xc0001000 : "one"\n')):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    tracefs = load_tracefs(write(tmp_path, out.getvalue()))
    assert sorted(tracefs.formats) == [1, 300]
    assert (tracefs.clock, tracefs.printk_formats) == ("mono", {0xC0001000: "one"})
    # a hard link is the same text, so its id is taken
    assert [f.code for f in tracefs.findings] == ["tracefs-broken-format", "tracefs-unreadable"]
    assert tracefs.findings[1].message.endswith(
        "2 could not be read, first events/sched/soft/format: is a link to /etc/passwd, which is no file of the archive"
    )


def test_links_in_a_folder(tmp_path: Path) -> None:
    path = folder_of(tmp_path, FILES)
    (tmp_path / "trace_clock").rename(tmp_path / "clock")
    (tmp_path / "trace_clock").symlink_to("clock")
    (tmp_path / "more").symlink_to("events")
    tracefs = load_tracefs(path)
    assert (sorted(tracefs.formats), tracefs.clock) == ([1, 300], "local")
    assert [f.message for f in tracefs.findings] == [
        f"{path}: of its files and folders 1 could not be read, first more: is a link to a folder, and is not followed"
    ]


def test_side_files_without_formats(tmp_path: Path) -> None:
    tracefs = load_tracefs(write(tmp_path, tar_of({"t/saved_cmdlines": b"1 init\n", "t/trace_clock": b"[mono]\n"})))
    assert (tracefs.saved_cmdlines, tracefs.clock, len(tracefs.formats)) == ({1: "init"}, "mono", 0)
    assert [f.code for f in tracefs.findings] == ["tracefs-no-formats"]


def test_what_is_no_copy_of_tracefs(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="looks like text"):
        load_tracefs(write(tmp_path, b"hello\n" * 200))
    with pytest.raises(SourceError, match="holds no event formats"):
        load_tracefs(write(tmp_path, tar_of({"readme": b"x"})))
    with pytest.raises(SourceError, match="holds no event formats"):
        load_tracefs(str(tmp_path))
    with pytest.raises(SourceError, match="No such file"):
        load_tracefs(str(tmp_path / "missing"))


def test_files_named_format_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none of its files named `format`"):
        load_tracefs(write(tmp_path, tar_of({"docs/a/b/format": b"about formats\n"})))


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    path = folder_of(tmp_path, FILES)
    (tmp_path / "events" / "sched" / "gone").mkdir()
    (tmp_path / "events" / "sched" / "gone" / "format").symlink_to("nowhere")
    tracefs = load_tracefs(path)
    assert sorted(tracefs.formats) == [1, 300]
    assert [f.code for f in tracefs.findings] == ["tracefs-unreadable"]
    assert "1 could not be read, first events/sched/gone/format: No such file or" in tracefs.findings[0].message


@pytest.mark.parametrize("name", ["printk_formats", "events/sched/sched_switch/format"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, name: str) -> None:
    path = folder_of(tmp_path, FILES)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/null")
    tracefs = load_tracefs(path)
    assert [f.code for f in tracefs.findings] == ["tracefs-unreadable"]
    assert f"1 could not be read, first {name}: is no regular file" in tracefs.findings[0].message


def test_folders_that_must_not_be_listed_are_not_empty(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    path = folder_of(tmp_path, FILES)
    lock(tmp_path / "events" / "sched")
    tracefs = load_tracefs(path)
    assert sorted(tracefs.formats) == [1]
    assert [f.code for f in tracefs.findings] == ["tracefs-unreadable"]
    assert "1 could not be read, first events/sched: Permission denied" in tracefs.findings[0].message
    lock(tmp_path)
    with pytest.raises(SourceError, match=f"{path}: cannot be read: Permission denied"):
        load_tracefs(path)


def test_a_copy_whose_folders_must_not_be_listed_is_not_empty(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    (tmp_path / "tracing").mkdir()
    lock(tmp_path / "tracing")
    with pytest.raises(SourceError, match="nothing in it can be read: tracing: Permission denied"):
        load_tracefs(str(tmp_path))


def test_broken_formats_are_said_once_and_the_others_work(tmp_path: Path) -> None:
    files = FILES | {"events/x/bad/format": b"nonsense\n", "events/x/half/format": format_text("half", 5)[:120]}
    tracefs = load_tracefs(write(tmp_path, tar_of(files)))
    assert [f.code for f in tracefs.findings] == ["tracefs-broken-format"]
    assert tracefs.formats[300].id == 300
    with pytest.raises(FormatError, match="format of x:half"):
        tracefs.formats[5]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("pack", [bytes, lzma.compress])
def test_a_truncated_archive_yields_what_it_holds(tmp_path: Path, keep: float, pack: Callable[[bytes], bytes]) -> None:
    files = {f"events/s/e{i}/format": format_text(f"e{i}", i) for i in range(100, 400)}
    data = pack(tar_of(files)[: -10240 + 1024])
    tracefs = load_tracefs(write(tmp_path, data[: int(len(data) * keep)]))
    assert 0 < len(tracefs.formats) < 300
    assert tracefs.findings
    assert all(tracefs.formats[i].name == f"e{i}" for i in tracefs.formats)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_archives_give_findings_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(tar_of(FILES, "t/", data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    # Header checksums are made right again, so that mutated sizes and paths are believed.
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar":
            raw[at + 148 : at + 156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])
    path = write(tmp_path_factory.mktemp("tar"), bytes(raw))
    try:
        tracefs = load_tracefs(path)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most mutations still load
        return
    for event_id in tracefs.formats:
        try:
            assert tracefs.formats[event_id].id == event_id
        except FormatError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_side_file_grammars() -> None:
    # Addresses repeat, as they do in files of real kernels; lines that are none are passed over.
    text = b'0x10 : "a"\n0x10 : "a"\nnoise\n0xffffffff81000000 : "q\\"\\n"\n0xzz : "b"\n'
    assert parse_printk_formats(text) == {0x10: "a", 0xFFFFFFFF81000000: 'q"\n'}
    assert parse_saved_cmdlines(b"1 a\n2 \n x y\n3 b \xff\n") == {1: "a", 2: "\n x y", 3: "b \udcff"}
    assert parse_saved_cmdlines(b"1 a\n2 b\n\n") == {1: "a", 2: "b\n"}
    assert parse_saved_cmdlines(b"1 a\n2\n2 \n") == {1: "a\n2", 2: ""}
    assert parse_saved_cmdlines(b"1 longer than a name\nx\n2 c") == {1: "longer than a name", 2: "c"}
    assert parse_clock(b"local [x86-tsc]\n") == "x86-tsc"
    assert parse_clock(b"local\n") is None


def test_eprobes_of_dynamic_events() -> None:
    text = (
        b"p:kprobes/x vfs_read\ne:mine/a.b syscalls.sys_enter_openat dfd=$dfd\n# args\ne:mine/bare sched.sched_waking\n"
    )
    assert parse_eprobes(text) == {
        ("mine", "a.b"): "syscalls.sys_enter_openat",
        ("mine", "bare"): "sched.sched_waking",
    }


@pytest.mark.parametrize("sample", sorted(p.parent.name for p in SAMPLES.glob("*/tracefs.tar.xz")))
def test_every_format_of_the_samples_parses(sample: str) -> None:
    tracefs = load_tracefs(str(SAMPLES / sample / "tracefs.tar.xz"))
    assert tracefs.findings == []
    assert len(tracefs.formats) > 1000
    for event_id, fmt in tracefs.formats.items():
        assert fmt.id == event_id
        assert fmt.fields or fmt.name
        assert fmt.print_fmt
    assert tracefs.long_size == (4 if sample.startswith("armhf") else 8)
    assert tracefs.clock
    assert tracefs.printk_formats
    assert tracefs.header_event is not None


def test_more_files_than_tracefs_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "folder", FILES)
    monkeypatch.setattr(tree, "_MAX_FILES", len(FILES))
    check_all(folder)
    check_all(write(tmp_path, tar_of(FILES)))
    monkeypatch.setattr(tree, "_MAX_FILES", len(FILES) - 1)
    with pytest.raises(SourceError, match=f"holds more than {len(FILES) - 1} files; name the folder"):
        load_tracefs(folder)
    (finding,) = load_tracefs(write(tmp_path, tar_of(FILES))).findings
    assert f"lies behind {len(FILES) - 1} members, and no more are read" in finding.message


def test_a_size_without_digits_is_no_size(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in (("events/s/one/format", {}), ("events/s/two/format", {"size": ""})):
            text = format_text("one", 300)
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(text), headers
            archive.addfile(member, io.BytesIO(text))
    tracefs = load_tracefs(write(tmp_path, out.getvalue()))
    assert list(tracefs.formats) == [300]
    assert "begins a member that ends outside the archive" in tracefs.findings[0].message
