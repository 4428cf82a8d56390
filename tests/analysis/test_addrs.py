# SPDX-License-Identifier: Apache-2.0
"""Addresses and names of the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rbdump.analysis.addrs import parse_addr, resolve_addrs
from rbdump.analysis.placing import Placer
from rbdump.kernel.symboldata import Names
from tests.analysis.oopses import KERNEL, SLIDE, mark, placer
from tests.conftest import Run
from tests.symbols.codewriter import BASE, write_kernel, write_vmlinux


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0xffffffff81000040", 0xFFFF_FFFF_8100_0040),
        ("ffffffff81000040", 0xFFFF_FFFF_8100_0040),
        ("c0300104", 0xC030_0104),
        ("schedule", "schedule"),
        ("schedule+0x10/0x80", "schedule+0x10/0x80"),
        ("cafe", "cafe"),
        ("region.bin.xz", "region.bin.xz"),
        ("/tmp/region", None),
        ("0x", None),
        ("-", None),
    ],
)
def test_arguments(text: str, value: int | str | None) -> None:
    assert parse_addr(text) == value


def test_addresses_and_symbols_of_the_command_line(images: Path) -> None:
    at = KERNEL.functions[3]
    with_lines = placer(images, lines=True)
    words = [f"{at:x}", f"{at + 5:#x}", "function_3+0x4", f"{KERNEL.functions[4]:x}"]
    resolved = resolve_addrs(with_lines, words, stated=True)
    texts = resolved.texts
    size = texts[0].split("/")[1].split()[0]
    assert texts[:3] == [
        f"function_3+0x0/{size} kernel/sched/three.c:70",
        f"function_3+0x5/{size} kernel/sched/three.c:71",
        f"function_3+0x4/{size} kernel/sched/three.c:71",
    ]
    assert texts[3].startswith("function_4+0x0/0x")
    assert " " not in texts[3]
    assert (resolved.findings, resolved.errors) == ([], [])
    (error,) = resolve_addrs(with_lines, ["nosuch+0x4"], stated=True).errors
    assert "no symbol of the image" in str(error)


def test_an_address_that_is_nowhere_prints_as_the_kernel_prints_it(images: Path) -> None:
    addr = KERNEL.functions[3] + SLIDE
    resolved = resolve_addrs(placer(images), [f"{addr:x}"], stated=False)
    assert resolved.texts == [f"{addr:#x}"]
    assert [finding.code for finding in resolved.findings] == ["address-unknown"]
    resolved = resolve_addrs(placer(images, text_addr=BASE + SLIDE), [f"{addr:x}"], stated=True)
    assert resolved.texts[0].startswith("function_3+0x0/")
    assert resolved.findings == []


def test_an_address_that_is_taken_as_of_the_link_is_said_to_be(run: Run, images: Path) -> None:
    addr = f"{KERNEL.functions[3]:#x}"
    findings = resolve_addrs(placer(images), [addr, "function_3+0x4"], stated=False).findings
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "link-time-addresses")]
    assert resolve_addrs(placer(images), ["function_3+0x4"], stated=False).findings == []
    vmlinux = ("--vmlinux", images / "vmlinux")
    assert b"--text-addr says where it was" in run("resolve", *vmlinux, addr).stderr
    assert run("resolve", *vmlinux, "--text-addr", f"{BASE:#x}", addr).stderr == b""
    assert run("resolve", "--kallsyms", images / "System.map", addr).stderr == b""


def test_lines_of_a_kernel_that_was_moved(run: Run, images: Path) -> None:
    addr = KERNEL.functions[3] + SLIDE
    resolved = resolve_addrs(placer(images, text_addr=BASE + SLIDE, lines=True), [f"{addr:#x}"], stated=True)
    assert resolved.texts[0].endswith(" kernel/sched/three.c:70")
    done = run("resolve", "--vmlinux", images / "vmlinux", "--lines", stdin=mark() + b" => 0x%x\n" % (addr + 5))
    assert done.stdout.endswith(b" (kernel/sched/three.c:71)\n")


def test_a_kernel_that_cannot_move_has_one_address_only(tmp_path: Path) -> None:
    kernel = write_kernel()
    names = Names.from_list([name.replace("kaslr", "other") for name in kernel.symbols.names])
    kernel.symbols = replace(kernel.symbols, names=names)
    (tmp_path / "vmlinux").write_bytes(write_vmlinux(kernel))
    assert resolve_addrs(placer(tmp_path), [f"{kernel.functions[3]:#x}"], stated=False).findings == []


LISTED = """\
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 t jhash
ffffffff81000140 T other
ffffffff81000200 t jhash
ffffffff81000280 T last
ffffffff81001000 T _etext
ffffffffc0400000 t br_add_bridge\t[bridge]
ffffffffc0400040 t jhash\t[bridge]
ffffffffc0400060 t br_last\t[bridge]
"""


def of_list(tmp_path: Path, *words: str) -> tuple[list[str], list[str], list[str]]:
    """Answers, codes of findings and errors of ADDR arguments."""
    (tmp_path / "kallsyms").write_text(LISTED)
    resolved = resolve_addrs(Placer(kallsyms=str(tmp_path / "kallsyms")), list(words), stated=True)
    return resolved.texts, [finding.code for finding in resolved.findings], [str(error) for error in resolved.errors]


def test_a_name_that_several_symbols_have_gets_all_of_them(tmp_path: Path) -> None:
    texts = [
        "0xffffffff81000104 jhash+0x4/0x40",
        "0xffffffff81000204 jhash+0x4/0x80",
        "0xffffffffc0400044 jhash+0x4/0x20 [bridge]",
    ]
    assert of_list(tmp_path, "jhash+0x4") == (texts, ["ambiguous-symbol"], [])
    assert of_list(tmp_path, "jhash+0x4/0x80") == (["jhash+0x4/0x80"], [], [])
    assert of_list(tmp_path, "jhash+0x60") == (["jhash+0x60/0x80"], [], [])
    assert of_list(tmp_path, "jhash+0x4/0x20 [bridge]") == (["jhash+0x4/0x20 [bridge]"], [], [])


def test_functions_of_modules_have_names_too(tmp_path: Path) -> None:
    for word in ("br_add_bridge", "br_add_bridge [bridge]"):
        assert of_list(tmp_path, word) == (["br_add_bridge+0x0/0x40 [bridge]"], [], [])


def test_what_contradicts_the_symbol_is_refused_and_the_others_are_answered(tmp_path: Path) -> None:
    words = ("other+0x10/0x37", "other+0x10/0xc0", "other+0x1000", "/no/such", "nosuch+0x4", "other+0xc0")
    texts, codes, errors = of_list(tmp_path, *words)
    assert texts == ["other+0x10/0xc0", "other+0xc0/0xc0"]
    assert codes == []
    assert errors == [
        "'other+0x10/0x37' is of another kernel or symbol: the size of other is 0xc0 here",
        "'other+0x1000' lies behind the end of other, whose size is 0xc0",
        "'/no/such' is no address, no symbol of the image and no file",
        "'nosuch+0x4' is no address, no symbol of the image and no file",
    ]


def test_an_offset_without_0x_is_decimal_and_that_is_said(tmp_path: Path) -> None:
    texts, codes, _ = of_list(tmp_path, "other+10", "other")
    assert texts == ["other+0xa/0xc0", "other+0x0/0xc0"]
    assert codes == ["decimal-offset"]
    assert of_list(tmp_path, "other+010/0192") == (["other+0xa/0xc0"], ["decimal-offset"], [])


def test_one_bad_argument_does_not_hide_the_answers(run: Run, images: Path) -> None:
    done = run("resolve", "--vmlinux", images / "vmlinux", "nosuch", "function_3+0x4", "/no/such")
    assert (done.returncode, done.stdout.count(b"function_3+0x4/")) == (2, 1)
    assert [line.split(b" is no address")[0] for line in done.stderr.splitlines()] == [
        b"rbdump: 'nosuch'",
        b"rbdump: '/no/such'",
    ]
