# SPDX-License-Identifier: Apache-2.0
"""What is said of modules whose symbols are not at hand, of a clock that nobody names, and of a list that is wrong."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

import rbdump
from rbdump.errors import WrongImageError
from tests.btfwriter import BtfWriter
from tests.eventwriter import EventWriter
from tests.kowriter import KoWriter


def without_modules(samples: Path, sample: str, tmp_path: Path) -> str:
    lines = lzma.decompress((samples / sample / "kallsyms.xz").read_bytes()).splitlines(keepends=True)
    path = tmp_path / "kallsyms"
    path.write_bytes(b"".join(line for line in lines if b"\t[" not in line))
    return str(path)


def codes(trace: rbdump.Trace) -> list[str]:
    list(trace.lines(rbdump.Selection(last=1)))
    return [finding.code for finding in trace.findings]


def test_modules_of_the_scratch_without_symbols(samples: Path, tmp_path: Path) -> None:
    region = str(samples / "7.3.4-modules" / "region.bin.xz")
    bare = rbdump.open(region, kallsyms=without_modules(samples, "7.3.4-modules", tmp_path))
    assert codes(bare).count("modules-unresolved") == 1
    whole = rbdump.open(region, kallsyms=str(samples / "7.3.4-modules" / "kallsyms.xz"))
    assert "modules-unresolved" not in codes(whole)


def test_functions_without_symbols_where_the_region_lists_no_modules(samples: Path, tmp_path: Path) -> None:
    region = str(samples / "6.12.43-modules" / "region.bin.xz")
    bare = rbdump.open(region, kallsyms=without_modules(samples, "6.12.43-modules", tmp_path))
    assert codes(bare).count("functions-unnamed") == 1
    whole = rbdump.open(region, kallsyms=str(samples / "6.12.43-modules" / "kallsyms.xz"))
    assert "functions-unnamed" not in codes(whole)


def test_a_folder_of_modules_is_of_no_use_without_the_image(samples: Path, tmp_path: Path) -> None:
    trace = rbdump.open(samples / "7.3.4-modules" / "region.bin.xz", modules=tmp_path)
    (said,) = (finding.message for finding in trace.knowledge.findings if "--modules" in finding.message)
    assert said.startswith("--modules is of no use without the kernel image")


def test_a_folder_of_modules_is_of_no_use_without_their_addresses(samples: Path, tmp_path: Path) -> None:
    trace = rbdump.open(str(samples / "6.12.43-sched" / "region.bin.xz"), modules=str(tmp_path))
    (said,) = (finding.message for finding in trace.knowledge.findings if "--modules" in finding.message)
    assert said.startswith("--modules is of no use: the region")


@pytest.mark.parametrize("sample", ["6.12.43-modules", "7.3.4-modules"])
def test_modules_tell_the_enumerators_of_their_events_to_formats_of_tracefs(
    samples: Path, tmp_path: Path, sample: str
) -> None:
    """Which modules there were is told by the region, or by the symbol list alone; no image is needed for it."""
    kernel = BtfWriter()
    kernel.enum("", {"KERNEL": 1})
    own = BtfWriter(base=kernel)
    own.enum("", {f"BRIDGE_{number}": number for number in range(9)})
    module = KoWriter(EventWriter())
    module.events.event("bridge", "br_fdb_add")
    module.name_events("bridge", "br_fdb_add")
    module.sections[".BTF"] = own.build()
    for name in ("bridge", "unheard_of"):
        (tmp_path / f"{name}.ko").write_bytes(module.build())
    (tmp_path / "llc.ko").write_bytes(b"no module")
    folder = samples / sample
    options = {"tracefs": str(folder / "tracefs.tar.xz"), "kallsyms": str(folder / "kallsyms.xz")}
    known = rbdump.open(str(folder / "region.bin.xz"), modules=str(tmp_path), **options).knowledge
    assert known.facts.constant("BRIDGE_7", ("bridge", "br_fdb_add")) == 7
    assert known.facts.constant("BRIDGE_7", ("bridge", "br_fdb_update")) is None
    said = [finding.code for finding in known.findings if "--modules tells enumerators only" in finding.message]
    assert said == ["modules-without-image" if sample[0] == "7" else "modules-unknown"]
    assert "module-unreadable" in [finding.code for finding in known.findings]


@pytest.mark.parametrize(
    ("sample", "clock", "assumed", "in_ns"),
    [
        ("6.12.43-sched", None, True, True),
        ("6.12.43-sched", "counter", False, False),
        ("7.3.4-sched", None, False, True),
    ],
)
def test_the_clock(samples: Path, sample: str, clock: str | None, assumed: bool, in_ns: bool) -> None:
    trace = rbdump.open(str(samples / sample / "region.bin.xz"), clock=clock)
    assert ("clock-assumed" in codes(trace)) == assumed
    assert trace.in_ns == in_ns
    last = next(iter(trace.lines(rbdump.Selection(last=1))))
    assert ("." in last.split("]")[1].split(": ")[0][6:]) == in_ns


def test_the_clock_of_a_copy_of_tracefs_counts_too(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "trace_clock").write_text("local global [counter] uptime\n")
    trace = rbdump.open(str(samples / "6.12.43-sched" / "region.bin.xz"), tracefs=str(tmp_path))
    assert not trace.in_ns
    assert trace.summary()["clock"] == "counter"
    assert trace.knowledge.facts.in_ns is trace.in_ns


def test_a_list_whose_functions_begin_elsewhere_is_refused(samples: Path, tmp_path: Path) -> None:
    """Moved by what the region says it has the right place, and only what was traced shows that it is another's."""
    folder = samples / "6.12.43-function"
    placing = (b" _text", b" _stext", b" _etext", b" rb_meta_init_text_addr", b" rb_data_ptr")
    with lzma.open(folder / "kallsyms.xz") as file:
        lines = file.readlines()
    moved = [
        line if line.rstrip().endswith(placing) else b"%016x%b" % (int(line[:16], 16) + 0x54, line[16:])
        for line in lines
    ]
    (tmp_path / "kallsyms").write_bytes(b"".join(moved))
    options = {"kallsyms": str(tmp_path / "kallsyms"), "tracefs": str(folder / "tracefs.tar.xz")}
    region = str(folder / "region.bin.xz")
    with pytest.raises(WrongImageError, match="traced functions do not begin where one of its symbols does"):
        next(rbdump.open(region, **options).lines())
    forced = rbdump.open(region, force=True, **options)
    next(forced.lines())
    assert "wrong-image" in [finding.code for finding in forced.findings]


def test_decayed_function_events_do_not_make_the_right_list_wrong(samples: Path, tmp_path: Path) -> None:
    folder = samples / "6.12.43-function"
    data = bytearray(lzma.decompress((folder / "region.bin.xz").read_bytes()))
    trace = rbdump.open(str(folder / "region.bin.xz"))
    calls = np.flatnonzero(trace.entries.id == 1)
    for number, row in enumerate(calls[::4].tolist()):
        at = int(trace.records.offset[row]) + 8
        data[at : at + 3] = (0x40 + 0x1357 * number % 0x700000).to_bytes(3, "little")
    (tmp_path / "region.bin").write_bytes(data)
    decayed = rbdump.open(str(tmp_path / "region.bin"), kallsyms=str(folder / "kallsyms.xz"))
    assert len(list(decayed.lines())) == len(list(trace.lines()))
    assert "wrong-image" not in [finding.code for finding in decayed.findings]


def test_formats_of_another_kernel_stay_refused(samples: Path) -> None:
    region = str(samples / "6.12.43-sched" / "region.bin.xz")
    trace = rbdump.open(region, tracefs=str(samples / "7.3.4-sched" / "tracefs.tar.xz"))
    for _ in range(2):
        with pytest.raises(WrongImageError, match="they are of another kernel"):
            next(trace.lines())
        with pytest.raises(WrongImageError, match="they are of another kernel"):
            next(trace.events())


@pytest.mark.parametrize("sample", ["6.12.43-function", "7.3.4-modules"])
def test_formats_are_not_held_against_what_damage_makes_up(samples: Path, tmp_path: Path, sample: str) -> None:
    folder = samples / sample
    data = np.frombuffer(lzma.decompress((folder / "region.bin.xz").read_bytes()), np.uint8).copy()
    trace = rbdump.open(str(folder / "region.bin.xz"))
    noise = np.random.default_rng(1)
    for page in np.unique(trace.records.offset // 4096)[::4].tolist():
        data[page * 4096 + 4096 : page * 4096 + 3 * 4096] = noise.integers(0, 256, 8192)
    (tmp_path / "region.bin").write_bytes(data.tobytes())
    broken = rbdump.open(str(tmp_path / "region.bin"), tracefs=str(folder / "tracefs.tar.xz"))
    assert len(list(broken.lines()))
    assert "formats-do-not-fit" not in [finding.code for finding in broken.findings]


def test_the_formats_of_other_events_are_at_hand(samples: Path) -> None:
    sample = samples / "6.12.43-sched"
    trace = rbdump.open(str(sample / "region.bin.xz"), tracefs=str(sample / "tracefs.tar.xz"))
    found = trace.knowledge.facts.event("sched:sched_switch")
    assert found is not None
    assert "prev_comm" in [field.name for field in found.fields]
    assert trace.knowledge.facts.event("xhci-hcd:xhci_address_ctx") is None
