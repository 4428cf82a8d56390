# SPDX-License-Identifier: Apache-2.0
"""The bytes of a dump that several processes read, and the process of --jobs that decompresses them.

That process begins before numpy is imported, so that it works while this one imports: nothing that is imported here is
heavy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from mmap import mmap
from typing import BinaryIO

from rbdump.analysis.child import Child
from rbdump.decompress import DECOMPRESSED_LIMIT, Unpacked, compression_of, decompress
from rbdump.findings import Finding

__all__ = ["Dump"]


class Dump:
    """A file that was mapped, and if it is compressed, the process that decompresses it.

    OutputError when the system refuses the process.
    """

    def __init__(self, raw: mmap, store: BinaryIO) -> None:
        self.raw = raw
        self.store = store
        """Where the file is decompressed to; stays empty if it is not compressed."""
        kind = compression_of(raw[:8])
        self._child = None if kind is None else Child(partial(self._decompress, kind))

    def __enter__(self) -> Dump:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.dismiss()

    def _decompress(self, kind: str) -> Iterator[tuple[int, list[Finding]]]:
        yield decompress(memoryview(self.raw), kind, DECOMPRESSED_LIMIT, self.store)

    def unpack(self, *_: object) -> Unpacked:
        """Stands in for `rbdump.decompress.unpack` in one of the processes, once: waits for the one that does it.

        Only the parent of that one could learn by what signal it was ended.
        """
        assert self._child is not None
        return self.store, *self._child.receive()
