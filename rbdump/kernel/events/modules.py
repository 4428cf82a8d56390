# SPDX-License-Identifier: Apache-2.0
"""The modules that a region's scratch names, from a folder of .ko files: symbols and events.

The scratch records one address for each module, that of its text (kernel/trace/trace.c `save_mod`). Functions get
their run-time addresses from it. Addresses of a module's data are not known to anyone, and the ids of its events
depend on what was registered before it: they are -1 here, see `rbdump.kernel.events.moduleids`. The loader copies the
formats of trace_printk() to memory of its own (`hold_module_trace_bprintk_format`), so that no address names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rbdump.abi import Abi
from rbdump.errors import InputError, RbdumpError, SourceError
from rbdump.findings import Finding, Severity
from rbdump.inputs import open_bytes
from rbdump.kernel.events.evalmaps import read_eval_maps
from rbdump.kernel.events.eventtable import EventTable
from rbdump.kernel.events.formats import ImageEvent, event_text
from rbdump.kernel.files.relocatable import RelocatableModule
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.splitbtf import SplitBtf
from rbdump.kernel.types.structs import pointer_table
from rbdump.kernel.types.typeinfo import TypeSource

__all__ = ["KernelModule", "ModuleEvent", "check_folder", "load_module_types", "load_modules", "open_module"]

SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
MAX_FILES = 1 << 17
MAX_BTF = 1 << 25
"""Bytes of a module's BTF; amdgpu has 4 MiB."""
_PRINTS_BYTES = re.compile(r"%[-0-9.*]*p[MmUIiEh]|__print_(?:hex|array)")
"""In the print fmt of an event whose char arrays may be no strings: the hardware addresses of mac80211."""
NO_SYMBOLS = SymbolData(np.empty(0, np.uint64), Names.from_list([]), np.empty(0, np.uint8), "module")


@dataclass(frozen=True, slots=True)
class ModuleEvent:
    """An event of a module, and what its records must look like."""

    event: ImageEvent
    size: int
    """Bytes up to the end of the last field."""
    align: int
    """Alignment of the record's structure: its size is rounded up to it."""
    data_locs: tuple[int, ...] = ()
    """Offsets of the ``__data_loc`` words."""
    rel_locs: tuple[int, ...] = ()
    strings: tuple[tuple[int, int], ...] = ()
    """Offset and size of the char arrays, which end with a NUL; none where some may hold bytes."""


@dataclass(frozen=True, slots=True)
class KernelModule:
    """One module of the dead kernel."""

    name: str
    symbols: SymbolData
    """Functions at their addresses of the last boot; data symbols are left out, nothing records where data was."""
    events: tuple[ModuleEvent, ...]
    """In the order in which they get their ids."""
    types: SplitBtf | None = None
    """The types of its own; None where nobody asked, and where it has none or they cannot be read."""
    event_systems: frozenset[str] = frozenset()
    """The systems of the events of its own, whose print fmts name enumerators of ``types``."""
    event_names: frozenset[str] = frozenset()
    """What those are called, each in one of these systems."""


@dataclass(frozen=True, slots=True)
class LoadedModules:
    """What a folder of modules gave."""

    modules: tuple[KernelModule, ...]
    """In the order of the wanted ones."""
    missing: tuple[str, ...]
    """Names of the wanted modules that the folder does not hold."""
    findings: list[Finding] = field(default_factory=list)


def load_modules(
    folder: str,
    wanted: Sequence[tuple[str, int]],
    *,
    abi: Abi,
    types: TypeSource | None = None,
    release: str | None = None,
) -> LoadedModules:
    """The wanted modules of a folder, searched with all folders below it.

    :param wanted: ``(name, text address)`` as the scratch lists them.
    :param types: of the kernel that loaded them; None: no events, symbols only.
    :param release: of that kernel; a module that was built for another one is said to be.
    :raises SourceError: there is no such folder.
    """
    files = _find_files(folder, {name for name, _ in wanted})
    findings: list[Finding] = []
    modules: list[KernelModule] = []
    missing: list[str] = []
    for name, addr in wanted:
        path = files.get(name)
        if path is None:
            missing.append(name)
            continue
        try:
            modules.append(open_module(path, name, addr, abi=abi, types=types, release=release, findings=findings))
        except RbdumpError as error:
            missing.append(name)
            findings.append(Finding(Severity.WARNING, "module-unreadable", str(error)))
    if missing:
        listed = ", ".join(dict.fromkeys(missing))
        message = f"{folder} holds no readable .ko of {listed}: addresses and events of those stay unresolved"
        findings.append(Finding(Severity.WARNING, "module-missing", message))
    return LoadedModules(tuple(modules), tuple(dict.fromkeys(missing)), findings)


def load_module_types(
    folder: str,
    names: Collection[str],
    *,
    abi: Abi,
    kernel: Btf | None = None,
    release: str | None = None,
    findings: list[Finding],
) -> list[KernelModule]:
    """Of those modules of a folder that have events what needs no addresses, their types; symbols are left out.

    :param kernel: the types of the kernel that loaded them; without those, names of the modules' own only.
    :raises SourceError: there is no such folder.
    """
    modules: list[KernelModule] = []
    for name, path in sorted(_find_files(folder, set(names)).items()):
        try:
            memory = _open(path, 0, abi, release, findings)
        except RbdumpError as error:
            findings.append(Finding(Severity.WARNING, "module-unreadable", str(error)))
            continue
        systems, event_names = memory.event_names()
        if event_names:
            own = _own_types(memory, kernel, path, findings)
            modules.append(KernelModule(name, NO_SYMBOLS, (), own, systems, event_names))
    return modules


def check_folder(folder: str) -> None:
    """SourceError if there is no such folder, or it cannot be listed."""
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        message = "is no folder of kernel modules; give /lib/modules/RELEASE of the dead kernel"
        raise SourceError(f"{folder}: {message}") from None
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror}") from None


def _find_files(folder: str, wanted: set[str]) -> dict[str, str]:
    """Module name -> path; file names may spell a name's underscores as dashes."""
    check_folder(folder)
    found: dict[str, str] = {}
    count = 0
    for where, folders, names in os.walk(folder):
        folders.sort()
        for file in sorted(names):
            suffix = next((s for s in SUFFIXES if file.endswith(s)), None)
            name = file.removesuffix(suffix).replace("-", "_") if suffix else ""
            path = Path(where) / file
            if name in wanted and path.is_file():  # no pipe, which would wait for its writer
                found.setdefault(name, str(path))
        count += len(names)
        if count > MAX_FILES:
            break
    return found


def open_module(
    path: str,
    name: str,
    addr: int,
    *,
    abi: Abi,
    types: TypeSource | None = None,
    release: str | None = None,
    findings: list[Finding],
) -> KernelModule:
    """One .ko file, compressed or not, as it was loaded with its text at ``addr``.

    :raises RbdumpError: it cannot be read, or is no module.
    """
    memory = _open(path, addr, abi, release, findings)
    if not memory.text_is_exact:
        message = f"{path}: the loader puts call trampolines before its code: its symbols may be a little off"
        findings.append(Finding(Severity.WARNING, "module-text-inexact", message))
    events = tuple(_events(memory, types, name, findings)) if types else ()
    if types is None:
        return KernelModule(name, memory.symbols, ())
    own = _own_types(memory, types if isinstance(types, Btf) else None, path, findings)
    return KernelModule(name, memory.symbols, events, own, *memory.event_names())


def _open(path: str, addr: int, abi: Abi, release: str | None, findings: list[Finding]) -> RelocatableModule:
    memory = RelocatableModule(np.frombuffer(open_bytes(path), np.uint8), path, addr)
    if memory.abi != abi:
        raise InputError(f"{path}: is a module for a {memory.abi} machine, the region is of a {abi} one")
    built_for = (memory.modinfo("vermagic") or "").split(" ")[0]
    if release and built_for and built_for != release:
        message = f"{path}: was built for {built_for}, the kernel is {release}: its names and events may be wrong"
        findings.append(Finding(Severity.WARNING, "module-of-another-kernel", message))
    return memory


def _own_types(memory: RelocatableModule, kernel: Btf | None, path: str, findings: list[Finding]) -> SplitBtf | None:
    """The module's BTF, which continues that of the kernel, or one that it brings along."""
    blob, base = memory.section(".BTF"), memory.section(".BTF.base")
    if blob is None:
        return None
    try:
        if max(len(blob), len(base or b"")) > MAX_BTF:
            raise SourceError(f"{len(blob)} bytes are too many for the BTF of a module")
        return SplitBtf(blob, Btf(base) if base is not None else kernel)
    except SourceError as error:
        findings.append(Finding(Severity.WARNING, "module-types", f"{path}: its types are not used: {error}"))
        return None


def _events(memory: RelocatableModule, types: TypeSource, module: str, findings: list[Finding]) -> list[ModuleEvent]:
    """The events of a module in the order in which `trace_module_add_events` registers them."""
    table = EventTable(memory, types)
    maps = read_eval_maps(memory, types)
    events: list[ModuleEvent] = []
    for addr in pointer_table(memory, "__start_ftrace_events", "__stop_ftrace_events") or ():
        call = table.call(addr)
        if call is None:
            message = f"event {len(events)} of module {module} cannot be read: the ids of its events stay unknown"
            findings.append(Finding(Severity.WARNING, "event-table-broken", message))
            return []
        kind = call.event_class
        end = max((f.offset + f.size for f in kind.fields), default=table.entry_size)
        text = event_text(call, -1, table, maps)
        strings = [] if _PRINTS_BYTES.search(text) else [f for f in kind.fields if f.type.startswith("char[")]
        events.append(
            ModuleEvent(
                ImageEvent(kind.system, call.name, -1, text),
                end,
                max((f.align for f in kind.fields), default=4),
                tuple(f.offset for f in kind.fields if f.type.startswith("__data_loc")),
                tuple(f.offset for f in kind.fields if f.type.startswith("__rel_loc")),
                tuple((f.offset, f.size) for f in strings if f.size),
            )
        )
    return events
