# SPDX-License-Identifier: Apache-2.0
"""What the processes of --jobs share: files without a name in memory, and files that both map."""

from __future__ import annotations

import os
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

__all__ = ["Identity", "map_identified", "memory_file", "store_all"]

Identity = tuple[int, ...]
"""Of a file that was mapped: mode, inode, device, and how many bytes were mapped."""


def map_identified(file: BinaryIO) -> tuple[mmap, Identity]:
    """All bytes of a file, and which file that is. OSError or ValueError when it cannot be mapped or is empty."""
    mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
    return mapped, (*os.fstat(file.fileno())[:3], len(mapped))


def memory_file() -> BinaryIO:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("rbdump"), "w+b", buffering=0)
    import tempfile  # slow to import, and seldom needed

    return tempfile.TemporaryFile(buffering=0)


def store_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of ``data`` to a memory file. MemoryError where there is no room for it."""
    view = memoryview(data)
    while view:
        try:
            view = view[file.write(view) :]
        except OSError as error:
            raise MemoryError(error.strerror) from error
