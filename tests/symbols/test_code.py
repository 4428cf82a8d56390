# SPDX-License-Identifier: Apache-2.0
"""What addresses of a text point at, on each machine that is known."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.symbols.code import CodeMap, Landing
from rbdump.symbols.instructions import MACHINES, MARGIN, behind_calls, is_behind_call, is_patch_site
from tests.symbols.codewriter import BASE, write_kernel

# machine -> instructions that call, as bytes in memory
CALLS = {
    "x86-64": ["e811223344", "ffd0", "41ffd3", "ff5008", "ff1500112233", "ff9011223300"],
    "i386": ["e811223344", "ffd2", "ff5304"],
    "aarch64": ["01000094", "00003fd6", "20013fd6", "00083fd7", "c10f3fd7"],
    "arm": ["000100eb", "33ff2fe1"],
    "ppc64le": ["0100004b", "2104804e", "2100804e"],
    "ppc64": ["4b000101", "4e800421", "4e800021"],
    "s390x": ["c0e500001234", "a7e51234", "0de1"],
    "riscv": ["ef008000", "e7800500", "8292"],
}
# jumps and returns, which differ from calls in few bits
JUMPS = {
    "x86-64": ["e911223344", "ffe0", "ff6008", "ff2500112233", "c3"],
    "i386": ["e911223344", "ffe2", "c3"],
    "aarch64": ["01000014", "00001fd6", "c0035fd6"],
    "arm": ["000100ea", "13ff2fe1", "1eff2fe1"],
    "ppc64le": ["00010048", "2004804e", "2000804e"],
    "ppc64": ["48000100", "4e800420", "4e800020"],
    "s390x": ["c0f400001234", "a7f41234", "07fe"],
    "riscv": ["6f008000", "67800500", "8282"],
}
# what compilers leave for the function tracer
PATCHED = {
    "x86-64": ["e800000000", "0f1f440000"],
    "i386": ["e800000000", "0f1f440000"],
    "aarch64": ["1f2003d5", "02000094"],
    "arm": ["020000eb", "0040bde8"],
    "ppc64le": ["00000060", "01000048"],
    "ppc64": ["60000000", "48000001"],
    "s390x": ["c00400000000"],
    "riscv": ["13000000", "97020000", "0100"],
}


def test_every_machine_has_its_calls_tested() -> None:
    assert set(CALLS) == set(JUMPS) == set(PATCHED) == MACHINES


@pytest.mark.parametrize(("machine", "code"), [(m, code) for m, codes in JUMPS.items() for code in codes])
def test_place_behind_a_jump(machine: str, code: str) -> None:
    text = np.frombuffer(bytes(MARGIN) + bytes.fromhex(code) + bytes(16 + MARGIN), np.uint8)
    assert not is_behind_call(text, np.array([MARGIN + len(code) // 2]), machine).any()
    assert not len(behind_calls(text, machine))
    assert not is_patch_site(text, np.array([MARGIN]), machine).any()


@pytest.mark.parametrize(("machine", "code"), [(m, code) for m, codes in PATCHED.items() for code in codes])
def test_patch_site(machine: str, code: str) -> None:
    text = np.frombuffer(bytes(MARGIN) + bytes.fromhex(code) + bytes(16 + MARGIN), np.uint8)
    at = np.array([MARGIN - 4, MARGIN, MARGIN + 8])
    assert is_patch_site(text, at, machine).tolist() == [False, True, False]


@pytest.mark.parametrize(("machine", "code"), [(m, code) for m, codes in CALLS.items() for code in codes])
def test_place_behind_a_call(machine: str, code: str) -> None:
    call = bytes.fromhex(code)
    text = np.frombuffer(bytes(MARGIN) + bytes(16 - len(call)) + call + bytes(16 + MARGIN), np.uint8)
    behind = MARGIN + 16
    at = np.array([behind - 4, behind, behind + 4], np.int64)
    assert is_behind_call(text, at, machine).tolist() == [False, True, False]
    assert behind in behind_calls(text, machine).tolist()


def test_thumb_calls_end_at_odd_addresses() -> None:
    text = np.frombuffer(bytes(MARGIN) + bytes.fromhex("00f000f8") + bytes(4 + MARGIN), np.uint8)
    assert is_behind_call(text, np.array([MARGIN + 4, MARGIN + 5]), "arm").tolist() == [False, True]
    assert behind_calls(text, "arm").tolist() == [MARGIN + 5]


def test_scan_and_single_test_agree() -> None:
    kernel = write_kernel(50)
    text = np.frombuffer(bytes(MARGIN) + kernel.text + bytes(MARGIN), np.uint8)
    everywhere = np.arange(MARGIN, len(text) - MARGIN)
    assert np.array_equal(behind_calls(text, "x86-64"), everywhere[is_behind_call(text, everywhere, "x86-64")])
    assert set(np.array(kernel.call_sites) - BASE + MARGIN) <= set(behind_calls(text, "x86-64").tolist())


def test_landings() -> None:
    kernel = write_kernel(20)
    code = CodeMap(kernel.symbols, "x86-64", kernel.text)
    function = kernel.functions[5]
    addrs = [BASE - 1, function - 1, function, function + 1, kernel.patch_sites[5], kernel.call_sites[9], code.end]
    assert code.landings(np.array(addrs, np.uint64)).tolist() == [
        Landing.OUTSIDE,
        Landing.INSIDE,
        Landing.FUNCTION,
        Landing.INSIDE,
        Landing.PATCH_SITE,
        Landing.CALL_SITE,
        Landing.OUTSIDE,
    ]


def test_without_the_bytes_only_functions_are_known() -> None:
    kernel = write_kernel(20)
    code = CodeMap(kernel.symbols)
    assert not code.has_code
    addrs = np.array([kernel.functions[5], kernel.patch_sites[5], kernel.call_sites[9]], np.uint64)
    assert code.landings(addrs).tolist() == [Landing.FUNCTION, Landing.INSIDE, Landing.INSIDE]


def test_padding_symbols_are_no_functions() -> None:
    kernel = write_kernel(20)
    assert CodeMap(kernel.symbols).functions.tolist()[1:] == kernel.functions  # the first one is _text


@pytest.mark.parametrize("names", [[], ["_stext"], ["_etext"]])
def test_symbols_without_bounds_of_the_text_give_an_empty_map(names: list[str]) -> None:
    addrs = np.array([BASE] * len(names), np.uint64)
    code = CodeMap(SymbolData(addrs, Names.from_list(names), np.full(len(names), ord("T"), np.uint8), ""))
    assert not code
    assert code.landings(np.array([BASE, BASE + 16], np.uint64)).tolist() == [0, 0]
    assert code.tally(code.link(np.array([BASE], np.uint64), 0)).total == 0


def test_a_text_shorter_than_its_symbols_say_is_padded() -> None:
    kernel = write_kernel(20)
    code = CodeMap(kernel.symbols, "x86-64", kernel.text[:64])
    assert code.landings(np.array([kernel.call_sites[-1]], np.uint64)).tolist() == [Landing.INSIDE]
    assert len(code.anchors()) > 20
