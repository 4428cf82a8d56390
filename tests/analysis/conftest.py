# SPDX-License-Identifier: Apache-2.0
"""The files of a small kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.oopses import KERNEL, OTHER, SLIDE
from tests.dwarfwriter import dwarf_sections
from tests.symbols.codewriter import write_vmlinux


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `vmlinux`, `other` (another kernel), `System.map` and `kallsyms` of a boot."""
    folder = tmp_path_factory.mktemp("images")
    first = KERNEL.functions[3]
    debug = dwarf_sections([(first, 70), (first + 4, 71)], first + 9, file="three.c")
    (folder / "vmlinux").write_bytes(write_vmlinux(KERNEL, debug))
    (folder / "other").write_bytes(write_vmlinux(OTHER))
    symbols = KERNEL.symbols
    lines = [*zip(symbols.addrs.tolist(), symbols.types.tolist(), symbols.names, strict=True)]
    for name, slide in (("System.map", 0), ("kallsyms", SLIDE)):
        text = "".join(f"{addr + slide:016x} {chr(kind)} {name}\n" for addr, kind, name in lines)
        (folder / name).write_text(text)
    return folder
