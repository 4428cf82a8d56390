# SPDX-License-Identifier: Apache-2.0
"""Kernel images and symbol lists, opened once and put where a boot had them: names for the addresses of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import WrongImageError
from rbdump.findings import Finding
from rbdump.kernel.events.modules import LoadedModules, check_folder, load_modules
from rbdump.kernel.image import KernelImage, load_image
from rbdump.kernel.types.lines import SourceLines
from rbdump.kernel.types.typeinfo import TypeSource
from rbdump.symbols.code import CodeMap, Landing
from rbdump.symbols.delta import BootAddresses, boot_table, kernel_like
from rbdump.symbols.kallsyms_text import load_kallsyms
from rbdump.symbols.table import SymbolTable
from rbdump.symbols.verify import SymbolList, Verdict, fit_image, fit_list

__all__ = ["OpenedImage", "Placed", "PlacedImage", "Placer", "open_image", "place_image"]

Addrs = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A kernel image and what is looked up in its code."""

    path: str
    image: KernelImage
    code: CodeMap
    lines: SourceLines | None = None

    def line_of(self, link: int) -> str | None:
        """``file:line`` of a link address, by DWARF; that of the call for the place behind one."""
        if not self.lines:
            return None
        behind_call = self.code.landings(np.array([link], np.uint64))[0] == Landing.CALL_SITE
        return self.lines.lookup(link - 1 if behind_call else link)


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """A kernel image where one boot had it."""

    opened: OpenedImage
    delta: int | None
    """Bytes to add to link addresses; None when nothing says where the kernel was."""
    table: SymbolTable | None
    """Its symbols and those of its modules at the addresses of that boot; None without a delta."""
    settled: bool
    """More addresses would not change it: the image is verified, or the user forces it."""
    modules: LoadedModules
    findings: tuple[Finding, ...]


def open_image(path: str, *, cache: bool = True, lines: bool = False) -> OpenedImage:
    """Open an image; ``lines`` reads its DWARF as well. SourceError when it cannot be used."""
    image = load_image(path, cache=cache)
    return OpenedImage(path, image, CodeMap.of_image(image), SourceLines(path) if lines else None)


def place_image(
    opened: OpenedImage,
    boot: BootAddresses,
    words: Addrs,
    counts: npt.NDArray[np.int64],
    *,
    modules: str | None = None,
    types: TypeSource | None = None,
    text_addr: int | None = None,
    force: bool = False,
) -> PlacedImage:
    """Put an image, and the modules in a folder that ``boot`` had loaded, where ``boot`` had them.

    ``words`` and ``counts`` are recorded addresses, to verify or to infer; with ``types`` modules tell their events.
    Raises WrongImageError with the figures when the image is not the one that recorded them, unless forced.
    """
    fit = fit_image(opened.code, boot, words, counts, name=opened.path, text_addr=text_addr, force=force)
    settled = fit.check.verdict is Verdict.RIGHT or force
    loaded = LoadedModules((), ())
    if fit.delta is None:
        return PlacedImage(opened, None, None, settled, loaded, fit.findings)
    if modules is not None and boot.modules:
        wanted = [(module.name, module.addr) for module in boot.modules]
        loaded = load_modules(modules, wanted, abi=opened.image.abi, types=types, release=opened.image.release)
    tables = [boot_table(module.symbols, 0, name=module.name) for module in loaded.modules]
    table = boot_table(opened.image.symbols, fit.delta.value, tables)
    return PlacedImage(opened, fit.delta.value, table, settled, loaded, (*fit.findings, *loaded.findings))


@dataclass(frozen=True, slots=True)
class Placed:
    """Symbols at the addresses of one boot."""

    table: SymbolTable | None
    """None when nothing says where the kernel was."""
    settled: bool
    """More addresses would not change it: the image is verified, or the user forces it."""
    findings: tuple[Finding, ...]
    _opened: OpenedImage | None = None
    _delta: int = 0

    def line_of(self, addr: int) -> str | None:
        """``file:line`` of an address, by the DWARF of the image; that of the call for the place behind one."""
        return self._opened.line_of((addr - self._delta) & 0xFFFF_FFFF_FFFF_FFFF) if self._opened is not None else None


class Placer:
    """Whatever the user named as a source of symbols."""

    def __init__(
        self,
        vmlinux: Sequence[str] = (),
        *,
        kallsyms: str | None = None,
        modules: str | None = None,
        text_addr: int | None = None,
        force: bool = False,
        cache: bool = True,
        lines: bool = False,
    ) -> None:
        """``lines`` reads the DWARF of the images as well. Raises SourceError if a source cannot be used."""
        if modules is not None:
            check_folder(modules)
        self._modules = modules
        self.text_addr = text_addr
        """Where the user says that ``_text`` was."""
        self._force = force
        self._images = [open_image(path, cache=cache, lines=lines) for path in vmlinux]
        self._linked = [boot_table(item.image.symbols, 0) for item in self._images] if lines else []
        self._list = SymbolList.of(load_kallsyms(kallsyms)) if kallsyms is not None else None
        self._list_name = kallsyms or ""

    @property
    def abi(self) -> Abi:
        """Of the sources: byte order (little endian where only a symbol list is known) and word size."""
        if self._images:
            return self._images[0].image.abi
        wide = self._list is not None and len(self._list.table) > 0 and int(self._list.table.addrs[-1]) >> 32
        return Abi("little", 8 if wide else 4)

    @property
    def has_lines(self) -> bool:
        """Whether an image has DWARF that was read."""
        return any(item.lines for item in self._images)

    def line_of_symbol(self, name: str, offset: int, size: int) -> str | None:
        """``file:line`` of ``name+offset/size``, by the first image that has one such symbol, of that very size."""
        for item, table in zip(self._images, self._linked, strict=False):
            starts = np.unique(table.addrs[table.names.find(name)])
            starts = starts[table.nearest(starts)[2] == size]
            if len(starts) == 1 and (line := item.line_of(int(starts[0]) + offset)) is not None:
                return line
        return None

    def likely(self, addrs: Addrs) -> npt.NDArray[np.bool_]:
        """Which addresses must be of a kernel such as the first source, wherever it was, or of its modules."""
        code = self._list.code if self._list is not None else self._images[0].code
        return kernel_like(code, addrs, self.abi)

    def place(self, boot: BootAddresses, addrs: Addrs) -> Placed:
        """The symbols where ``boot`` had them; ``addrs`` are addresses that it recorded, to verify or to infer.

        Raises WrongImageError with the figures when no image is the one that recorded them, unless forced.
        """
        words, counts = np.unique(addrs, return_counts=True)
        if self._list is not None:
            table, findings = fit_list(
                self._list,
                boot,
                words,
                counts,
                name=self._list_name,
                text_addr=self.text_addr,
                force=self._force,
            )
            return Placed(table, True, findings)
        refused: WrongImageError | None = None
        for item in self._images:
            try:
                return self._place(item, boot, words, counts)
            except WrongImageError as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def at_link_addresses(self) -> Placed:
        """The symbols of the first source, at ``--text-addr`` if it was given, else where they were linked."""
        if self._list is not None and self.text_addr is None:
            return Placed(self._list.table, True, ())
        text_addr = None if self.text_addr is not None else 0
        return self.place(BootAddresses(self.abi, kaslr_offset=text_addr), np.empty(0, np.uint64))

    def _place(self, opened: OpenedImage, boot: BootAddresses, words: Addrs, counts: npt.NDArray[np.int64]) -> Placed:
        placed = place_image(
            opened, boot, words, counts, modules=self._modules, text_addr=self.text_addr, force=self._force
        )
        return Placed(placed.table, placed.settled, placed.findings, opened, placed.delta or 0)
