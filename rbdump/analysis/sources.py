# SPDX-License-Identifier: Apache-2.0
"""What the user has beside the region, tracefs copies, symbol lists, kernel images, in terms of the last boot.

Precedence, the first that knows decides:

* formats: copies of tracefs, kernel images, modules, ftrace's built-in events; within a kind in the order given.
* symbols: the symbol list alone if there is one (it is of the boot that died), else the image and its modules.
* strings behind pointers: printk_formats of tracefs, then the image's own memory.
* trace clock: the user, the region, tracefs, else local.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from rbdump.errors import SourceError, UsageError
from rbdump.events.builtin import builtin_formats, choose_numbering
from rbdump.events.catalog import Catalog
from rbdump.events.entries import Entries
from rbdump.events.facts import Facts, no_addr
from rbdump.events.rows import Memory
from rbdump.events.score import require_fit, score_formats
from rbdump.events.texts import FormatTexts
from rbdump.events.tracefs import Tracefs, load_tracefs
from rbdump.events.variables import infer_variables
from rbdump.findings import Finding, Severity
from rbdump.ring import Region
from rbdump.ring.region import CLOCKS
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.symbolizer import Symbolizer
from rbdump.symbols.table import SymbolTable

if TYPE_CHECKING:
    from rbdump.kernel.btf import Btf
    from rbdump.kernel.formats import ImageFormats
    from rbdump.kernel.image import KernelImage
    from rbdump.kernel.typeinfo import FunctionProto

__all__ = ["Knowledge", "Sources", "clock_counts_ns", "gather_knowledge"]

NOT_IN_NS = frozenset({"counter", "uptime", "x86-tsc", "ppc-tb"})
"""Trace clocks that count something else than nanoseconds (trace_clocks[] in kernel/trace/trace.c)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the user named; all of it is optional."""

    tracefs: tuple[str, ...] = ()
    """Copies of /sys/kernel/tracing: folders or tar archives."""
    kallsyms: str | None = None
    """/proc/kallsyms of the boot that died, or a System.map."""
    vmlinux: tuple[str, ...] = ()
    """Images of the kernel that wrote the region."""
    modules: str | None = None
    """Folder of that kernel's .ko files."""
    text_addr: int | None = None
    """Run-time address of ``_text`` in the boot that died."""
    text_delta: int | None = None
    """``_text`` of the kernel that reads the buffer after the reboot less that of the dead one, for `raw_fields`.

    None: not known, and the dead kernel's addresses are printed; 0: the kernel was not moved.
    """
    clock: str | None = None
    """Trace clock; None to believe the region."""
    force: bool = False
    """Use an image even if it does not fit the region."""
    cache: bool = True
    """Keep what is derived from images in the user's cache folder."""


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


@dataclass(frozen=True)
class _PlacedImage:
    """An image where the last boot had it; without a delta its addresses say nothing."""

    image: KernelImage
    formats: ImageFormats | None
    """None when the image does not tell the formats of its events."""
    delta: int | None
    table: SymbolTable | None

    def string_at(self, addr: int) -> str | None:
        if self.delta is None:
            return None
        link = (addr - self.delta) & self.image.abi.long_mask
        known = self.formats.printk_formats.get(link) if self.formats is not None else None
        return known or self.image.cstring(link)

    @cached_property
    def btf(self) -> Btf | None:
        """The image's types; the kernel prints arguments of functions only where it has them itself."""
        from rbdump.kernel.btf import Btf

        try:
            return None if self.image.btf is None else Btf(self.image.btf)
        except SourceError:
            return None


def clock_counts_ns(clock: str | None) -> bool:
    """Whether time stamps of that trace clock are nanoseconds; an unknown clock is taken for one that does."""
    return clock not in NOT_IN_NS


def choose_clock(region: Region, given: str | None, tracefs: list[Tracefs]) -> str | None:
    """The trace clock's name. UsageError if the user's is none."""
    known = {*CLOCKS, *NOT_IN_NS}
    if given is not None and given not in known:
        raise UsageError(f"{given!r} is no trace clock; there are {', '.join(sorted(known))}")
    return given or region.clock_name or next((source.clock for source in tracefs if source.clock), None)


def gather_knowledge(region: Region, entries: Entries, memory: Memory, sources: Sources) -> Knowledge:
    """Open all sources and hold them against the region.

    SourceError when one cannot be used, WrongImageError when an image is another kernel's (unless forced).
    """
    findings: list[Finding] = []
    copies = [load_tracefs(path) for path in sources.tracefs]
    for copy in copies:
        findings += copy.findings
        bits = 8 * (copy.long_size or region.abi.long_size)
        if bits != 8 * region.abi.long_size:
            raise SourceError(f"{copy.path}: is of a {bits}-bit kernel, and the region is {region.abi}")
    images = [_place(path, region, entries, sources, findings) for path in sources.vmlinux]
    table = _symbol_table(sources, region, entries, images, findings)
    texts = [copy.formats for copy in copies]
    texts += [
        FormatTexts.of_events(placed.formats.events, placed.image.path, region.abi.long_size)
        for placed in images
        if placed.formats is not None
    ]
    for source in texts:
        fit = score_formats(Catalog([source]).get, entries.id, entries.rows(memory), origin=source.origin)
        findings += require_fit(fit, force=sources.force)
    numbering = choose_numbering(region.abi, region.layout.name, texts, entries)
    catalog = Catalog([*texts, builtin_formats(region.abi, numbering, entries, memory)], numbering)
    saved: dict[int, str] = {}
    for copy in reversed(copies):
        saved |= copy.saved_cmdlines
    clock = choose_clock(region, sources.clock, copies)
    in_ns = clock_counts_ns(clock)
    variables = infer_variables(entries, memory, catalog.get, in_ns=in_ns)
    facts = Facts(
        region.abi,
        Symbolizer(table, region.abi),
        _strings(copies, images),
        in_ns=in_ns,
        addr_of=table.addr if table is not None else no_addr,
        constant=_constants(images),
        prototype=_prototypes(images) if images else None,
        hz=variables.pop("HZ", None),
        variables=variables,
    )
    return Knowledge(catalog, facts, table, saved, clock, findings)


def _place(path: str, region: Region, entries: Entries, sources: Sources, findings: list[Finding]) -> _PlacedImage:
    from rbdump.kernel.formats import image_formats
    from rbdump.kernel.image import load_image
    from rbdump.symbols.code import CodeMap
    from rbdump.symbols.delta import BootAddresses, boot_table
    from rbdump.symbols.verify import fit_image
    from rbdump.symbols.words import kernel_words

    image = load_image(path, cache=sources.cache)
    formats = None
    try:
        formats = image_formats(image)
        findings += formats.findings
    except SourceError as error:  # its symbols and strings are of use all the same
        findings.append(Finding(Severity.WARNING, "image-without-formats", str(error)))
    words, counts = kernel_words(region.data, region.abi, entries.records)
    fit = fit_image(
        CodeMap.of_image(image),
        BootAddresses.of_region(region),
        words,
        counts,
        name=path,
        text_addr=sources.text_addr,
        force=sources.force,
    )
    findings += fit.findings
    if fit.delta is None:
        return _PlacedImage(image, formats, None, None)
    return _PlacedImage(image, formats, fit.delta.value, boot_table(image.symbols, fit.delta.value))


def _symbol_table(
    sources: Sources, region: Region, entries: Entries, images: list[_PlacedImage], findings: list[Finding]
) -> SymbolTable | None:
    if sources.kallsyms is not None:
        from rbdump.symbols.delta import BootAddresses
        from rbdump.symbols.verify import fit_list
        from rbdump.symbols.words import kernel_words

        table = load_kallsyms(sources.kallsyms)
        findings += table.findings
        words, counts = kernel_words(region.data, region.abi, entries.records)
        table, found = fit_list(
            table,
            BootAddresses.of_region(region),
            words,
            counts,
            name=sources.kallsyms,
            text_addr=sources.text_addr,
            force=sources.force,
        )
        findings += found
        return table
    tables = [placed.table for placed in images if placed.table is not None]
    return tables[0].merge(tables[1:]) if len(tables) > 1 else tables[0] if tables else None


def _strings(copies: list[Tracefs], images: list[_PlacedImage]) -> Callable[[int], str | None]:
    def string_at(addr: int) -> str | None:
        for copy in copies:
            if addr in copy.printk_formats:
                return copy.printk_formats[addr]
        for placed in images:
            text = placed.string_at(addr)
            if text is not None:
                return text
        return None

    return string_at


def _constants(images: list[_PlacedImage]) -> Callable[[str], int | None]:
    found: dict[str, int] = {}
    for placed in reversed(images):
        if placed.formats is not None:
            found |= placed.formats.constants
    return found.get


def _prototypes(images: list[_PlacedImage]) -> Callable[[str], FunctionProto | None]:
    def prototype(name: str) -> FunctionProto | None:
        for placed in images:
            if placed.btf is not None and (found := placed.btf.function(name)) is not None:
                return found
        return None

    return prototype
