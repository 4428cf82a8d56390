# SPDX-License-Identifier: Apache-2.0
"""From a path to the records of the region in it, in this process or beside it.

Imports nothing above the ring floor: a run with --jobs walks in one process while the other loads the rest of rbdump
and reads the sources.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rbdump.analysis.child import Child
from rbdump.errors import InputError, NotARegionError
from rbdump.findings import Finding, Severity
from rbdump.inputs import Input, describe, load_input, map_file, map_input, memory_file, store_all
from rbdump.ring import Policy, RecordTable, Region, default_policy, open_region, walk_region, walk_uncommitted

__all__ = ["Walk", "WalkOptions", "walk_beside", "walk_dump"]

_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Walk:
    """A dump whose region was opened and walked."""

    source: Input
    region: Region
    records: RecordTable


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """How to read the region; options of `rbdump parse`."""

    offset: int | None = None
    """Where the region begins in the input; None to search for it."""
    strict: bool = False
    """Only what a kernel would have kept after a reboot."""
    policy: Policy | None = None
    """Which kernel, for `strict`; None to choose by layout."""
    uncommitted: bool = False
    """Records behind the last commit as well."""


def walk_dump(
    path: str, options: WalkOptions, store: BinaryIO | None = None, raw: npt.NDArray[np.uint8] | None = None
) -> Walk:
    """Open a dump and walk its region; ``store`` and ``raw`` as `load_input` takes them."""
    source = load_input(path, store=store, raw=raw)
    try:
        region = open_region(source.data, offset=options.offset)
    except NotARegionError as error:
        raise NotARegionError(f"{source.name}: {error}; it looks like {describe(source.data)}") from None
    if region.other_regions:
        offsets = ", ".join(f"{other:#x}" for other in region.other_regions)
        message = f"there are further regions in this input, at {offsets} (--offset opens another)"
        region.findings.append(Finding(Severity.WARNING, "other-regions", message, offset=region.other_regions[0]))
    records = walk_region(region, policy=options.policy or (default_policy(region) if options.strict else None))
    if options.uncommitted:
        records = RecordTable.concatenate([records, walk_uncommitted(region)])
    return Walk(source, region, records)


def walk_beside(path: str, options: WalkOptions) -> Callable[[], Walk]:
    """Begin `walk_dump` in another process; the function that is returned waits for it, and raises what it raised.

    What is no plain file can be read once only: that function then reads and walks it itself.
    """
    if path == "-" or not os.path.isfile(path):
        return partial(walk_dump, path, options)
    raw = map_input(path)  # both processes look at one mapping: the name may be another file's a moment later
    with ExitStack() as files:
        store, columns = (files.enter_context(memory_file()) for _ in range(2))
        child = Child(partial(_walk, path, options, raw, store, columns))
        kept = files.pop_all()

    def wait() -> Walk:
        with kept:
            reply, status = child.wait()
            if os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
                raise InputError(f"{path}: the process that walks it was ended: {signal.strsignal(number) or number}")
            if status:
                raise InputError(f"{path}: the process that walks it ended early")
            answer, parts = pickle.loads(reply)
            if isinstance(answer, Exception):
                raise answer
            data = map_file(store) if os.fstat(store.fileno()).st_size else raw
            shared = map_file(columns, mmap.ACCESS_COPY)
            walk: Walk = _Reader(answer, data, [shared[begin:end] for begin, end in parts]).load()
            return walk

    return wait


def _walk(path: str, options: WalkOptions, raw: npt.NDArray[np.uint8], store: BinaryIO, columns: BinaryIO) -> bytes:
    try:
        walk = walk_dump(path, options, store, raw)
        buffers: list[pickle.PickleBuffer] = []
        answer = BytesIO()
        _Writer(answer, walk.source.data, buffers).dump(walk)
        return pickle.dumps((answer.getvalue(), [_keep(buffer.raw(), columns) for buffer in buffers]))
    except Exception as error:
        return pickle.dumps((error, []))


def _keep(column: memoryview, columns: BinaryIO) -> tuple[int, int]:
    """Write a column and say where it begins and ends; one of zeros becomes a hole in the file."""
    begin = -(-columns.tell() // _ALIGN) * _ALIGN
    end = begin + len(column)
    if np.frombuffer(column, np.uint8).any():
        columns.seek(begin)
        store_all(columns, column)
    columns.seek(end)
    columns.truncate()
    return begin, end


class _Writer(pickle.Pickler):
    """Pickles a walk but for the bytes of the dump, which both processes have, and the columns of its arrays."""

    def __init__(self, file: BytesIO, data: npt.NDArray[np.uint8], buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)
        self._data = data

    def persistent_id(self, item: Any) -> str | None:
        return "data" if item is self._data else None


class _Reader(pickle.Unpickler):
    def __init__(self, answer: bytes, data: npt.NDArray[np.uint8], buffers: list[npt.NDArray[np.uint8]]) -> None:
        super().__init__(BytesIO(answer), buffers=buffers)
        self._data = data

    def persistent_load(self, _: str) -> npt.NDArray[np.uint8]:
        return self._data
