# SPDX-License-Identifier: Apache-2.0
"""Everything that the sources beside a region tell of the kernel that wrote it, in terms of the last boot.

Precedence, the first that knows decides:

* formats: copies of tracefs, kernel images, modules, ftrace's built-in events; within a kind in the order given.
* symbols: the symbol list alone if there is one (it is of the boot that died), else the image and its modules.
* strings behind pointers: printk_formats of tracefs, then the image's own memory.
* trace clock: the user, the region, tracefs, else local.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rbdump.analysis.clocks import choose_clock, clock_counts_ns
from rbdump.analysis.enumerators import Enumerators
from rbdump.analysis.sources import SourceFiles, Sources
from rbdump.analysis.walking import Walk
from rbdump.errors import WrongImageError
from rbdump.events.builtin import builtin_formats, choose_numbering, contradicted
from rbdump.events.catalog import Catalog
from rbdump.events.entries import Entries
from rbdump.events.facts import Facts, no_addr, no_module, no_prototypes
from rbdump.events.rows import Memory
from rbdump.events.score import require_fit, score_formats
from rbdump.events.texts import FormatTexts
from rbdump.events.tracefs import Tracefs
from rbdump.events.variables import infer_variables
from rbdump.findings import Finding, Severity, first_of
from rbdump.ring.records import TRACE_ENTRY_SIZE
from rbdump.symbols.symbolizer import Symbolizer
from rbdump.symbols.table import SymbolTable

if TYPE_CHECKING:
    from rbdump.analysis.images import Images
    from rbdump.kernel.events.modules import KernelModule

__all__ = ["Knowledge", "gather_knowledge"]

TRACE_FN = 1
"""Id of function events, in every kernel; their ip follows the trace_entry."""
_ENTRY = 32
"""Bytes from the start of a function within which its tracer is called: 0 to 16, as the architecture has it."""
_LISTED = 8  # modules that a finding lists at most
_MIN_FUNCTIONS = 10
_MIN_ENTRIES = 0.4
"""Of the right list all traced functions are entries, of the list of another kernel up to a quarter."""


@dataclass(slots=True)
class Knowledge:
    """Everything that rendering needs to know of the kernel that wrote the region."""

    catalog: Catalog
    facts: Facts
    table: SymbolTable | None
    saved_cmdlines: Mapping[int, str]
    clock: str | None
    """Name of the trace clock, None when nobody says (local is assumed)."""
    findings: list[Finding] = field(default_factory=list)
    _unverified: _Unverified | None = None

    def verify(self) -> None:
        """Hold the formats against the records, once. WrongImageError when they are another kernel's, unless forced.

        Nothing may be printed before. It takes as long as a few ten thousand lines: the processes of --jobs begin to
        render meanwhile.
        """
        unverified = self._unverified
        if unverified is not None:
            self.findings[unverified.at : unverified.at] = unverified.findings()
            self._unverified = None  # only now: what was refused stays refused


@dataclass(frozen=True, slots=True)
class _Unverified:
    """Formats that were not held against the records yet."""

    texts: Sequence[FormatTexts]
    entries: Callable[[], Entries]
    """Without what damage makes up."""
    memory: Memory
    force: bool
    at: int
    """Where what is found belongs among all findings."""

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        entries = self.entries()
        for source in self.texts:
            fit = score_formats(Catalog([source]).get, entries, self.memory, origin=source.origin)
            found += require_fit(fit, force=self.force)
        return found


def gather_knowledge(walk: Walk, entries: Entries, memory: Memory, sources: Sources, files: SourceFiles) -> Knowledge:
    """Hold the sources against the region; ``files`` are those of ``sources`` that were read already.

    SourceError when one cannot be used, WrongImageError when one is another kernel's (unless forced); of formats it is
    `Knowledge.verify` that finds it.
    """
    return _Gatherer(walk, entries, memory, sources, files).gather()


class _Gatherer:
    """Opens sources one kind after the other, collecting findings."""

    def __init__(self, walk: Walk, entries: Entries, memory: Memory, sources: Sources, files: SourceFiles) -> None:
        self.region = walk.region
        self.words = walk.words
        self.whole_entries = walk.whole_entries
        self.entries = entries
        self.memory = memory
        self.sources = sources
        self.files = files
        self.findings: list[Finding] = []

    def gather(self) -> Knowledge:
        region, sources = self.region, self.sources
        copies = self.files.copies
        clock = choose_clock(region, sources.clock, copies)
        stored = choose_clock(region, None, copies)
        if clock != stored and stored is not None:
            message = f"time stamps are read as of the clock {clock}, as it was asked for; the evidence says {stored}"
            self.findings.append(Finding(Severity.WARNING, "clock-overridden", message))
        self.check_copies()
        images = None
        if self.files.images:
            from rbdump.analysis.images import Images  # opens ELF files, which is slow to import

            images = Images.place(
                self.files.images,
                region,
                self.words,
                self.findings,
                modules=sources.modules,
                text_addr=sources.text_addr,
                force=sources.force,
            )
        texts = [copy.formats for copy in copies] + (images.formats if images is not None else [])
        unverified = _Unverified(texts, self.whole_entries, self.memory, sources.force, len(self.findings))
        texts = [self.without_contradicted(source) for source in texts]
        if images is not None:
            texts += images.module_formats(self.entries, self.memory, texts)
        numbering = choose_numbering(region.abi, region.layout.name, texts, self.entries)
        catalog = Catalog([*texts, builtin_formats(region.abi, numbering, self.entries, self.memory)], numbering)
        in_ns = clock_counts_ns(clock)
        variables = infer_variables(self.entries, self.memory, catalog.get, in_ns=in_ns)
        # last: with --jobs the words that this asks for are still being gathered
        table = self.symbols() if self.files.listed is not None else images.table if images is not None else None
        if table is not None:
            table.assume_page_size(region.subbuf_size)  # of a buffer in reserved memory sub-buffers are pages
        facts = Facts(
            region.abi,
            Symbolizer(table, region.abi),
            _strings(copies, images.string_at if images is not None else None),
            in_ns=in_ns,
            addr_of=table.addr if table is not None else no_addr,
            in_module=table.in_module if table is not None else no_module,
            constant=Enumerators(images, self.modules(images, table)),
            event=catalog.by_name,
            prototypes=images.prototypes if images is not None else no_prototypes,
            release=images.release if images is not None else None,
            eprobes=dict(ChainMap(*(copy.eprobes for copy in copies))),
            hz=variables.pop("HZ", None),
            variables=variables,
        )
        saved: dict[int, str] = {}
        for copy in reversed(copies):
            saved |= copy.saved_cmdlines
        self.say_modules(table)
        return Knowledge(catalog, facts, table, saved, clock, self.findings, unverified)

    def modules(self, images: Images | None, table: SymbolTable | None) -> list[KernelModule]:
        """The modules of the dead kernel, those too that have no addresses, and those that no image goes with."""
        if images is not None and (modules := images.modules):
            return modules
        folder = self.sources.modules
        names = [module.name for module in self.region.modules] or (table.modules if table is not None else ())
        if folder is None or not names or not self.files.copies:  # no format names enumerators of theirs
            return []
        from rbdump.kernel.events.modules import load_module_types

        kernel, release = (images.btf, images.release) if images is not None else (None, None)
        return load_module_types(
            folder, names, abi=self.region.abi, kernel=kernel, release=release, findings=self.findings
        )

    def without_contradicted(self, source: FormatTexts) -> FormatTexts:
        """A source without those formats of ftrace's own events that the records show to be of another kernel."""
        wrong = contradicted(source, self.entries)
        if not wrong:
            return source
        names = ", ".join(source.name_of(event_id)[1] for event_id in wrong)
        message = f"{source.origin}: its formats of {names} are longer than the records; those built in are used"
        self.findings.append(Finding(Severity.WARNING, "formats-do-not-fit", message))
        return source.without(wrong)

    def check_copies(self) -> None:
        for copy in self.files.copies:
            self.findings += copy.findings
            misfit = copy.misfit(self.region.abi)
            if misfit:
                raise WrongImageError(f"{copy.path}: {misfit}")

    def symbols(self) -> SymbolTable | None:
        """The symbol list, moved to where the last boot had it if it is of another."""
        from rbdump.symbols.delta import BootAddresses
        from rbdump.symbols.verify import fit_list

        listed = self.files.listed
        assert listed is not None
        boot = BootAddresses.of_region(self.region)
        words, counts = self.words()
        table, found = fit_list(
            listed,
            boot,
            words,
            counts,
            name=listed.table.origin,
            text_addr=self.sources.text_addr,
            force=self.sources.force,
        )
        self.findings += [*listed.table.findings, *found]
        self.check_functions(table)
        return table

    def check_functions(self, table: SymbolTable) -> None:
        """Refuse a symbol list whose functions begin elsewhere than those that were traced."""
        from rbdump.symbols.verify import refuse

        functions, calls = self.traced_functions
        index, offset, _ = table.nearest(functions)
        # memory that decayed makes functions that never were, each called once
        into = offset[(index >= 0) & (calls > 1)]
        total, wrong = len(into), int(np.count_nonzero(into > _ENTRY))
        if total < _MIN_FUNCTIONS or wrong <= (1 - _MIN_ENTRIES) * total:
            return
        why = f"{wrong} of {total} traced functions do not begin where one of its symbols does"
        self.findings.append(refuse(table.origin, why, force=self.sources.force))

    @cached_property
    def traced_functions(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Addresses of the functions that function events name, each once, and how many events name it."""
        word = self.region.abi.long_size
        at = np.flatnonzero((self.entries.id == TRACE_FN) & (self.entries.records.length >= TRACE_ENTRY_SIZE + word))
        rows = self.entries.rows(self.memory, at)
        addrs = rows.integers(TRACE_ENTRY_SIZE, word, signed=False).astype(np.uint64)
        return np.unique(addrs, return_counts=True)

    def say_modules(self, table: SymbolTable | None) -> None:
        """Modules were loaded, and their symbols are not at hand: say so once."""
        loaded = dict.fromkeys(module.name for module in self.region.modules)
        missing = [name for name in loaded if table is not None and name not in table.modules]
        if missing and self.sources.modules is None:
            listed = first_of(missing, _LISTED)
            message = (
                f"addresses in these modules, should there be any, have no name: {listed} (--modules DIR names them)"
            )
            self.findings.append(Finding(Severity.WARNING, "modules-unresolved", message))
        elif not missing and table is not None:
            self.say_functions(table)
        named = bool(self.region.modules or (table is not None and table.modules))
        use = "tells enumerators only" if self.files.copies and named else "is of no use"
        if self.sources.modules is not None and not self.region.modules:
            message = f"--modules {use}: the region does not say which modules were loaded, nor where"
            self.findings.append(Finding(Severity.WARNING, "modules-unknown", message))
        elif self.sources.modules is not None and not self.sources.vmlinux:
            message = f"--modules {use} without the kernel image: give that as well (--vmlinux)"
            self.findings.append(Finding(Severity.WARNING, "modules-without-image", message))

    def say_functions(self, table: SymbolTable) -> None:
        """Traced functions that no symbol covers; where the region does not list modules, this is how they show."""
        functions, _ = self.traced_functions
        unnamed = int((table.nearest(functions)[0] < 0).sum())
        if unnamed:
            hint = (
                "the list is not whole, or not of that boot"
                if self.files.listed
                else "--kallsyms of that boot names them"
            )
            message = f"{unnamed} of {len(functions)} traced functions have no name, those of modules perhaps ({hint})"
            self.findings.append(Finding(Severity.WARNING, "functions-unnamed", message))


def _strings(
    copies: Sequence[Tracefs], image_string: Callable[[int], str | None] | None
) -> Callable[[int], str | None]:
    def string_at(addr: int) -> str | None:
        for copy in copies:
            if addr in copy.printk_formats:
                return copy.printk_formats[addr]
        return image_string(addr) if image_string is not None else None

    return string_at
