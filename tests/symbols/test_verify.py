# SPDX-License-Identifier: Apache-2.0
"""The image of another kernel is refused with figures; that of the dead kernel is verified."""

from __future__ import annotations

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.errors import UsageError, WrongImageError
from rbdump.findings import Severity
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.symbols.code import CodeMap, Landing
from rbdump.symbols.delta import BootAddresses, infer_delta
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.table import SymbolTable
from rbdump.symbols.verify import Fit, SymbolList, Verdict, check_addresses, fit_image, fit_list
from tests.symbols.codewriter import BASE, Kernel, write_kernel

LE64 = Abi("little", 8)
SLIDE = 0x1C00_0000
ERA_B = {"rb_meta_init_text_addr": 0x5130, "rb_data_ptr": 0x20_0008}


def code_of(kernel: Kernel) -> CodeMap:
    return CodeMap(kernel.symbols, "x86-64", kernel.text, abi=LE64)


def fit(kernel: Kernel, words: np.ndarray, boot: BootAddresses | None = None, **options: object) -> Fit:
    boot = boot or BootAddresses(LE64, "C2", BASE + SLIDE)
    return fit_image(code_of(kernel), boot, words, np.ones(len(words), np.int64), name="vmlinux", **options)  # type: ignore[arg-type]


def test_the_right_image_is_verified_with_figures() -> None:
    kernel = write_kernel()
    result = fit(kernel, kernel.recorded(SLIDE))
    assert result.delta is not None
    assert result.delta.value == SLIDE
    assert result.check.verdict is Verdict.RIGHT
    assert (result.check.tally.functions, result.check.tally.patch_sites, result.check.tally.call_sites) == (30, 30, 30)
    assert [finding.code for finding in result.findings] == ["image-verified"]
    assert "90 of 90" in result.findings[0].message


def test_a_few_addresses_may_point_at_nothing_in_particular() -> None:
    kernel = write_kernel()
    strays = [function + SLIDE + 1 + index % 3 for index, function in enumerate(kernel.functions[::40])]
    words = np.union1d(kernel.recorded(SLIDE), np.array(strays, np.uint64))
    assert fit(kernel, words).check.verdict is Verdict.RIGHT


def test_another_kernel_is_refused_with_figures() -> None:
    words = write_kernel(seed=2).recorded(SLIDE)
    with pytest.raises(
        WrongImageError, match=r"vmlinux is not the kernel .* \d+ of 90 distinct code addresses .*--force"
    ):
        fit(write_kernel(seed=1), words)


def test_force_uses_it_and_says_so() -> None:
    result = fit(write_kernel(seed=1), write_kernel(seed=2).recorded(SLIDE), force=True)
    assert result.delta is not None
    assert result.delta.value == SLIDE
    assert [(finding.severity, finding.code) for finding in result.findings] == [(Severity.ERROR, "wrong-image")]


@pytest.mark.parametrize("function", [20, 200, 400, 540])
def test_another_build_of_the_same_source_is_refused(function: int) -> None:
    words = write_kernel(grow=(function, 48)).recorded(SLIDE, 120)
    with pytest.raises(WrongImageError, match=r"of 360 distinct code addresses"):
        fit(write_kernel(), words)


def interrupted(kernel: Kernel, number: int, *, shift: int = 0) -> np.ndarray:
    """Run-time addresses at nothing in particular, all over the text; ``shift`` bytes further there is a call site."""
    code = code_of(kernel)
    addrs = np.array([addr - shift or 3 for addr in kernel.call_sites], np.uint64)
    inside = addrs[code.landings(addrs) == Landing.INSIDE]
    return inside[:: len(inside) // number][:number] + np.uint64(SLIDE)


def test_interrupted_addresses_between_the_others_are_no_other_build() -> None:
    kernel = write_kernel()
    words = np.union1d(kernel.recorded(SLIDE, 60), interrupted(kernel, 12, shift=0x2345))
    result = fit(kernel, words)
    assert (result.check.verdict, result.check.tally.explained, result.check.tally.total) == (Verdict.RIGHT, 180, 192)


def test_addresses_that_recur_tell_where_most_are_of_interrupts() -> None:
    kernel = write_kernel()
    recorded, strays = kernel.recorded(SLIDE, 20), interrupted(kernel, 300, shift=7)
    words = np.union1d(recorded, strays)
    counts = np.where(np.isin(words, recorded), 5, 1)
    assert check_addresses(code_of(kernel), SLIDE, words).verdict is Verdict.WRONG
    check = check_addresses(code_of(kernel), SLIDE, words, counts)
    assert check.verdict is Verdict.RIGHT
    assert "60 of 60" in str(check)
    assert "that recur" in str(check)
    other = code_of(write_kernel(seed=2))
    assert check_addresses(other, SLIDE, words, counts).verdict is Verdict.WRONG


def test_a_kernel_without_kaslr_is_verified_where_it_was_linked() -> None:
    kernel = write_kernel()
    names = Names.from_list([name.replace("kaslr", "fixed") for name in kernel.symbols.names])
    kernel.symbols = SymbolData(kernel.symbols.addrs, names, kernel.symbols.types, "test")
    nowhere = BootAddresses(LE64, "C2")
    result = fit(kernel, kernel.recorded(0), nowhere)
    assert result.delta is not None
    assert (result.delta.value, result.check.verdict) == (0, Verdict.RIGHT)
    few = fit(kernel, kernel.recorded(0, 1), nowhere)
    assert [finding.code for finding in few.findings] == ["image-not-verified"]
    moved = fit(kernel, kernel.recorded(SLIDE), nowhere)
    assert moved.delta is not None
    assert moved.delta.value == SLIDE
    assert [finding.code for finding in moved.findings] == ["image-verified"]


def test_too_few_addresses_are_not_verified_and_not_refused() -> None:
    kernel = write_kernel()
    result = fit(kernel, kernel.recorded(SLIDE, 1))
    assert result.check.verdict is Verdict.OPEN
    assert [finding.code for finding in result.findings] == ["image-not-verified"]
    assert "3 of 3" in result.findings[0].message
    assert "no code address to" in fit(kernel, np.empty(0, np.uint64)).findings[0].message


def test_what_the_region_says_twice_needs_no_warning() -> None:
    kernel = write_kernel()
    names = list(kernel.symbols.names)
    names[-2:] = ["rb_meta_init_text_addr", "rb_data_ptr"]
    kernel.symbols = SymbolData(kernel.symbols.addrs, Names.from_list(names), kernel.symbols.types, "test")
    text, data = (int(addr) + SLIDE for addr in kernel.symbols.addrs[-2:])
    words = kernel.recorded(SLIDE, 1)
    for data_addr, severity in ((data, Severity.INFO), (None, Severity.WARNING)):
        result = fit(kernel, words, BootAddresses(LE64, "B", text, data_addr))
        assert result.check.verdict is Verdict.OPEN
        assert [(finding.code, finding.severity) for finding in result.findings] == [("image-not-verified", severity)]


def test_a_given_text_addr_that_cannot_be_is_the_users_mistake() -> None:
    kernel = write_kernel()
    with pytest.raises(UsageError, match=r"^--text-addr 0x[0-9a-f]+: .*whole pages; give the address of _text"):
        fit(kernel, kernel.recorded(SLIDE), text_addr=BASE + SLIDE + 0x123)


def test_trap_9_a_text_addr_of_another_boot_is_overruled_by_the_records() -> None:
    kernel = write_kernel()
    result = fit(kernel, kernel.recorded(0x0A00_0000))
    assert result.delta is not None
    assert result.delta.value == 0x0A00_0000
    assert [finding.code for finding in result.findings] == ["text-addr-of-another-boot", "image-verified"]


def test_trap_10_a_text_addr_of_0_is_inferred() -> None:
    kernel = write_kernel()
    result = fit(kernel, kernel.recorded(SLIDE), BootAddresses(LE64, "C2"))
    assert result.delta is not None
    assert result.delta.value == SLIDE
    assert "inferred" in result.delta.how


def test_a_given_text_addr_is_taken_but_verified() -> None:
    kernel = write_kernel()
    boot = BootAddresses(LE64, "C2")
    assert fit(kernel, kernel.recorded(SLIDE), boot, text_addr=BASE + SLIDE).check.verdict is Verdict.RIGHT
    with pytest.raises(UsageError, match=f"_stext was at {BASE + SLIDE:#x}"):
        fit(kernel, kernel.recorded(SLIDE), boot, text_addr=BASE + SLIDE + 0x10_0000)
    forced = fit(kernel, kernel.recorded(SLIDE), boot, text_addr=BASE + SLIDE + 0x10_0000, force=True)
    assert forced.delta is not None
    assert forced.delta.value == SLIDE + 0x10_0000


def test_no_address_anywhere_leaves_the_symbols_unused() -> None:
    result = fit(write_kernel(), np.empty(0, np.uint64), BootAddresses(LE64, "A"))
    assert result.delta is None
    assert [finding.code for finding in result.findings] == ["no-text-addr"]


@pytest.mark.parametrize(
    ("extra", "boot", "reason"),
    [
        (ERA_B, BootAddresses(LE64, "C2", BASE + SLIDE), "writes layout B"),
        ({}, BootAddresses(LE64, "B", BASE + SLIDE, BASE + SLIDE), "lacks rb_meta_init_text_addr"),
        ({}, BootAddresses(Abi("big", 8), "C2", BASE + SLIDE), "64-bit little endian x86-64 kernel"),
        ({}, BootAddresses(LE64, "C2", BASE + SLIDE + 8), "whole pages"),
    ],
)
def test_what_the_region_says_of_its_kernel_is_enough_to_refuse(
    extra: dict[str, int], boot: BootAddresses, reason: str
) -> None:
    with pytest.raises(WrongImageError, match=reason):
        fit(write_kernel(extra=extra), np.empty(0, np.uint64), boot)


def test_symbols_alone_verify_by_function_starts() -> None:
    kernel = write_kernel()
    symbols = CodeMap(kernel.symbols)
    starts = np.array([addr + SLIDE for addr in kernel.functions[::20]], np.uint64)
    assert check_addresses(symbols, SLIDE, starts).verdict is Verdict.RIGHT
    assert check_addresses(CodeMap(write_kernel(seed=3).symbols), SLIDE, starts).verdict is Verdict.WRONG
    sites = np.array([addr + SLIDE for addr in kernel.call_sites[::20]], np.uint64)
    assert check_addresses(symbols, SLIDE, sites).verdict is Verdict.OPEN


def listed(kernel: Kernel, delta: int, *, module: bool = False) -> SymbolTable:
    lines = [
        f"{(a + delta) % 2**64:016x} T {n}"
        for a, n in zip(kernel.symbols.addrs.tolist(), kernel.symbols.names, strict=True)
    ]
    if module:
        lines.append("ffffffffc0601000 t br_handle\t[bridge]")
    return load_kallsyms("\n".join(lines).encode() + b"\n")


def place_list(table: SymbolTable, kernel: Kernel) -> tuple[SymbolTable, list[str]]:
    words = np.array([addr + SLIDE for addr in kernel.functions[::20]], np.uint64)
    boot = BootAddresses(LE64, "C2", BASE + SLIDE)
    placed, findings = fit_list(SymbolList.of(table), boot, words, np.ones(len(words), np.int64), name="kallsyms")
    return placed, [finding.code for finding in findings]


def test_the_symbol_list_of_the_dead_boot_stays_as_it_is() -> None:
    kernel = write_kernel()
    table = listed(kernel, SLIDE, module=True)
    assert place_list(table, kernel) == (table, [])


def test_a_system_map_is_moved() -> None:
    kernel = write_kernel()
    placed, codes = place_list(listed(kernel, 0), kernel)
    assert placed.addr("function_7") == kernel.functions[7] + SLIDE
    assert codes == ["image-verified"]


def test_the_symbol_list_of_another_boot_is_moved_without_its_modules() -> None:
    kernel = write_kernel()
    placed, codes = place_list(listed(kernel, 0x0A00_0000, module=True), kernel)
    assert placed.addr("function_7") == kernel.functions[7] + SLIDE
    assert placed.modules == ()
    assert codes == ["image-verified", "symbols-of-another-boot"]


def test_the_symbol_list_of_another_kernel_is_refused() -> None:
    with pytest.raises(WrongImageError, match="kallsyms is not the kernel"):
        place_list(listed(write_kernel(seed=5), 0), write_kernel())


def test_a_symbol_list_that_nothing_confirms_is_used_and_it_is_said() -> None:
    table = listed(write_kernel(), SLIDE)
    nothing = np.empty(0, np.uint64)
    placed, findings = fit_list(
        SymbolList.of(table), BootAddresses(LE64, "A"), nothing, np.empty(0, np.int64), name="kallsyms"
    )
    assert placed is table
    assert [finding.code for finding in findings] == ["symbols-not-verified"]


def list_of(*lines: tuple[int, str]) -> SymbolList:
    text = "".join(f"{addr:0{8 if addr >> 20 == 0xC01 else 16}x} T {name}\n" for addr, name in lines)
    return SymbolList.of(load_kallsyms(text.encode()))


def hold(listed: SymbolList, boot: BootAddresses, words: list[int], *, force: bool = False) -> list[str]:
    held = np.array(sorted(words), np.uint64)
    findings = fit_list(listed, boot, held, np.ones(len(held), np.int64), name="kallsyms", force=force)[1]
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("base", "abi", "words"),
    [
        (0xC0100000, LE64, "addresses are those of a 32-bit kernel, and the region is 64-bit little endian"),
        (BASE, Abi("little", 4), "addresses are those of a 64-bit kernel, and the region is 32-bit little endian"),
    ],
)
def test_a_list_of_another_word_size_is_refused(base: int, abi: Abi, words: str) -> None:
    listed = list_of((base, "_stext"), (base + 0x1000, "one"), (base + 0x2000, "_etext"))
    boot = BootAddresses(abi, "C2", None)
    with pytest.raises(WrongImageError, match=words):
        hold(listed, boot, [])
    assert "symbols-not-verified" in hold(listed, boot, [], force=True)


def test_a_list_of_modules_alone_says_nothing_of_the_kernel() -> None:
    listed = SymbolList.of(load_kallsyms(b"ffffffffc0601000 t br_init\t[bridge]\n"))
    assert hold(listed, BootAddresses(LE64, "C2", BASE + SLIDE), [BASE + SLIDE + 0x100]) == ["symbols-not-verified"]


def test_lists_of_s390_may_have_low_addresses() -> None:
    listed = list_of((0x100000, "_stext"), (0x101000, "one"), (0x102000, "_etext"))
    assert hold(listed, BootAddresses(Abi("big", 8), "C2", None), []) == ["symbols-not-verified"]


def test_no_kernel_is_moved_into_the_other_half_of_the_address_space() -> None:
    listed = list_of((0x3FFE0000000, "_text"), (0x3FFE0000000, "_stext"), (0x3FFE0002000, "_etext"))
    with pytest.raises(WrongImageError, match="from one half of the address space to the other"):
        hold(listed, BootAddresses(LE64, "C2", BASE + SLIDE), [])


def test_no_kernel_leaves_the_part_of_the_address_space_of_its_architecture() -> None:
    listed = list_of((0xFFFFC77186600000, "_text"), (0xFFFFC77186600000, "_stext"), (0xFFFFC77186602000, "_etext"))
    with pytest.raises(WrongImageError, match="stay in the last 2 GiB of the address space"):
        hold(listed, BootAddresses(LE64, "C2", BASE + SLIDE), [])


def test_a_list_that_fits_somewhere_by_chance_is_not_moved_there() -> None:
    """Seven of sixty: another kernel's list explains as much at the place that suits it best."""
    functions = [BASE + 0x4F130 * number // 16 * 16 for number in range(1, 400)]
    lines = [(addr, f"function_{number}") for number, addr in enumerate(functions)]
    listed = list_of((BASE, "_text"), (BASE, "_stext"), *lines, (functions[-1] + 4096, "_etext"))
    noise = [BASE + SLIDE + 0x4F130 * number + 0x1235 * (number % 7 + 1) for number in range(1, 55)]
    elsewhere = [addr + SLIDE + 0x6000000 for addr in functions[100:390:45]]
    boot = BootAddresses(LE64, "C2", BASE + SLIDE)
    assert "text-addr-of-another-boot" not in hold(listed, boot, [*noise, *elsewhere])
    sure = [addr + SLIDE + 0x6000000 for addr in functions[100:390:8]]
    assert "text-addr-of-another-boot" in hold(listed, boot, [*noise, *sure])


def test_a_list_that_fits_where_it_is_is_not_moved_to_where_it_fits_better() -> None:
    """Words of objects lie in the text by chance, and more of them make a place less convincing than an empty one."""
    functions = [BASE + 0x500 * number + number * number * 7 % 0x500 // 16 * 16 for number in range(1, 4000)]
    lines = [(addr, f"function_{number}") for number, addr in enumerate(functions)]
    listed = list_of((BASE, "_stext"), *lines, (functions[-1] + 0x200, "_etext"))
    objects = [BASE + 0x70D24 * number % 0x4E0000 | 4 for number in range(1, 400)]
    elsewhere = [addr + 0x10000000 for addr in functions[7:3990:140]]
    words = np.unique(np.array([*functions[5:3995:150], *objects, *elsewhere], np.uint64))
    counts = np.ones(len(words), np.int64)
    inferred = infer_delta(listed.code, words, counts, LE64)
    assert inferred is not None
    assert inferred.value == 0x10000000
    table, findings = fit_list(listed, BootAddresses(LE64, "C2"), words, counts, name="kallsyms")
    assert table is listed.table
    assert not findings
