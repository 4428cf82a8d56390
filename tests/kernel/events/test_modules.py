# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.abi import Abi
from rbdump.errors import RbdumpError, SourceError
from rbdump.findings import Finding
from rbdump.kernel.events import modules
from rbdump.kernel.events.formats import read_formats
from rbdump.kernel.events.modules import KernelModule, load_modules, open_module
from rbdump.kernel.files.relocatable import RelocatableModule
from rbdump.kernel.types.btf import Btf
from tests.btfwriter import BtfWriter
from tests.eventwriter import EventWriter
from tests.kowriter import KoWriter

LE64 = Abi("little", 8)
TEXT = 0xFFFFFFFFC0600000
KINDS = pytest.mark.parametrize(
    ("machine", "abi"),
    [("x86-64", LE64), ("s390x", Abi("big", 8)), ("arm", Abi("little", 4)), ("ppc", Abi("big", 4))],
)


def toy(machine: str = "x86-64", abi: Abi = LE64) -> KoWriter:
    out = EventWriter(abi, machine)
    out.event("toy", "toy_start", [("int", "a", 4, 4, True, 0), ("char[8]", "who", 8, 1, False, 8)], '"%d", STATE')
    out.event("toy", "toy_stop", [("u64", "b", 8, 8, False, 0), ("__data_loc char[]", "name", 4, 4, False, 0)], '"%s"')
    out.eval_map("toy", "STATE", 7)
    module = KoWriter(out)
    module.code = {".text": bytes(50), ".init.text": bytes(32), ".text.unlikely": bytes(20), ".exit.text": bytes(8)}
    module.functions = [
        ("toy_open", ".text", 16),
        ("toy_first", ".text", 0),
        ("toy_alias", ".text", 16),
        ("$d", ".text", 4),
        (".L123", ".text", 8),
        ("toy_init", ".init.text", 0),
        ("toy_cold", ".text.unlikely", 4),
        ("toy_exit", ".exit.text", 0),
        ("toy_data", ".data", 0),
        ("printk", "", 0),
    ]
    return module


def load(tmp_path: Path, module: KoWriter, addr: int = TEXT, **options: str) -> tuple[KernelModule, list[Finding]]:
    path = tmp_path / "toy.ko"
    path.write_bytes(module.build())
    findings: list[Finding] = []
    types = Btf(module.events.btf())
    return (
        open_module(str(path), "toy", addr, abi=module.abi, types=types, findings=findings, **options),
        findings,
    )


@KINDS
def test_functions_get_their_addresses_of_the_last_boot(tmp_path: Path, machine: str, abi: Abi) -> None:
    base = TEXT if abi.long_size == 8 else 0xBF000000
    module, _ = load(tmp_path, toy(machine, abi), base)
    found = [(name, int(addr) - base) for name, addr in zip(module.symbols.names, module.symbols.addrs, strict=True)]
    assert found == [("toy_first", 0), ("toy_open", 16), ("toy_alias", 16), ("toy_cold", 68), ("toy_exit", 96)]
    assert module.symbols.addr("toy_cold") == base + 68


@KINDS
def test_events_read_as_those_of_the_kernel_without_an_id(tmp_path: Path, machine: str, abi: Abi) -> None:
    written = toy(machine, abi)
    module, _ = load(tmp_path, written, 0xBF000000)
    image = written.events.build()
    assert image.btf is not None
    same = read_formats(image, Btf(image.btf), machine)
    assert [event.event.text for event in module.events] == [
        event.text.replace(f"\nID: {event.id}\n", "\nID: -1\n") for event in same.events
    ]
    assert [(e.event.system, e.event.name, e.event.id) for e in module.events] == [
        ("toy", "toy_start", -1),
        ("toy", "toy_stop", -1),
    ]


def test_what_records_must_look_like(tmp_path: Path) -> None:
    first, second = load(tmp_path, toy())[0].events
    assert (first.size, first.align, first.data_locs, first.strings) == (20, 4, (), ((12, 8),))
    assert (second.size, second.align, second.data_locs, second.strings) == (20, 8, (16,), ())


def test_char_arrays_that_are_printed_as_bytes_need_no_nul(tmp_path: Path) -> None:
    out = EventWriter(LE64, "x86-64")
    out.event("mac80211", "drv_sta_state", [("char[6]", "sta_addr", 6, 1, False, 6)], '"%pM", REC->sta_addr')
    out.event("mac80211", "drv_start", [("char[16]", "wiphy", 16, 1, False, 16)], '"%s", REC->wiphy')
    module = KoWriter(out)
    module.code = toy().code
    assert [bool(event.strings) for event in load(tmp_path, module)[0].events] == [False, True]


def test_without_types_there_are_symbols_only(tmp_path: Path) -> None:
    path = tmp_path / "toy.ko"
    path.write_bytes(toy().build())
    module = open_module(str(path), "toy", TEXT, abi=LE64, findings=[])
    assert module.events == ()
    assert len(module.symbols) == 5


def test_a_module_of_another_kernel_is_said_to_be(tmp_path: Path) -> None:
    assert load(tmp_path, toy(), release="6.12.1")[1] == []
    (finding,) = load(tmp_path, toy(), release="6.12.2")[1]
    assert finding.code == "module-of-another-kernel"
    assert "6.12.1" in finding.message


def test_trampolines_before_the_code_make_it_inexact(tmp_path: Path) -> None:
    module = toy("aarch64")
    module.code = {".text": bytes(50), ".plt": bytes(1)}
    module.functions = [("toy_first", ".text", 0)]
    assert load(tmp_path, module)[1] == []
    module.code = {".plt": bytes(1), ".text": bytes(50)}
    assert [finding.code for finding in load(tmp_path, module)[1]] == ["module-text-inexact"]


def test_on_ppc64_init_code_lies_with_the_rest_behind_stubs_of_unknown_size(tmp_path: Path) -> None:
    module = toy("ppc64le")
    module.code = {".text": bytes(48), ".stubs": b"", ".exit.text": bytes(8), ".init.text": bytes(32)}
    loaded, findings = load(tmp_path, module)
    assert loaded.symbols.addr("toy_init") == TEXT + 64
    assert [finding.code for finding in findings] == ["module-text-inexact"]
    del module.code[".stubs"]
    assert load(tmp_path, module)[1] == []


def test_on_s390x_got_and_plt_lie_before_the_code(tmp_path: Path) -> None:
    module = toy("s390x", Abi("big", 8))
    got, plt, word = 26, 20, 22
    module.code_relocations = [(1, got), (2, got), (2, got), (2, plt), (3, plt), (3, plt), (4, plt), (5, word)]
    loaded, findings = load(tmp_path, module)
    assert loaded.symbols.addr("toy_first") == TEXT + 96  # 2 * 8 + 3 * 22, and .text begins at a multiple of 16
    assert findings == []
    module.functions.append(("__s390_indirect_jump_r14", "", 0))
    assert [finding.code for finding in load(tmp_path, module)[1]] == ["module-text-inexact"]


def test_an_event_that_cannot_be_read_leaves_the_module_without_events(tmp_path: Path) -> None:
    module = toy()
    module.events.tables["ftrace_events"].insert(1, 0x1234)
    loaded, findings = load(tmp_path, module)
    assert loaded.events == ()
    assert [finding.code for finding in findings] == ["event-table-broken"]


def with_types(module: KoWriter, base: BtfWriter) -> KoWriter:
    """The module with enumerators of its own, in split BTF that continues ``base``."""
    own = BtfWriter(base.endian, base)
    own.enum("", {"TOY_OPEN": 2, "LEFT_OVER": 3})
    module.sections[".BTF"] = own.build()
    module.name_events("toy", "toy_start", "toy_stop")
    return module


@KINDS
def test_a_module_tells_the_types_of_its_own_and_what_its_events_are_called(
    tmp_path: Path, machine: str, abi: Abi
) -> None:
    written = toy(machine, abi)
    module, findings = load(tmp_path, with_types(written, written.events.types()), 0xBF000000)
    assert "module-types" not in [finding.code for finding in findings]
    assert module.types is not None
    assert module.types.constants(["TOY_OPEN", "LEFT_OVER", "TRACE_FN"]) == {"TOY_OPEN": 2, "LEFT_OVER": 3}
    assert (module.event_systems, module.event_names) == ({"toy"}, {"toy_start", "toy_stop"})


def test_a_module_may_bring_the_base_of_its_types(tmp_path: Path) -> None:
    base = BtfWriter()
    base.struct("page", 64, [])
    base.string("LEFT_OVER")
    written = with_types(toy(), base)
    written.sections[".BTF.base"] = base.build()
    module, _ = load(tmp_path, written)
    assert module.types is not None
    assert module.types.constants(["TOY_OPEN", "LEFT_OVER"]) == {"TOY_OPEN": 2, "LEFT_OVER": 3}


@pytest.mark.parametrize("section", [".BTF", ".BTF.base"])
@pytest.mark.parametrize("blob", [b"\x9f\xeb", b"\x9f\xeb\x01\0" + bytes([255] * 20), bytes(99)])
def test_types_that_cannot_be_read_are_said_and_cost_nothing_else(tmp_path: Path, section: str, blob: bytes) -> None:
    written = toy()
    with_types(written, written.events.types()).sections[section] = blob
    module, (finding,) = load(tmp_path, written)
    assert finding.code == "module-types"
    assert module.types is None
    assert len(module.events) == 2


def test_names_of_functions_are_as_long_as_the_kernel_keeps_them(tmp_path: Path) -> None:
    written = toy()
    written.functions = [("f" * 600, ".text", 0), ("g" * 511, ".text", 8)]
    module, _ = load(tmp_path, written)
    assert list(module.symbols.names) == ["f" * 511, "g" * 511]


def test_symbols_beside_the_events_take_no_room() -> None:
    written = toy()
    written.name_events("toy", "toy_start")
    written.functions += [(f"{number}".rjust(600, "x"), "_ftrace_events", 0) for number in range(5000)]
    memory = RelocatableModule(np.frombuffer(written.build(), np.uint8), "toy.ko", TEXT)
    tracemalloc.start()
    assert memory.event_names() == ({"toy"}, {"toy_start"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20


def test_relocations_that_overlap_are_refused() -> None:
    module = toy("s390x", Abi("big", 8))
    module.code_relocations = [(1, 20)] * 1000
    data = bytearray(module.build())
    at = data.rindex((24000).to_bytes(8, "big"))
    data[at : at + 8] = len(data).to_bytes(8, "big")
    with pytest.raises(SourceError, match="relocations"):
        RelocatableModule(np.frombuffer(bytes(data), np.uint8), "toy.ko", TEXT)


def test_many_systems_and_events_in_a_module_take_no_room(tmp_path: Path) -> None:
    written = toy()
    written.name_events("toy", *(f"e{number}" for number in range(5000)))
    for number in range(5000):
        written.name_events(f"s{number}")
    module, _ = load(tmp_path, written)
    assert (len(module.event_systems), len(module.event_names)) == (5001, 5000)


@pytest.mark.parametrize("section", [".BTF", ".BTF.base"])
def test_types_of_a_module_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    base = BtfWriter()
    base.enum("", {"OF_BASE": 1})
    written = with_types(toy(), base)
    written.sections[".BTF.base"] = base.build()
    assert load(tmp_path, written)[1] == []
    monkeypatch.setattr(modules, "MAX_BTF", len(written.sections[section]) - 1)
    module, (finding,) = load(tmp_path, written)
    assert module.types is None
    assert "too many for the BTF of a module" in finding.message


def test_a_folder_of_modules(tmp_path: Path) -> None:
    below = tmp_path / "kernel" / "drivers"
    below.mkdir(parents=True)
    (below / "my-toy.ko.xz").write_bytes(lzma.compress(toy().build()))
    (below / "other.ko").write_bytes(b"\x7fELF and nothing")
    (below / "wrong.ko").write_bytes(toy("arm", Abi("little", 4)).build())
    wanted = [("other", 1), ("my_toy", TEXT), ("absent", 2), ("my_toy", TEXT + 4096), ("wrong", 3)]
    loaded = load_modules(str(tmp_path), wanted, abi=LE64, types=Btf(toy().events.btf()))
    assert [(module.name, module.symbols.addr("toy_first")) for module in loaded.modules] == [
        ("my_toy", TEXT),
        ("my_toy", TEXT + 4096),
    ]
    assert loaded.missing == ("other", "absent", "wrong")
    codes = [finding.code for finding in loaded.findings]
    assert codes == ["module-unreadable", "module-unreadable", "module-missing"]
    assert "other, absent, wrong" in loaded.findings[-1].message


def test_what_is_no_regular_file_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "toy.ko").symlink_to("/dev/null")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "toy.ko").write_bytes(toy().build())
    loaded = load_modules(str(tmp_path), [("toy", TEXT)], abi=LE64)
    assert [module.symbols.addr("toy_first") for module in loaded.modules] == [TEXT]
    assert loaded.findings == []


def test_a_folder_that_must_not_be_listed_is_not_empty(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    lock(tmp_path)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        load_modules(str(tmp_path), [("toy", 1)], abi=LE64)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder of kernel modules"):
        load_modules(str(tmp_path / "nowhere"), [("toy", 1)], abi=LE64)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 32))
def test_damaged_modules_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    written = toy(*rng.choice([("x86-64", LE64), ("arm", Abi("little", 4)), ("s390x", Abi("big", 8))]))
    data = bytearray(written.build())
    for _ in range(rng.randrange(1, 30)):
        data[rng.randrange(16, len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    path = tmp_path_factory.getbasetemp() / "damaged.ko"
    path.write_bytes(bytes(data))
    try:
        open_module(str(path), "toy", TEXT, abi=written.abi, types=Btf(written.events.btf()), findings=[])
    except RbdumpError:
        return
