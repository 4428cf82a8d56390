# SPDX-License-Identifier: Apache-2.0
"""Texts with addresses of a small kernel, as consoles and `rbdump parse` have them, and what names they have."""

from __future__ import annotations

from pathlib import Path

from rbdump.analysis.placing import Placer
from tests.symbols.codewriter import BASE, write_kernel

SLIDE = 0x1C00_0000
KERNEL = write_kernel()
OTHER = write_kernel(seed=9)


def placer(images: Path, name: str = "vmlinux", **options: object) -> Placer:
    return Placer([str(images / name)], cache=False, **options)  # type: ignore[arg-type]


def mark(slide: int = SLIDE, layout: str = "C2") -> bytes:
    return f"# tracer: nop\n#\n# rbdump: layout={layout} abi=le64 clock=local text_addr={BASE + slide:#x}\n#\n".encode()


def stack(slide: int = SLIDE, count: int = 12, begin: int = 0) -> bytes:
    """Lines of a stack trace."""
    sites = KERNEL.call_sites[begin : begin + 7 * count : 7]
    return b"".join(b" => 0x%x\n" % (site + slide) for site in sites)


def kernel_offset(slide: int) -> bytes:
    """The last line of an oops."""
    return b"[   12.1] Kernel Offset: %#x from %#x (relocation range: %#x-0xffffffffbfffffff)\n" % (slide, BASE, BASE)


def name_of(addr: int) -> str:
    start = max(function for function in KERNEL.functions if function <= addr)
    return f"function_{KERNEL.functions.index(start)}+{addr - start:#x}/"


def banner() -> bytes:
    """The first line of a boot."""
    return b"[    0.000000] Linux version 6.12.43 (builder@host) (gcc 12.2.0) #1 SMP\n"


def named(begin: int, count: int = 3) -> list[str]:
    """What becomes of the lines of `stack`, each up to the size of its symbol."""
    return [f" => {name_of(site)}" for site in KERNEL.call_sites[begin : begin + 7 * count : 7]]


def names_in(text: bytes) -> list[str]:
    """Of the lines of stacks in a text with names."""
    lines = [line for line in text.decode().splitlines() if line.startswith(" => ")]
    return [line[: line.rfind("/") + 1] if "/" in line else line for line in lines]


FAR = b"[    1.0] the machine goes on\n" * 40_000
"""More than what is read of a pipe or a file in one piece."""
