# SPDX-License-Identifier: Apache-2.0
"""What the user names beside the region: copies of tracefs, symbol lists, kernel images."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbdump.abi import Abi

if TYPE_CHECKING:
    from rbdump.analysis.images import ReadImage
    from rbdump.events.tracefs import Tracefs
    from rbdump.symbols.verify import SymbolList

__all__ = ["EarlyFiles", "SourceFiles", "Sources", "read_files"]


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


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The sources that need no region to be read."""

    copies: tuple[Tracefs, ...]
    listed: SymbolList | None = None
    images: tuple[ReadImage, ...] = ()


def read_files(sources: Sources) -> SourceFiles:
    """Read all sources but the modules. SourceError when one cannot be used, or no modules are there."""
    if sources.modules is not None:
        from rbdump.kernel.events.modules import check_folder

        check_folder(sources.modules)
    copies: tuple[Tracefs, ...] = ()
    listed = None
    images: tuple[ReadImage, ...] = ()
    # each is slow to import
    if sources.tracefs:
        from rbdump.events.tracefs import load_tracefs

        copies = tuple(load_tracefs(path) for path in sources.tracefs)
    if sources.kallsyms is not None:
        from rbdump.symbols.kallsyms_text import load_kallsyms
        from rbdump.symbols.verify import SymbolList

        listed = SymbolList.of(load_kallsyms(sources.kallsyms))
    if sources.vmlinux:
        from rbdump.analysis.images import read_image

        images = tuple(read_image(path, cache=sources.cache) for path in sources.vmlinux)
    return SourceFiles(copies, listed, images)


class EarlyFiles:
    """The sources, read before they are wanted.

    A pipe among them may keep its reader waiting for ever: then they are read when they are wanted.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._files: SourceFiles | None = None
        self._error: Exception | None = None
        paths = (*sources.tracefs, *sources.vmlinux, *filter(None, [sources.kallsyms]))
        if all(os.path.isfile(path) or os.path.isdir(path) for path in paths):
            try:
                self._files = read_files(sources)
            except Exception as error:
                self._error = error

    def files(self) -> SourceFiles:
        """What was read; raises what reading raised."""
        if self._error is not None:
            raise self._error
        return self._files or read_files(self._sources)

    def parse(self, abi: Abi, event_ids: Iterable[int]) -> None:
        """Parse the formats of events that a region seems to hold; what is wrong with one is said later."""
        from rbdump.events.printfmt import parse_ahead

        copies = self._files.copies if self._files is not None else ()
        for event_id, copy in itertools.product(event_ids, copies):
            with contextlib.suppress(Exception):
                parse_ahead(copy.formats[event_id], abi)
