# SPDX-License-Identifier: Apache-2.0
"""Files without a name, in memory: what is decompressed, and what the processes of --jobs share."""

from __future__ import annotations

import os
from typing import BinaryIO

__all__ = ["memory_file", "store_all"]


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
