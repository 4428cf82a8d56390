# SPDX-License-Identifier: Apache-2.0
"""The kernel images that the user named, placed where the last boot had them: symbols, strings, formats, prototypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rbdump.analysis.placing import OpenedImage, PlacedImage, open_image, place_image
from rbdump.columns import distinct
from rbdump.errors import SourceError
from rbdump.events.entries import Entries
from rbdump.events.facts import Prototypes
from rbdump.events.rows import Memory
from rbdump.events.texts import FormatTexts
from rbdump.findings import Finding, Severity
from rbdump.kernel.events.formats import ImageFormats, image_formats
from rbdump.kernel.events.moduleids import UnknownEvent, infer_module_ids
from rbdump.kernel.events.modules import KernelModule
from rbdump.kernel.image import KernelImage
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.imagetypes import image_types
from rbdump.kernel.types.typeinfo import FunctionProto, TypeSource
from rbdump.ring import Region
from rbdump.symbols.delta import BootAddresses
from rbdump.symbols.table import SymbolTable
from rbdump.symbols.words import KernelWords

__all__ = ["Images", "ReadImage", "read_image"]

SAMPLES = 16
"""Records of an unknown event that are looked at to tell whose it is."""
INFERRED = "inferred id, modules below "


@dataclass(frozen=True, slots=True)
class ReadImage:
    """A kernel image and the events that it defines; where the dead kernel had it is another question."""

    opened: OpenedImage
    formats: ImageFormats | None
    """None when it does not tell them: its symbols and strings are of use all the same."""
    findings: tuple[Finding, ...]


def read_image(path: str, *, cache: bool = True) -> ReadImage:
    """Open an image and read its events. SourceError when it is no kernel."""
    opened = open_image(path, cache=cache)
    try:
        formats = image_formats(opened.image)
    except SourceError as error:
        return ReadImage(opened, None, (Finding(Severity.WARNING, "image-without-formats", str(error)),))
    return ReadImage(opened, formats, tuple(formats.findings))


class _Image:
    """One image with what it tells of events."""

    def __init__(self, placed: PlacedImage, formats: ImageFormats | None, types: TypeSource | None = None) -> None:
        self.placed = placed
        self.formats = formats
        self.types = types
        """Those that the events of its modules were read with; None when nobody asked for modules."""

    def string_at(self, addr: int) -> str | None:
        if self.placed.delta is None:
            return None
        link = (addr - self.placed.delta) & self.placed.opened.image.abi.long_mask
        known = self.formats.printk_formats.get(link) if self.formats is not None else None
        return known or self.placed.opened.image.cstring(link)

    @cached_property
    def btf(self) -> Btf | None:
        """Its types; the kernel prints arguments of functions only where it has them itself."""
        if isinstance(self.types, Btf):
            return self.types
        try:
            blob = self.placed.opened.image.btf
            return None if blob is None else Btf(blob)
        except SourceError:
            return None


class Images:
    """All images; the first that knows decides."""

    def __init__(self, images: list[_Image], region: Region, folder: str | None, findings: list[Finding]) -> None:
        self._images = images
        self._region = region
        self._folder = folder
        self._findings = findings

    @classmethod
    def place(
        cls,
        read: Sequence[ReadImage],
        region: Region,
        words: Callable[[], KernelWords],
        findings: list[Finding],
        *,
        modules: str | None = None,
        text_addr: int | None = None,
        force: bool = False,
    ) -> Images:
        """Verify them and put them where the last boot had them: WrongImageError if one is another's and not forced."""
        boot = BootAddresses.of_region(region)
        images = []
        for image in read:
            findings += image.findings
            wants_modules = modules is not None and bool(boot.modules)
            types = _types(image.opened.image) if wants_modules and image.formats is not None else None
            placed = place_image(
                image.opened,
                boot,
                *words(),
                modules=modules,
                types=types,
                text_addr=text_addr,
                force=force,
            )
            findings += placed.findings
            images.append(_Image(placed, image.formats, types))
        return cls(images, region, modules, findings)

    @property
    def table(self) -> SymbolTable | None:
        """The symbols of all images that could be placed, at the addresses of the last boot."""
        tables = [image.placed.table for image in self._images if image.placed.table is not None]
        return tables[0].merge(tables[1:]) if len(tables) > 1 else tables[0] if tables else None

    @property
    def formats(self) -> list[FormatTexts]:
        """The events that each image defines itself."""
        long_size = self._region.abi.long_size
        return [
            FormatTexts.of_events(image.formats.events, image.placed.opened.path, long_size)
            for image in self._images
            if image.formats is not None
        ]

    def module_formats(self, entries: Entries, memory: Memory, known: list[FormatTexts]) -> list[FormatTexts]:
        """The events of modules whose ids can be inferred from the records that no format of ``known`` explains."""
        found = []
        for image in self._images:
            modules = image.placed.modules
            if image.formats is None or not modules.modules:
                continue
            inferred = infer_module_ids(
                modules.modules,
                _unknown_events(entries, memory, known, image.formats.next_id),
                first_id=image.formats.next_id,
                abi=self._region.abi,
                complete=not modules.missing,
            )
            self._findings += inferred.findings
            events = inferred.events.values()
            found.append(FormatTexts.of_events(events, f"{INFERRED}{self._folder}", self._region.abi.long_size))
        return found

    def string_at(self, addr: int) -> str | None:
        """The string at an address of the last boot, if an image holds it."""
        return next((text for image in self._images if (text := image.string_at(addr)) is not None), None)

    def constant(self, name: str, *, of_module: bool) -> int | None:
        """The value of an enumerator that the print fmt of an event of the kernel proper, or of a module, names."""
        for image in self._images:
            if image.formats is not None and name in image.formats.constants:
                return image.formats.constants[name]
            if of_module and image.btf is not None and (known := image.btf.constant(name)) is not None:
                return known
        return None

    @property
    def modules(self) -> list[KernelModule]:
        """The modules of the dead kernel that were opened."""
        return [module for image in self._images for module in image.placed.modules.modules]

    @property
    def btf(self) -> Btf | None:
        """The types of the first image that has some."""
        return next((image.btf for image in self._images if image.btf is not None), None)

    @property
    def release(self) -> str | None:
        """The release that an image says it is."""
        return next((r for image in self._images if (r := image.placed.opened.image.release) is not None), None)

    def prototypes(self) -> Prototypes | None:
        """Look-up of functions' parameters by name; None when no image has types."""
        return self._prototype if any(image.btf is not None for image in self._images) else None

    def _prototype(self, name: str) -> FunctionProto | None:
        for image in self._images:
            if image.btf is not None and (found := image.btf.function(name)) is not None:
                return found
        for module in self.modules:  # bpf_find_btf_id() asks them in this order too
            if module.types is not None and (found := module.types.function(name)) is not None:
                return found
        return None


def _types(image: KernelImage) -> TypeSource | None:
    try:
        return image_types(image)
    except SourceError:
        return None


def _unknown_events(entries: Entries, memory: Memory, known: list[FormatTexts], first_id: int) -> list[UnknownEvent]:
    found = []
    for event_id in distinct(entries.id[entries.id >= first_id]).tolist():
        if any(event_id in texts for texts in known):
            continue
        rows = entries.rows(memory, np.flatnonzero(entries.id == event_id))
        samples = tuple(rows.payload(row) for row in range(min(len(rows), SAMPLES)))
        found.append(UnknownEvent(event_id, tuple(distinct(rows.length).tolist()), samples))
    return found
