# SPDX-License-Identifier: Apache-2.0
"""Where the last boot had its kernel: stated by each layout, given, inferred (traps 10 and 14 of the format)."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.symbols.code import CodeMap
from rbdump.symbols.delta import (
    BootAddresses,
    boot_table,
    given_delta,
    impossible,
    infer_delta,
    kernel_like,
    stated_delta,
    unmoved_delta,
)
from tests.symbols.codewriter import BASE, write_kernel

LE64 = Abi("little", 8)
SLIDE = 0x1C00_0000
ERA_B = {"rb_meta_init_text_addr": 0x5130, "rb_data_ptr": 0x20_0008}


def era_b(slide: int = SLIDE, *, skew: int = 0, layout: str = "B") -> BootAddresses:
    text_addr = BASE + ERA_B["rb_meta_init_text_addr"] + slide
    return BootAddresses(LE64, layout, text_addr, BASE + ERA_B["rb_data_ptr"] + slide + skew)


@pytest.mark.parametrize("layout", ["B", "A'"])
def test_trap_10_era_b_stores_the_address_of_a_function_of_its_own(layout: str) -> None:
    delta = stated_delta(CodeMap(write_kernel(20, extra=ERA_B).symbols), era_b(layout=layout))
    assert delta is not None
    assert (delta.value, delta.problem) == (SLIDE, "")


def test_trap_10_era_b_needs_no_text_symbol_when_it_has_the_data_symbol() -> None:
    symbols = write_kernel(20, extra={"rb_data_ptr": ERA_B["rb_data_ptr"]}).symbols
    delta = stated_delta(CodeMap(symbols), era_b())
    assert delta is not None
    assert delta.value == SLIDE
    assert "rb_data_ptr" in delta.how


def test_era_b_text_and_data_that_disagree_are_a_problem() -> None:
    delta = stated_delta(CodeMap(write_kernel(20, extra=ERA_B).symbols), era_b(skew=0x3000))
    assert delta is not None
    assert "data_addr" in delta.problem


def test_the_image_may_know_text_where_its_symbols_do_not() -> None:
    symbols = write_kernel(20).symbols
    rows = [row for row, name in enumerate(symbols.names) if name != "_text"]
    listed = SymbolData(symbols.addrs[rows], symbols.names.select(np.array(rows)), symbols.types[rows], "kallsyms")
    boot = BootAddresses(LE64, "C2", BASE + SLIDE)
    assert stated_delta(CodeMap(listed), boot) is None
    delta = stated_delta(CodeMap(listed, text_base=BASE), boot)
    assert delta is not None
    assert delta.value == SLIDE


@pytest.mark.parametrize("head", [0, 0x2000])
@pytest.mark.parametrize("listed_at", [0, SLIDE, 0x0600_0000])
def test_an_offset_counts_from_the_link_address_wherever_the_list_is_of(head: int, listed_at: int) -> None:
    extra = {"_start": -head} if head else {}  # as on riscv
    symbols = write_kernel(20, extra=extra).symbols
    listed = SymbolData(symbols.addrs + np.uint64(listed_at), symbols.names, symbols.types, "kallsyms")
    delta = stated_delta(CodeMap(listed), BootAddresses(LE64, kaslr_offset=SLIDE, link_addr=BASE - head))
    assert delta is not None
    assert (delta.value, delta.problem) == (SLIDE - listed_at, "")


def test_a_kernel_without_kaslr_is_not_moved() -> None:
    symbols = write_kernel(20).symbols
    assert unmoved_delta(CodeMap(symbols)) is None
    rows = [row for row, name in enumerate(symbols.names) if "kaslr" not in name]
    names = Names.from_list([symbols.names[row] for row in rows])
    fixed = SymbolData(symbols.addrs[rows], names, symbols.types[rows], "kallsyms")
    delta = unmoved_delta(CodeMap(fixed))
    assert delta is not None
    assert delta.value == 0


def test_trap_10_b_prime_stores_the_slide() -> None:
    delta = stated_delta(CodeMap(write_kernel(20).symbols), BootAddresses(LE64, "B'", kaslr_offset=SLIDE))
    assert delta is not None
    assert delta.value == SLIDE


@pytest.mark.parametrize("layout", ["C1", "C2", "C2-inject"])
def test_trap_10_era_c_stores_the_address_of_the_text(layout: str) -> None:
    delta = stated_delta(CodeMap(write_kernel(20, extra=ERA_B).symbols), BootAddresses(LE64, layout, BASE + SLIDE))
    assert delta is not None
    assert delta.value == SLIDE


@pytest.mark.parametrize("layout", ["A0", "A", "C2"])
def test_layouts_without_an_address_state_nothing(layout: str) -> None:
    assert stated_delta(CodeMap(write_kernel(20, extra=ERA_B).symbols), BootAddresses(LE64, layout)) is None


def test_a_kernel_is_not_moved_by_part_of_a_page() -> None:
    delta = stated_delta(CodeMap(write_kernel(20).symbols), BootAddresses(LE64, "C2", BASE + SLIDE + 0x10))
    assert delta is not None
    assert "whole pages" in delta.problem


def test_a_kernel_may_move_down() -> None:
    assert given_delta(CodeMap(write_kernel(20).symbols), BASE - 0x20_0000, LE64).value == -0x20_0000


def test_32_bit_addresses_wrap_at_32_bit() -> None:
    symbols = SymbolData(np.array([0xC000_8000], np.uint64), Names.from_list(["_text"]), np.zeros(1, np.uint8), "")
    assert given_delta(CodeMap(symbols), 0x0000_8000, Abi("little", 4)).value == 0x4000_0000


def test_a_given_address_needs_a_text_symbol() -> None:
    nothing = SymbolData(np.empty(0, np.uint64), Names.from_list([]), np.empty(0, np.uint8), "nowhere")
    with pytest.raises(SourceError, match="no _text"):
        given_delta(CodeMap(nothing), BASE, LE64)


def ones(words: np.ndarray) -> np.ndarray:
    return np.ones(len(words), np.int64)


@pytest.mark.parametrize("slide", [0, 0x20_0000, SLIDE, -0x20_0000])
def test_delta_inferred_from_addresses_among_heap_pointers(slide: int) -> None:
    kernel = write_kernel()
    heap = 0xFF11_0000_1234_0000 + 64 * np.arange(4000, dtype=np.uint64)
    words = np.union1d(kernel.recorded(slide), heap)
    delta = infer_delta(CodeMap(kernel.symbols, "x86-64", kernel.text), words, ones(words), LE64)
    assert delta is not None
    assert delta.value == slide
    assert "90 of 90" in delta.how


def test_delta_inferred_from_function_starts_alone() -> None:
    kernel = write_kernel()
    words = np.array([addr + SLIDE for addr in kernel.functions[::40]], np.uint64)
    delta = infer_delta(CodeMap(kernel.symbols), words, ones(words), LE64)
    assert delta is not None
    assert delta.value == SLIDE


def test_halves_of_two_addresses_move_no_kernel_out_of_its_part_of_the_address_space() -> None:
    """What an older record left in the padding of a stack, and the low half of the address behind it, look like one."""
    kernel = write_kernel()
    code = CodeMap(kernel.symbols)
    left = np.array([0x9318_9664_0000_0000 | addr & 0xFFFF_FFFF for addr in kernel.functions[::10]], np.uint64)
    assert infer_delta(code, left, ones(left), LE64) is None
    words = np.union1d(left, [addr + SLIDE for addr in kernel.functions[::40]])
    delta = infer_delta(code, words, ones(words), LE64)
    assert delta is not None
    assert delta.value == SLIDE


def test_code_addresses_are_found_among_more_words_than_are_looked_at() -> None:
    kernel = write_kernel()
    recorded = kernel.recorded(SLIDE)
    words = np.union1d(recorded, 0xFF11_0000_1234_0000 + 64 * np.arange(40000, dtype=np.uint64))
    counts = np.where(np.isin(words, recorded), 3, 1).astype(np.int64)
    delta = infer_delta(CodeMap(kernel.symbols, "x86-64", kernel.text), words, counts, LE64)
    assert delta is not None
    assert delta.value == SLIDE


def test_nothing_is_inferred_for_another_kernel() -> None:
    words = write_kernel(seed=2).recorded(SLIDE)
    kernel = write_kernel(seed=1)
    assert infer_delta(CodeMap(kernel.symbols, "x86-64", kernel.text), words, ones(words), LE64) is None


@pytest.mark.parametrize("machine", ["x86-64", ""])
def test_nothing_is_inferred_from_nothing(machine: str) -> None:
    kernel = write_kernel(20)
    code = CodeMap(kernel.symbols, machine, kernel.text)
    assert infer_delta(code, np.empty(0, np.uint64), np.empty(0, np.int64), LE64) is None
    words = kernel.recorded(0, 1)
    assert infer_delta(code, words, ones(words), LE64) is None


def test_boot_table_moves_the_kernel_and_takes_modules_in() -> None:
    kernel = write_kernel(20)
    table = boot_table(kernel.symbols, SLIDE)
    assert table.addr("function_3") == kernel.functions[3] + SLIDE
    module = boot_table(
        SymbolData(np.array([0x40], np.uint64), Names.from_list(["probe"]), np.array([116], np.uint8), ""), 0
    )
    assert len(boot_table(kernel.symbols, SLIDE, [module])) == len(table) + 1


def test_where_nothing_says_where_the_text_is_no_place_is_impossible() -> None:
    names = Names.from_list(["one", "_end"])
    data = SymbolData(np.array([BASE, BASE + 64], np.uint64), names, np.frombuffer(b"TB", np.uint8), "list")
    assert impossible(CodeMap(data), -0x4000_0000, Abi("little", 8)) == ""


def test_what_lies_where_kernels_lie() -> None:
    addrs = np.array([0xFFFF_8880_0123_4560, BASE + SLIDE, 0xFFFF_FFFF_C012_3456, 2**64 - 38], np.uint64)
    code = CodeMap(write_kernel(20).symbols)
    assert kernel_like(code, addrs, LE64).tolist() == [False, True, True, False]
    arm = SymbolData(
        np.array([0xC030_0000, 0xC031_0000], np.uint64),
        Names.from_list(["_stext", "_etext"]),
        np.zeros(2, np.uint8),
        "",
    )
    found = kernel_like(CodeMap(arm), np.array([0xC030_0104, 0xFFFF_FFDA], np.uint64), Abi("little", 4))
    assert found.tolist() == [True, False]
