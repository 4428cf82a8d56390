# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from rbdump.kernel.image import load_image
from rbdump.kernel.symtabs.aliases import kallsyms_order
from tests.conftest import SHARED

KERNELS = SHARED / "kernels"


def test_the_plainest_name_comes_first() -> None:
    names = [b"__start_x", b"__b", b"zebra", b"_text", b"weak", b"__end_y", b"a", b"init_end", b"__init_end"]
    letters = np.frombuffer(b"DtTTWTTTT", np.uint8)
    addrs = np.array([5] * 8 + [4], np.uint64)
    order = kallsyms_order(addrs, letters, names).tolist()
    assert [names[row] for row in order] == [
        b"__init_end",
        b"a",
        b"init_end",
        b"zebra",
        b"_text",
        b"__b",
        b"__end_y",  # seven characters: too short to count as linker-provided
        b"__start_x",
        b"weak",
    ]


@pytest.mark.parametrize("name", ["6.12.43-amd64", "7.3.4-amd64", "6.12.107-s390x"])
def test_restores_the_order_of_real_tables(name: str) -> None:
    path = KERNELS / f"vmlinuz-{name}"
    if not path.exists():
        pytest.skip("the real kernels are not here")
    symbols = load_image(str(path), cache=False).symbols
    names = [text.encode() for text in symbols.names]
    shuffled = np.random.default_rng(5).permutation(len(names))
    order = kallsyms_order(symbols.addrs[shuffled], symbols.types[shuffled], [names[row] for row in shuffled.tolist()])
    assert [names[row] for row in shuffled[order].tolist()] == names
