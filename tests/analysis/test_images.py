# SPDX-License-Identifier: Apache-2.0
"""Events of modules: their ids are inferred from the records, and what cannot be told apart is not guessed."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from rbdump.analysis.enumerators import Enumerators
from rbdump.analysis.images import INFERRED, Images, _Image
from rbdump.events.entries import gather_entries
from rbdump.events.rows import Memory
from rbdump.events.texts import FormatTexts
from rbdump.findings import Finding
from rbdump.kernel.events.formats import ImageEvent
from rbdump.kernel.events.modules import KernelModule, LoadedModules, ModuleEvent
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.splitbtf import SplitBtf
from rbdump.ring import open_region, walk_region
from tests.btfwriter import BtfWriter
from tests.ringwriter import write_region

NEXT_ID = 1548
NO_SYMBOLS = SymbolData(np.empty(0, np.uint64), Names.from_list([]), np.empty(0, np.uint8), "module")
NO_EVENTS = KernelModule("toy", NO_SYMBOLS, ())
TEXT = """name: {name}
ID: -1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:u32 value;\toffset:8;\tsize:4;\tsigned:0;

print fmt: "value=%u", REC->value
"""


def event(name: str, size: int) -> ModuleEvent:
    return ModuleEvent(ImageEvent("toy", name, -1, TEXT.format(name=name)), size, 4)


def record(event_id: int, size: int) -> bytes:
    return struct.pack("<HBBiI", event_id, 0, 0, 7, 42) + bytes(size - 12)


def inferred(records: list[bytes], missing: tuple[str, ...] = ()) -> tuple[list[FormatTexts], list[Finding]]:
    region_bytes = write_region([[(10**9 + n, payload) for n, payload in enumerate(records)]], nr_subbufs=16)
    region = open_region(np.frombuffer(region_bytes, np.uint8))
    memory = Memory(region.data, region.abi)
    entries, _ = gather_entries(walk_region(region), memory)
    toy = KernelModule("toy", NO_SYMBOLS, (event("first", 12), event("second", 20)))
    placed = SimpleNamespace(modules=LoadedModules((toy,), missing))
    formats = SimpleNamespace(next_id=NEXT_ID)
    findings: list[Finding] = []
    images = Images([_Image(cast(Any, placed), cast(Any, formats))], region, "folder", findings)
    return images.module_formats(entries, memory, []), findings


def test_module_events_get_the_ids_behind_the_kernels_own() -> None:
    (texts,), findings = inferred([record(NEXT_ID, 12), record(NEXT_ID + 1, 20)])
    assert {event_id: texts[event_id].name for event_id in texts} == {NEXT_ID: "first", NEXT_ID + 1: "second"}
    assert texts.origin == INFERRED + "folder"
    said = [finding for finding in findings if finding.code == "module-ids-inferred"]
    assert len(said) == 1


def test_nothing_is_guessed_where_records_do_not_tell() -> None:
    (texts,), findings = inferred([record(NEXT_ID + 7, 20)], missing=("other",))
    assert list(texts) == []
    assert [finding.code for finding in findings] == ["module-ids-unknown"]


def test_ids_that_a_format_explains_are_left_alone() -> None:
    (texts,), findings = inferred([record(5, 20)])
    assert list(texts) == []
    assert findings == []


def toy_module(systems: set[str], events: set[str], values: dict[str, int], kernel: BtfWriter) -> KernelModule:
    out = BtfWriter(base=kernel)
    out.enum("", values)
    types = SplitBtf(out.build(), Btf(kernel.build()))
    return replace(NO_EVENTS, types=types, event_systems=frozenset(systems), event_names=frozenset(events))


def test_events_of_modules_have_the_enumerators_of_their_own_module() -> None:
    kernel = BtfWriter()
    kernel.enum("", {"KERNEL": 1, "OF_BOTH": 2, "UNUSED": 3})
    modules = (
        toy_module({"toy", "shared"}, {"open", "same"}, {"OWN": 10, "OF_BOTH": 20, "ALIKE": 5}, kernel),
        toy_module({"other", "shared"}, {"open", "same"}, {"OWN": 11, "ALIKE": 5}, kernel),
    )
    placed = SimpleNamespace(modules=LoadedModules(modules, ()))
    formats = SimpleNamespace(constants={"KERNEL": 1, "OF_BOTH": 2})
    images = Images([_Image(cast(Any, placed), cast(Any, formats), Btf(kernel.build()))], cast(Any, None), None, [])
    enumerators = Enumerators(images, images.modules)

    def of(system: str, name: str) -> list[int | None]:
        return [enumerators(word, (system, name)) for word in ("OWN", "OF_BOTH", "ALIKE", "KERNEL", "UNUSED")]

    assert of("toy", "open") == [10, 20, 5, 1, 3]
    assert of("other", "open") == [11, 2, 5, 1, 3]
    assert of("shared", "same") == [None, 20, 5, 1, 3]
    assert of("toy", "of_another") == [None, 2, None, 1, None]


def test_functions_of_modules_have_the_prototypes_of_their_own_module() -> None:
    kernel = BtfWriter()
    number = kernel.int("int", 4, signed=True)
    kernel.func("of_both", [("kernels", number)])
    out = BtfWriter(base=kernel)
    out.func("of_both", [("modules", number)])
    out.func("toy_open", [("fd", number), ("toy", out.ptr())])
    toy = replace(NO_EVENTS, types=SplitBtf(out.build(), Btf(kernel.build())))
    placed = SimpleNamespace(modules=LoadedModules((NO_EVENTS, toy), ()))
    images = Images([_Image(cast(Any, placed), None, Btf(kernel.build()))], cast(Any, None), None, [])
    look_up = images.prototypes()
    assert look_up is not None
    found = {name: look_up(name) for name in ("of_both", "toy_open", "absent")}
    assert {name: proto and [p.name for p in proto.parameters] for name, proto in found.items()} == {
        "of_both": ["kernels"],
        "toy_open": ["fd", "toy"],
        "absent": None,
    }
