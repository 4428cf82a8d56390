# SPDX-License-Identifier: Apache-2.0
"""A kernel image alone: the formats, names and strings of a region come from it, and so do lists of its events."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

import rbdump
from rbdump.errors import ExitStatus, WrongImageError
from rbdump.events.tracefs import load_tracefs
from tests.analysis.oopses import KERNEL, OTHER, SLIDE, name_of
from tests.conftest import Run
from tests.eventwriter import EventWriter, FakeImage
from tests.kernel.types.test_dwarf import described
from tests.kowriter import KoWriter
from tests.ringwriter import Item, write_region
from tests.symbols.codewriter import BASE, write_vmlinux
from tests.typeswriter import type_sections

FUNCTION, STACK, BPUTS = 1, 4, 15
MODULE = 0xFFFF_FFFF_C060_0000
TOY = 21
"""The first id behind __TRACE_LAST_TYPE of the writer."""


def event_writer() -> tuple[EventWriter, int]:
    """An event and a string of trace_puts(), with its address."""
    out = EventWriter(base=BASE + 0x30_0000)
    out.event("toy", "toy_open", [("int", "fd", 4, 4, True, 0)], '"fd=%d", REC->fd')
    return out, out.printk("a constant\n", "__trace_bprintk_fmt")


def events(*, btf: bool = True) -> tuple[FakeImage, int]:
    """The memory of these, and the address of the string."""
    out, addr = event_writer()
    return out.build(btf=btf), addr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `region.bin` and the images `vmlinux`, `other` (of another kernel) and `bare` (without types)."""
    path = tmp_path_factory.mktemp("one")
    for name, kernel, btf in (("vmlinux", KERNEL, True), ("other", OTHER, True), ("bare", KERNEL, False)):
        (path / name).write_bytes(write_vmlinux(kernel, events=events(btf=btf)[0]))
    sites = [site + SLIDE for site in KERNEL.call_sites[::9]]
    items: list[Item] = [
        (1000, record(TOY, struct.pack("<i", -3))),
        (1001, record(BPUTS, struct.pack("<QQ", sites[0], events()[1] + SLIDE))),
    ]
    for at in range(0, len(sites), 8):
        some = sites[at : at + 8]
        items.append((1100 + at, record(STACK, struct.pack(f"<i4x{len(some)}Q", len(some), *some))))
    (path / "region.bin").write_bytes(write_region([items], text_addr=BASE + SLIDE, nr_subbufs=16))
    return path


def record(event_id: int, body: bytes) -> bytes:
    return struct.pack("<HBBi", event_id, 0, 0, 7) + body


def bodies(trace: rbdump.Trace) -> list[str]:
    """The text of each line, without the columns in front."""
    return [line.split(": ", 1)[-1] for line in trace.lines()]


def test_the_image_gives_formats_names_and_strings(folder: Path) -> None:
    trace = rbdump.open(folder / "region.bin", vmlinux=folder / "vmlinux", cache=False)
    lines = bodies(trace)
    assert lines[:2] == ["toy_open: fd=-3", f"{function_of(0)}: a constant"]
    named = [f" => {function_of(site)}" for site in range(0, len(KERNEL.call_sites), 9)]
    assert [line for line in lines if line.startswith(" => ")] == named
    assert [finding.code for finding in trace.findings] == ["image-verified"]


def function_of(site: int) -> str:
    return name_of(KERNEL.call_sites[site]).split("+")[0]


def test_strings_of_tracefs_come_before_those_of_the_image(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "printk_formats").write_text(f'{events()[1] + SLIDE:#x} : "of tracefs\\n"\n0x10 : "other"\n')
    trace = rbdump.open(folder / "region.bin", vmlinux=folder / "vmlinux", tracefs=tmp_path, cache=False)
    assert bodies(trace)[1] == f"{function_of(0)}: of tracefs"


def test_a_list_of_symbols_comes_before_those_of_the_image(folder: Path, tmp_path: Path) -> None:
    symbols = KERNEL.symbols
    rows = zip(symbols.addrs.tolist(), symbols.types.tolist(), symbols.names, strict=True)
    lines = [f"{addr + SLIDE:x} {chr(kind)} {name.replace('function', 'listed')}\n" for addr, kind, name in rows]
    (tmp_path / "kallsyms").write_text("".join(lines))
    trace = rbdump.open(folder / "region.bin", vmlinux=folder / "vmlinux", kallsyms=tmp_path / "kallsyms", cache=False)
    assert bodies(trace)[:2] == ["toy_open: fd=-3", f"{function_of(0).replace('function', 'listed')}: a constant"]


def test_an_image_without_types_gives_the_rest(folder: Path) -> None:
    trace = rbdump.open(folder / "region.bin", vmlinux=folder / "bare", cache=False)
    assert bodies(trace)[:2] == [f"id={TOY} (no format) raw=fdffffff", f"{function_of(0)}: a constant"]
    found = {finding.code: finding for finding in trace.findings}
    assert found.keys() == {"image-without-formats", "image-verified", "unknown-event"}
    assert "neither BTF nor DWARF" in found["image-without-formats"].message


def test_an_image_without_btf_gives_formats_by_its_dwarf(folder: Path, tmp_path: Path) -> None:
    out = event_writer()[0]
    built = out.build(btf=False)
    debug = type_sections(built.abi, [described(out)])
    (tmp_path / "vmlinux").write_bytes(write_vmlinux(KERNEL, debug, built))
    trace = rbdump.open(folder / "region.bin", vmlinux=tmp_path / "vmlinux", cache=False)
    assert bodies(trace)[:2] == ["toy_open: fd=-3", f"{function_of(0)}: a constant"]
    assert [finding.code for finding in trace.findings] == ["image-verified"]


def test_the_image_of_another_kernel_is_refused(folder: Path) -> None:
    trace = rbdump.open(folder / "region.bin", vmlinux=folder / "other", cache=False)
    with pytest.raises(WrongImageError, match=r"other is not the kernel that wrote the region: .* of 193 distinct"):
        list(trace.lines())
    forced = rbdump.open(folder / "region.bin", vmlinux=folder / "other", cache=False, force=True)
    assert bodies(forced)[0] == "toy_open: fd=-3"
    assert [finding.code for finding in forced.findings] == ["wrong-image"]


def test_of_two_images_each_gives_what_the_other_lacks(folder: Path) -> None:
    trace = rbdump.open(folder / "region.bin", vmlinux=[folder / "bare", folder / "vmlinux"], cache=False)
    assert bodies(trace)[:2] == ["toy_open: fd=-3", f"{function_of(0)}: a constant"]


def test_jobs_change_nothing_with_an_image(run: Run, folder: Path) -> None:
    one, two = (
        run("parse", folder / "region.bin", "--vmlinux", folder / "vmlinux", "--no-cache", "-j", jobs) for jobs in "12"
    )
    assert (one.returncode, two.returncode) == (0, 0)
    assert b"toy_open: fd=-3\n" in one.stdout
    assert (one.stdout, one.stderr) == (two.stdout, two.stderr)


def test_its_events_are_listed_and_written(run: Run, folder: Path, tmp_path: Path) -> None:
    listed = run("formats", "--vmlinux", folder / "vmlinux")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, f"toy:toy_open {TOY}\n".encode(), b"")
    written = run("formats", "--vmlinux", folder / "vmlinux", "--output", tmp_path / "out")
    assert (written.returncode, written.stdout) == (0, b"")
    assert written.stderr.decode() == f"rbdump: 1 formats written to {tmp_path / 'out'}\n"
    assert list(load_tracefs(str(tmp_path / "out")).formats.names()) == [("toy", "toy_open")]
    bare = run("formats", "--vmlinux", folder / "bare")
    assert (bare.returncode, bare.stdout) == (ExitStatus.SOURCE, b"")


def test_the_best_of_many_is_the_one_whose_code_the_addresses_are_in(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("other", "vmlinux"):
        shutil.copy(folder / name, tmp_path / name)
    done = run("formats", "--best-of", tmp_path, folder / "region.bin")
    rows = [line.split() for line in done.stdout.decode().splitlines()[1:]]
    assert done.returncode == 0
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("right", "202/202", str(tmp_path / "vmlinux")),
        ("wrong", rows[1][2], str(tmp_path / "other")),
    ]


@pytest.fixture(scope="module")
def with_module(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region whose scratch names the module `toy`, whose function and event it holds, and `modules/toy.ko`."""
    path = tmp_path_factory.mktemp("modules")
    out = EventWriter(base=MODULE)
    out.event("own", "own_event", [("int", "n", 4, 4, True, 0)], '"n=%d", REC->n')
    module = KoWriter(out, {"name": "toy", "vermagic": "6.12.0-test SMP "}, functions=[("toy_open", ".text", 16)])
    (path / "modules").mkdir()
    (path / "modules" / "toy.ko").write_bytes(module.build())
    sites = [site + SLIDE for site in KERNEL.call_sites[::9]]
    items: list[Item] = [
        (10 + n, record(FUNCTION, struct.pack("<QQ", MODULE + 20, site))) for n, site in enumerate(sites)
    ]
    items.append((1000, record(TOY + 1, struct.pack("<i", 5))))
    region = write_region([items], text_addr=BASE + SLIDE, modules=[("toy", MODULE)], nr_subbufs=16)
    (path / "region.bin").write_bytes(region)
    return path


def test_modules_give_names_and_events(folder: Path, with_module: Path) -> None:
    region, image = with_module / "region.bin", folder / "vmlinux"
    bare = rbdump.open(region, vmlinux=image, cache=False)
    assert bodies(bare)[-2:] == [f"{MODULE + 20:#x} <-{function_of(1809)}", f"id={TOY + 1} (no format) raw=05000000"]
    assert "modules-unresolved" in [finding.code for finding in bare.findings]
    trace = rbdump.open(region, vmlinux=image, modules=with_module / "modules", cache=False)
    assert bodies(trace)[-2:] == [f"toy_open <-{function_of(1809)}", "own_event: n=5"]
    assert [finding.code for finding in trace.findings] == ["image-verified", "module-ids-inferred"]


def test_a_text_gets_the_names_of_modules(run: Run, folder: Path, with_module: Path) -> None:
    text = run("parse", with_module / "region.bin").stdout
    assert f"# rbdump: module=toy addr={MODULE:#x}\n".encode() in text
    done = run("resolve", "--vmlinux", folder / "vmlinux", "--modules", with_module / "modules", stdin=text)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": toy_open+0x4/0xff0 [toy] <-function_") == 202
