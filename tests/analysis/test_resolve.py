# SPDX-License-Identifier: Apache-2.0
"""Names for the addresses in a text: as it comes, with the right kernel only, and nothing else touched."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import select
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from rbdump.analysis import texts
from rbdump.analysis.placing import Placer
from rbdump.analysis.resolve import TextResolver, filter_text
from rbdump.analysis.texts import look_into, read_pieces
from rbdump.errors import SourceError, WrongImageError
from tests.analysis.oopses import (
    KERNEL,
    OTHER,
    SLIDE,
    kernel_offset,
    mark,
    name_of,
    named,
    names_in,
    placer,
    stack,
)
from tests.conftest import SAMPLES, Run, command
from tests.symbols.codewriter import BASE


def test_addresses_of_parse_output_are_named(images: Path) -> None:
    resolver = TextResolver(placer(images))
    out = resolver.feed(mark() + b"x: len=4 ptr=ffff9c1a4102c800\n" + stack()) + resolver.finish()
    lines = out.decode().splitlines()
    assert "\n".join(lines[:5]).encode() == (mark() + b"x: len=4 ptr=ffff9c1a4102c800").rstrip(b"\n")
    assert len(lines) == 5 + 12
    for line, site in zip(lines[5:], KERNEL.call_sites[::7], strict=False):
        assert line.startswith(f" => {name_of(site)}")
    assert [finding.code for finding in resolver.findings] == ["image-verified"]


def test_text_without_addresses_is_passed_on_untouched(images: Path) -> None:
    resolver = TextResolver(placer(images))
    text = mark() + b"nothing here\n\n\xff\xfe 0x12 ffffffff00000000\r\n" * 100
    assert resolver.feed(text) + resolver.finish() == text
    assert resolver.findings == []


def soon(fd: int) -> bytes:
    """What can be read within ten seconds; nothing if the other side has died."""
    ready, _, _ = select.select([fd], [], [], 10)
    return os.read(fd, 1 << 16) if ready else b""


@pytest.mark.parametrize(
    "pieces",
    [read_pieces, lambda path: look_into(path).text, lambda path: look_into(path, stream=True).text],
)
def test_lines_are_passed_on_as_they_come(images: Path, pieces: Callable[[str], Iterable[bytes]]) -> None:
    read, write = os.pipe()
    back_read, back_write = os.pipe()
    resolver = TextResolver(placer(images))
    worker = threading.Thread(target=lambda: filter_text(resolver, pieces(f"/dev/fd/{read}"), back_write))
    worker.start()
    try:
        os.write(write, b"one\n")
        assert soon(back_read) == b"one\n"
        os.write(write, mark() + stack(count=1)[:9])
        assert soon(back_read) == mark()  # the line that is not complete is held
        os.write(write, stack(count=1)[9:])
        assert soon(back_read).startswith(f" => {name_of(KERNEL.call_sites[0])}".encode())
        os.write(write, b"the last line has no newline")
    finally:
        os.close(write)
        worker.join(10)
    assert soon(back_read) == b"the last line has no newline"
    for fd in (read, back_read, back_write):
        os.close(fd)


def test_a_console_that_begins_with_noise_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"\0\xf0\0[    0.000000] Linux\n", b"[    0.000000] Command line: console=ttyS0,115200 quiet\n"]

    def live(path: str) -> Iterator[bytes]:
        yield from lines
        pytest.fail("the stream goes on for ever")

    monkeypatch.setattr(texts, "read_pieces", live)
    text = look_into(os.devnull, stream=True).text
    assert text is not None
    assert next(iter(text)) == b"".join(lines)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_where_the_text_is_cut_makes_no_difference(images: Path, size: int) -> None:
    text = mark() + stack(count=30) + b"end"
    whole = TextResolver(placer(images))
    expected = whole.feed(text) + whole.finish()
    pieces = TextResolver(placer(images))
    out = b"".join(pieces.feed(text[at : at + size]) for at in range(0, len(text), size)) + pieces.finish()
    assert out == expected
    assert expected.count(b"function_") == 30


def test_another_kernel_is_refused_with_figures(images: Path) -> None:
    with pytest.raises(WrongImageError, match=r"other is not the kernel .* of \d+ distinct code addresses"):
        TextResolver(placer(images, "other")).feed(mark() + stack(count=40))
    forced = TextResolver(placer(images, "other", force=True))
    assert b"function_" in forced.feed(mark() + stack(count=40))


def test_another_kernel_is_refused_as_soon_as_addresses_show_it(images: Path) -> None:
    resolver = TextResolver(placer(images, "other"))
    resolver.feed(mark() + stack(count=3))
    many = b"".join(stack(count=3, begin=begin * 5) for begin in range(1, 40))
    with pytest.raises(WrongImageError):
        resolver.feed(many)


def test_the_first_image_that_fits_is_taken(images: Path) -> None:
    both = Placer([str(images / "other"), str(images / "vmlinux")], cache=False)
    assert TextResolver(both).feed(mark() + stack()).count(b"=> function_") == 12


def test_an_oops_says_where_the_kernel_was(images: Path) -> None:
    addr = KERNEL.call_sites[5] + SLIDE
    oops = (
        f"[   12.0] RIP: 0010:0x{addr:x}\n[   12.0] Call Trace:\n[   12.0]  [<{addr:016x}>] ?\n"
        f"[   12.1] Kernel Offset: {SLIDE:#x} from {BASE:#x} (relocation range: {BASE:#x}-0xffffffffbfffffff)\n"
    ).encode()
    out = TextResolver(placer(images)).feed(oops).decode()
    assert f"RIP: 0010:{name_of(KERNEL.call_sites[5])}" in out
    assert f"[<{name_of(KERNEL.call_sites[5])}" in out
    disabled = f"RIP: 0010:0x{addr - SLIDE:x}\nKernel Offset: disabled\n".encode()
    assert b"RIP: 0010:function_" in TextResolver(placer(images)).feed(disabled)


@pytest.mark.parametrize("name", ["System.map", "kallsyms"])
@pytest.mark.parametrize("slide", [SLIDE, 0x0600_0000])
def test_an_oops_says_where_the_kernel_was_whatever_boot_the_list_is_of(images: Path, name: str, slide: int) -> None:
    resolver = TextResolver(Placer(kallsyms=str(images / name)))
    out = resolver.feed(stack(slide, 3) + kernel_offset(slide))
    assert out.count(b"=> function_") == 3
    assert resolver.findings == []


def test_without_any_hint_the_addresses_tell(images: Path) -> None:
    assert TextResolver(placer(images)).feed(stack(count=40)).count(b"=> function_") == 40


def test_too_few_addresses_without_a_hint_are_left_and_it_is_said(images: Path) -> None:
    resolver = TextResolver(placer(images))
    text = stack(count=2)
    assert resolver.feed(text) + resolver.finish() == text
    assert [finding.code for finding in resolver.findings] == ["no-text-addr"]
    given = TextResolver(placer(images, text_addr=BASE + SLIDE))
    assert given.feed(text).count(b"=> function_") == 2


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"", {"text_addr": BASE + 0x3000_0000}, r"with _text at 0xffffffffb1000000 \(--text-addr\)"),
        (kernel_offset(0x3000_0000), {}, r"where the Kernel Offset line puts them \(0x30000000\)"),
        (b"Kernel Offset: disabled\n", {}, r"where the Kernel Offset line puts them \(disabled\)"),
        (b"", {}, ";"),
    ],
)
def test_a_place_where_nothing_has_a_name_is_said(
    images: Path, text: bytes, options: dict[str, int], message: str
) -> None:
    text = b" RSP: ffffb1a2c0123e18 RAX: ffffffffffffffda\n" + stack(count=3) + text
    resolver = TextResolver(Placer(kallsyms=str(images / "System.map"), **options))  # type: ignore[arg-type]
    assert resolver.feed(text) + resolver.finish() == text
    (finding,) = resolver.findings
    assert (finding.severity, finding.code) == ("warning", "address-unknown")
    assert re.match(f"none of 3 kernel addresses in the text is in the symbols ?{message}", finding.message)


def test_a_trace_whose_place_is_wrong_is_said_and_a_module_that_is_not_listed_is_not(images: Path) -> None:
    resolver = TextResolver(Placer(kallsyms=str(images / "System.map")))
    resolver.feed(mark(0x3000_0000) + stack(count=3))
    resolver.finish()
    assert "where the # rbdump: lines put them" in resolver.findings[-1].message
    right = TextResolver(Placer(kallsyms=str(images / "System.map")))
    right.feed(b" => 0xffffffffc0123456\n" + stack(count=3) + kernel_offset(SLIDE))
    right.finish()
    assert "address-unknown" not in [finding.code for finding in right.findings]


@pytest.mark.parametrize("name", ["vmlinux", "System.map", "kallsyms"])
def test_a_text_that_contradicts_the_user_is_said(images: Path, name: str) -> None:
    def place() -> Placer:
        vmlinux, kallsyms = ([str(images / name)], None) if name == "vmlinux" else ([], str(images / name))
        return Placer(vmlinux, kallsyms=kallsyms, cache=False, text_addr=BASE + SLIDE)

    resolver = TextResolver(place())
    assert names_in(resolver.feed(stack(count=3) + kernel_offset(0x0600_0000))) == named(0)
    resolver.finish()
    message = "--text-addr 0xffffffff9d000000 is used, against the Kernel Offset line, which puts _text at "
    message += "0xffffffff87000000"
    assert [one.message for one in resolver.findings if one.code == "text-addr-contradicted"] == [message]
    agreeing = TextResolver(place())
    agreeing.feed(stack(count=3) + kernel_offset(SLIDE))
    agreeing.finish()
    assert "text-addr-contradicted" not in [finding.code for finding in agreeing.findings]


def test_every_trace_in_a_text_has_its_own_place(images: Path) -> None:
    text = mark() + stack() + mark(0x0600_0000) + stack(0x0600_0000)
    resolver = TextResolver(placer(images))
    out = resolver.feed(text) + resolver.finish()
    first, second = out.split(mark(0x0600_0000))
    assert first.removeprefix(mark()) == second


def test_a_system_map_serves_as_well(images: Path) -> None:
    resolver = TextResolver(Placer(kallsyms=str(images / "System.map")))
    assert resolver.feed(mark() + stack()).count(b"=> function_") == 12


def test_a_line_that_never_ends_is_passed_on_in_pieces(images: Path) -> None:
    resolver = TextResolver(placer(images))
    assert len(resolver.feed(b"x" * (3 << 20))) == 3 << 20


def test_a_list_is_no_image(images: Path) -> None:
    with pytest.raises(SourceError, match="is no kernel image"):
        Placer([str(images / "System.map")], cache=False)


def test_command(run: Run, images: Path, tmp_path: Path) -> None:
    vmlinux = images / "vmlinux"
    done = run("resolve", "--vmlinux", vmlinux, stdin=mark() + stack())
    assert (done.returncode, done.stdout.count(b"=> function_"), done.stderr) == (0, 12, b"")
    kept = run("resolve", "--keep", "--vmlinux", vmlinux, stdin=mark() + stack())
    assert kept.stdout.count(b" function_") == 12
    assert kept.stdout.count(b"=> 0xffffffff9") == 12
    text = tmp_path / "trace.txt"
    text.write_bytes(mark() + stack())
    assert run("resolve", "--vmlinux", vmlinux, text).stdout == done.stdout
    wrong = run("resolve", "--vmlinux", images / "other", stdin=mark() + stack(count=40))
    assert (wrong.returncode, wrong.stdout) == (6, b"")
    assert b"is not the kernel" in wrong.stderr
    one = run("resolve", "--vmlinux", vmlinux, f"{KERNEL.functions[3]:x}")
    assert one.stdout.endswith(b"kernel/sched/three.c:70\n")


def test_lines_stand_behind_names_too(run: Run, images: Path) -> None:
    vmlinux = ("--vmlinux", images / "vmlinux", "--no-cache")
    name = run("resolve", *vmlinux, f"{KERNEL.functions[3] + 4:#x}").stdout.split()[0]
    other = name.replace(b"/0x", b"/0x1")
    text = b" ? %b\n  %b (P)\n %b [mod]\n %b\n0x%x\n" % (name, name, name, other, KERNEL.functions[3] + 4)
    wanted = b" ? %b (kernel/sched/three.c:71)\n  %b (kernel/sched/three.c:71) (P)\n" % (name, name)
    wanted += b" %b [mod]\n %b\n%b (kernel/sched/three.c:71)\n" % (name, other, name)
    done = run("resolve", "--lines", *vmlinux, "--text-addr", f"{BASE:#x}", stdin=text)
    assert done.stdout == wanted
    listed = ("--kallsyms", images / "System.map")
    assert run("resolve", "--lines", *vmlinux, *listed, stdin=text).stdout == wanted
    assert b"three.c" not in run("resolve", *vmlinux, stdin=text).stdout


def test_that_lines_are_missing_is_said(run: Run, images: Path) -> None:
    for source in (("--vmlinux", images / "other"), ("--kallsyms", images / "System.map")):
        for arguments in ((), (f"{OTHER.functions[3]:#x}",)):
            done = run("resolve", "--lines", "--no-cache", *source, *arguments)
            assert b"no-lines: --lines adds nothing: --vmlinux names no image with DWARF" in done.stderr
    assert b"no-lines" not in run("resolve", "--lines", "--vmlinux", images / "vmlinux").stderr


def through_a_pipe(content: bytes, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """`rbdump resolve ARGUMENT... <(content)`."""
    read, write = os.pipe()
    with subprocess.Popen(
        command("resolve", *arguments, f"/dev/fd/{read}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[read],
    ) as process:
        os.close(read)
        with open(write, "wb") as file:
            file.write(content)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_a_text_may_come_in_any_way(run: Run, images: Path, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    source = ("--vmlinux", images / "vmlinux", "--no-cache")
    text = mark() + stack() + b"the end\n" * 1000
    wanted = run("resolve", *source, stdin=text).stdout
    assert wanted.count(b"=> function_") == 12
    (tmp_path / "text").write_bytes(pack(text))
    assert run("resolve", *source, tmp_path / "text").stdout == wanted
    assert run("resolve", *source, stdin=pack(text)).stdout == wanted
    assert run("resolve", *source, "-", stdin=pack(text)).stdout == wanted
    assert through_a_pipe(pack(text), *source).stdout == wanted


@pytest.mark.parametrize("pack", [lzma.decompress, bytes], ids=["plain", "xz"])
def test_a_region_may_come_in_any_way(run: Run, samples: Path, pack: Callable[[bytes], bytes]) -> None:
    folder = samples / "6.12.43-function"
    source = ("--kallsyms", folder / "kallsyms.xz")
    wanted = run("resolve", *source, folder / "region.bin.xz").stdout
    assert b": schedule_idle <-do_idle" in wanted
    content = pack((folder / "region.bin.xz").read_bytes())
    assert run("resolve", *source, stdin=content).stdout == wanted
    assert run("resolve", *source, "-", stdin=content).stdout == wanted
    assert through_a_pipe(content, *source).stdout == wanted


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_text_may_have_stray_control_bytes(
    run: Run, images: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    source = ("--vmlinux", images / "vmlinux", "--no-cache")
    text = b"\0\x01" + stack(count=3) + b"\x1b[0m" + kernel_offset(SLIDE)
    (tmp_path / "log").write_bytes(pack(text))
    done = run("resolve", *source, tmp_path / "log")
    assert (done.returncode, done.stdout.count(b"=> function_"), done.stdout[:2]) == (0, 3, b"\0\x01")
    assert run("resolve", *source, stdin=pack(text)).stdout == done.stdout
    assert run("resolve", *source, "-", stdin=pack(text)).stdout == done.stdout
    assert through_a_pipe(pack(text), *source).stdout == done.stdout


def test_a_region_behind_text_with_stray_control_bytes_is_one(run: Run, samples: Path, tmp_path: Path) -> None:
    folder = samples / "6.12.43-function"
    region = lzma.decompress((folder / "region.bin.xz").read_bytes())
    (tmp_path / "dump").write_bytes(b"\0" + b"the console said this\n" * 400 + region)
    done = run("resolve", "--kallsyms", folder / "kallsyms.xz", tmp_path / "dump")
    assert done.stdout == run("resolve", "--kallsyms", folder / "kallsyms.xz", folder / "region.bin.xz").stdout
    (tmp_path / "trace.dat").write_bytes(b"\x17\x08\x44tracing6\0" + b"field: unsigned short common_type;\n" * 400)
    refused = run("resolve", "--kallsyms", folder / "kallsyms.xz", tmp_path / "trace.dat")
    assert (refused.returncode, b"looks like a trace.dat file" in refused.stderr) == (3, True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_said(run: Run, images: Path, tmp_path: Path, encoding: str) -> None:
    text = "hello\n".encode(encoding)
    (tmp_path / "log").write_bytes(text)
    for arguments, stdin in (((tmp_path / "log",), b""), (("-",), text), ((), text)):
        done = run("resolve", "--vmlinux", images / "vmlinux", *arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (4, b"")
        assert b"is text in UTF-16; convert it with: iconv -f UTF-16 -t UTF-8\n" in done.stderr


def test_what_is_neither_text_nor_region_is_refused(run: Run, images: Path) -> None:
    source = ("--vmlinux", images / "vmlinux")
    none = run("resolve", *source, "-")
    assert (none.returncode, none.stderr) == (4, b"rbdump: standard input: is empty\n")
    zeros = run("resolve", *source, "-", stdin=gzip.compress(bytes(1 << 16)))
    assert (zeros.returncode, b"all zero bytes" in zeros.stderr) == (3, True)


def test_damage_of_a_compressed_text_is_said(run: Run, images: Path) -> None:
    text = gzip.compress(mark() + stack() + bytes(range(32, 127)) * 100)
    done = run("resolve", "--vmlinux", images / "vmlinux", "-", stdin=text[:-12])
    assert done.stdout.count(b"=> function_") == 12
    assert done.stderr.startswith(b"rbdump: error: compressed-input-truncated: ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, b"--vmlinux"),
        (("--vmlinux", "VMLINUX", "/no/such/region"), 4, b"no such file"),
        (("--vmlinux", "VMLINUX", "deadbeef"), 2, b"./deadbeef is the file"),
        (("--vmlinux", "VMLINUX", "VMLINUX", "deadbeef0"), 2, b"one file at a time"),
        (("--vmlinux", "VMLINUX", "VMLINUX"), 3, b"ELF"),
        (("--vmlinux", "VMLINUX", "--keep", "0xffffffff81000040"), 2, b"--keep is for text"),
        (("--vmlinux", "VMLINUX", "--keep", str(SAMPLES / "6.12.43-sched/region.bin.xz")), 2, b"are for text"),
    ],
)
def test_command_line_errors(
    run: Run,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    message: bytes,
) -> None:
    (tmp_path / "deadbeef").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    done = run("resolve", *(argument.replace("VMLINUX", str(images / "vmlinux")) for argument in arguments))
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count(b"\n") == 1
