# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import numpy as np

from rbdump.abi import Abi
from rbdump.kernel.events.formats import ImageEvent
from rbdump.kernel.events.moduleids import MAX_UNKNOWN, InferredIds, UnknownEvent, infer_module_ids
from rbdump.kernel.events.modules import KernelModule, ModuleEvent
from rbdump.kernel.symboldata import Names, SymbolData

LE64 = Abi("little", 8)
FIRST = 1548


def fixed(name: str, size: int, align: int = 4) -> ModuleEvent:
    return ModuleEvent(ImageEvent("toy", name, -1, f"name: {name}\nID: -1\nformat:\n"), size, align)


def dynamic(name: str, size: int) -> ModuleEvent:
    return ModuleEvent(ImageEvent("toy", name, -1, ""), size, 4, data_locs=(size - 4,))


def module(name: str, *events: ModuleEvent) -> KernelModule:
    symbols = SymbolData(np.empty(0, np.uint64), Names.from_list([]), np.empty(0, np.uint8), "module")
    return KernelModule(name, symbols, events)


def infer(modules: list[KernelModule], unknown: list[UnknownEvent], *, complete: bool) -> InferredIds:
    return infer_module_ids(modules, unknown, first_id=FIRST, abi=LE64, complete=complete)


def names(result: InferredIds) -> dict[int, str]:
    return {event_id: event.name for event_id, event in result.events.items()}


TOY = module("toy", fixed("a", 12), fixed("b", 20), fixed("c", 40, 8))
EMPTY = module("empty")


def test_the_order_of_loading_places_every_block() -> None:
    second = module("second", fixed("d", 16))
    unknown = [UnknownEvent(FIRST + 1, (20,)), UnknownEvent(FIRST + 3, (16,))]
    result = infer([TOY, EMPTY, second], unknown, complete=True)
    assert names(result) == {FIRST: "a", FIRST + 1: "b", FIRST + 2: "c", FIRST + 3: "d"}
    assert result.events[FIRST].text == f"name: a\nID: {FIRST}\nformat:\n"
    assert result.events[FIRST].id == FIRST
    assert [finding.code for finding in result.findings] == ["module-ids-inferred"]
    assert "2 ids" in result.findings[0].message
    assert "the order of loading" in result.findings[0].message


def test_modules_that_were_there_when_the_region_began_are_listed_newest_first() -> None:
    first, second, later = module("first", fixed("d", 16)), module("second", fixed("e", 24)), module("later")
    unknown = [UnknownEvent(FIRST, (16,)), UnknownEvent(FIRST + 1, (24,)), UnknownEvent(FIRST + 3, (20,))]
    result = infer([second, first, TOY, later], unknown, complete=True)
    assert names(result) == {FIRST: "d", FIRST + 1: "e", FIRST + 2: "a", FIRST + 3: "b", FIRST + 4: "c"}
    assert "the order of loading" in result.findings[0].message


def test_two_orders_that_explain_the_records_alike_are_not_decided() -> None:
    twins = [module("first", fixed("d", 16)), module("second", fixed("e", 16))]
    assert infer(twins, [UnknownEvent(FIRST, (16,)), UnknownEvent(FIRST + 1, (16,))], complete=True).events == {}


def test_records_that_contradict_the_order_move_the_block() -> None:
    # Two kprobes were registered first.
    unknown = [UnknownEvent(FIRST, (24,)), UnknownEvent(FIRST + 2, (12,)), UnknownEvent(FIRST + 4, (40,))]
    result = infer([TOY], unknown, complete=True)
    assert names(result) == {FIRST + 2: "a", FIRST + 3: "b", FIRST + 4: "c"}
    assert f": {FIRST};" in result.findings[1].message
    assert [finding.code for finding in result.findings] == ["module-ids-inferred", "module-ids-unknown"]
    assert "the shape of their records" in result.findings[0].message


def test_one_id_alone_is_no_evidence_without_the_order() -> None:
    result = infer([TOY], [UnknownEvent(FIRST + 1, (20,))], complete=False)
    assert result.events == {}
    assert [finding.code for finding in result.findings] == ["module-ids-unknown"]


def test_two_places_that_fit_alike_are_not_decided() -> None:
    twins = module("toy", *(fixed(name, 16) for name in "abcd"))
    result = infer([twins], [UnknownEvent(FIRST + 5, (16,)), UnknownEvent(FIRST + 6, (16,))], complete=False)
    assert result.events == {}
    assert f": {FIRST + 5}, {FIRST + 6};" in result.findings[0].message


def test_two_modules_that_claim_the_same_ids_are_not_decided() -> None:
    unknown = [UnknownEvent(FIRST, (12,)), UnknownEvent(FIRST + 1, (20,))]
    result = infer([TOY, module("other", fixed("x", 12), fixed("y", 20))], unknown, complete=False)
    assert result.events == {}


def test_structures_are_rounded_up_and_padded() -> None:
    odd = module("toy", fixed("a", 12), fixed("c", 36, 8))
    for length, expected in ((36, True), (40, True), (32, False), (44, False)):
        unknown = [UnknownEvent(FIRST, (12,)), UnknownEvent(FIRST + 1, (length,))]
        assert (FIRST + 1 in infer([odd], unknown, complete=True).events) is expected


def test_dynamic_data_must_lie_inside_the_record() -> None:
    texts = module("toy", fixed("a", 12), dynamic("s", 16))

    def record(offset: int, size: int) -> bytes:
        return bytes(12) + struct.pack("<I", size << 16 | offset) + b"hello\0\0\0"

    for offset, size, expected in ((16, 6, True), (12, 6, False), (16, 9, False), (0, 0, True)):
        unknown = [UnknownEvent(FIRST, (12,)), UnknownEvent(FIRST + 1, (24,), (record(offset, size),))]
        assert (FIRST + 1 in infer([texts], unknown, complete=True).events) is expected


def test_char_arrays_must_end() -> None:
    event = ModuleEvent(ImageEvent("toy", "t", -1, ""), 16, 1, strings=((8, 8),))
    for text, expected in ((b"abc\0\0\0\0\0", True), (b"abcdefgh", False)):
        unknown = [UnknownEvent(FIRST, (16,), (bytes(8) + text,))]
        assert bool(infer([module("toy", event)], unknown, complete=True).events) is expected


def test_ids_of_the_kernel_itself_are_not_touched() -> None:
    assert infer([TOY], [UnknownEvent(FIRST - 1, (12,))], complete=True) == InferredIds({})
    assert infer([TOY], [], complete=True) == InferredIds({})


def test_a_flood_of_ids_is_given_up_at_once() -> None:
    flood = [UnknownEvent(FIRST + index, (12,)) for index in range(MAX_UNKNOWN + 1)]
    result = infer([TOY], flood, complete=True)
    assert result.events == {}
    assert [finding.code for finding in result.findings] == ["module-ids-unknown"]
