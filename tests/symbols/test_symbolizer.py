# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from rbdump.abi import Abi
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.symbolizer import Symbolizer
from rbdump.symbols.table import SymbolTable
from tests.conftest import SHARED

TEXT = b"""\
ffffffff81000000 T _stext
ffffffff81000100 t caller
ffffffff81000200 T callee
ffffffff81000300 T arch_rethook_trampoline
ffffffff81000400 B _end
ffffffffc0000000 t probe\t[mod]
ffffffffc0001000 t bpf_prog_1\t[bpf]
"""
SAMPLES = SHARED / "samples"


@pytest.fixture(scope="module")
def symbols() -> Symbolizer:
    return Symbolizer(load_kallsyms(TEXT), Abi("little", 8))


def test_spellings(symbols: Symbolizer) -> None:
    addr = 0xFFFF_FFFF_8100_0110
    assert symbols.pS[addr] == "caller+0x10/0x100"
    assert symbols.ps[addr] == "caller"
    assert symbols.pB[addr] == "caller+0x10/0x100"
    assert symbols.func[addr] == "caller"
    assert symbols.pS[0xFFFF_FFFF_C000_0000] == "probe+0x0/0x1000 [mod]"
    assert symbols.ps[0xFFFF_FFFF_C000_0000] == "probe [mod]"
    assert symbols.pB[0xFFFF_FFFF_C000_0002] == "probe+0x2/0x1000 [mod]"
    assert symbols.func[0xFFFF_FFFF_C000_0000] == "probe"
    assert symbols.ps[0xFFFF_FFFF_C000_1008] == "bpf_prog_1"


def test_a_return_address_belongs_to_the_call_before_it(symbols: Symbolizer) -> None:
    assert symbols.pS[0xFFFF_FFFF_8100_0200] == "callee+0x0/0x100"
    assert symbols.pB[0xFFFF_FFFF_8100_0200] == "caller+0x100/0x100"
    assert symbols.pB[0xFFFF_FFFF_8100_0000] == "0xffffffff81000000"


def test_unknown_addresses(symbols: Symbolizer) -> None:
    assert symbols.pS[0x5] == symbols.ps[0x5] == symbols.pB[0x5] == "0x5"
    assert symbols.pS[0] == symbols.pB[0] == "0x0"
    assert symbols.func[0] == "0"
    assert symbols.func[0x5] == "0x00000005"
    assert symbols.pS[-1] == "0xffffffffffffffff"
    assert Symbolizer(None, Abi("big", 4)).pS[-1] == "0xffffffff"


def test_what_no_machine_can_address_has_no_symbol(symbols: Symbolizer) -> None:
    assert (
        symbols.lookup(-1) is symbols.lookup(1 << 64) is symbols.lookup(0xFFFF_FFFF_8100_0000 + (1 << 64) - 1) is None
    )


def test_trampoline_of_kretprobes(symbols: Symbolizer) -> None:
    assert symbols.func[0xFFFF_FFFF_8100_0300] == "[unknown/kretprobe'd]"
    assert symbols.func[0xFFFF_FFFF_8100_0301] == "arch_rethook_trampoline"
    assert symbols.pS[0xFFFF_FFFF_8100_0300] == "arch_rethook_trampoline+0x0/0x100"


def test_memo_works_in_map(symbols: Symbolizer) -> None:
    assert list(map(symbols.func.__getitem__, [0, 0xFFFF_FFFF_8100_0201])) == ["0", "callee"]


def test_memo_is_bounded() -> None:
    memo = Symbolizer(None, Abi("little", 8)).pS
    for addr in range((1 << 18) + 5):
        memo[addr]
    assert len(memo) == 5


def _token_is_right(table: SymbolTable, symbols: Symbolizer, token: tuple[str, str, str, str]) -> bool:
    name, offset, size, module = token
    expected = f"{name}+{offset}/{size}" + (f" [{module}]" if module else "")
    addrs = [int(table.addrs[row]) + int(offset, 16) for row in table.names.find(name)]
    return any(expected in (symbols.pS[addr], symbols.pB[addr]) for addr in addrs)


@pytest.mark.parametrize("sample", ["6.12.43/all", "7.3.4/all", "6.12.43/modules", "7.3.4/modules"])
def test_spells_what_the_kernel_printed(sample: str) -> None:
    """Each name+offset/size of live.txt is what an address of that name gives."""
    import lzma

    folder = SAMPLES / sample
    if not folder.exists():
        pytest.skip("the large samples are not here")
    table = load_kallsyms(str(folder / "kallsyms.xz"))
    symbols = Symbolizer(table, Abi("little", 8))
    text = lzma.decompress((folder / "live.txt.xz").read_bytes()).decode("utf-8", "replace")
    tokens = set(re.findall(r"([A-Za-z_][\w.]*)\+(0x[0-9a-f]+)/(0x[0-9a-f]+)(?: \[(\w+)\])?", text))
    assert len(tokens) >= 8
    assert [token for token in tokens if not _token_is_right(table, symbols, token)] == []
