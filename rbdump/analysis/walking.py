# SPDX-License-Identifier: Apache-2.0
"""From a path to the records of the region in it, in this process or in the one of --jobs.

Imports little of what lies above the ring floor: the process of --jobs has to begin early.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.analysis.child import Child
from rbdump.analysis.coredump import torn_at
from rbdump.analysis.dump import Dump
from rbdump.analysis.walkoptions import WalkOptions
from rbdump.columns import look_up
from rbdump.errors import NotARegionError, UsageError, name_of
from rbdump.events.entries import Entries, gather_entries, swept_ids
from rbdump.events.rows import Memory
from rbdump.findings import Finding, Severity
from rbdump.inputs import Input, describe, in_pieces, load_input, map_file
from rbdump.memoryfile import store_all
from rbdump.ring import (
    MAX_OTHER_REGIONS,
    POLICIES,
    RecordTable,
    Region,
    Sweep,
    default_policy,
    open_region,
    show_records,
    sweep,
    walk_uncommitted,
)
from rbdump.symbols.words import KernelWords, kernel_words

__all__ = ["Prepare", "Walk", "receive_walk", "send_walk", "walk_dump"]

_ALIGN = 64
_ROW = 34
"""Bytes that the columns of `Entries` and of their records take for each record, but for those of one value."""
_STEP = 1 << 21
_MIN_WHOLE = 200
"""Records of undamaged sub-buffers that are enough to judge formats by."""
Prepare = Callable[[Abi, list[int]], None]
"""Is given the ABI and the `swept_ids` of a region while another process goes on with its walk."""


@dataclass(slots=True)
class Walk:
    """A dump whose region was opened and walked."""

    source: Input
    region: Region
    records: RecordTable
    _entries: tuple[Entries, list[Finding]] | None = None
    _words: KernelWords | Callable[[], KernelWords] | None = None
    """Those of another process are received when they are asked for."""

    def entries(self) -> tuple[Entries, list[Finding]]:
        """The records with the columns of their trace_entry, and what is wrong with these; gathered once."""
        if self._entries is None:
            self._entries = gather_entries(self.records, Memory(self.region.data, self.region.abi))
        return self._entries

    def whole_entries(self) -> Entries:
        """Those of sub-buffers whose records are in order to the end; all of them where these are few."""
        entries, _ = self.entries()
        bad = np.concatenate([cpu.subbufs.bad_offset >= 0 for cpu in self.region.cpus])
        if not bad.any():
            return entries
        places = self.records.cpu.astype(np.int64) * self.region.nr_subbufs + self.records.subbuf
        whole = np.flatnonzero(~look_up(bad, places))
        return entries.select(whole) if len(whole) >= _MIN_WHOLE else entries

    def words(self) -> KernelWords:
        """Words of the records that may be kernel addresses; found once."""
        if self._words is None:
            self._words = kernel_words(self.region.data, self.region.abi, self.records)
        elif callable(self._words):
            self._words = self._words()
        return self._words


def walk_dump(path: str, options: WalkOptions, raw: npt.NDArray[np.uint8] | None = None) -> Walk:
    """Open a dump and walk its region; ``raw`` as `load_input` takes it."""
    source = load_input(path, raw=raw)
    return _show(source, sweep(_open_region(source, options)), options)


def _open_region(source: Input, options: WalkOptions) -> Region:
    if options.policy not in (None, *POLICIES):
        raise UsageError(f"{options.policy!r} is no policy of --strict; there are {', '.join(POLICIES)}")
    name = name_of(source.name)
    pieces = in_pieces(source.data) if options.offset is None else None
    if pieces is not None:
        raise NotARegionError(f"{name}: no persistent ring buffer lies whole in the input; it looks like {pieces}")
    try:
        region = open_region(source.data, offset=options.offset)
    except NotARegionError as error:
        lost = "".join(f"; {finding.message}" for finding in source.findings)
        raise NotARegionError(f"{name}: {error}; it looks like {describe(source.data)}{lost}") from None
    paddr = torn_at(source.data, region.offset - region.lacking, region.size) if options.offset is None else None
    if paddr is not None:
        raise NotARegionError(
            f"{name}: the region at {region.offset:#x} lacks pages in this ELF core dump: dump zero pages too "
            f"(makedumpfile -d 30), or take it out of the dump with crash: rd -p -r region.bin {paddr:#x} BYTES"
        )
    if region.other_regions:
        offsets = ", ".join(f"{other:#x}" for other in region.other_regions)
        offsets += " and perhaps more" if len(region.other_regions) == MAX_OTHER_REGIONS else ""
        message = f"there are further regions in this input, at {offsets} (--offset opens another)"
        region.findings.append(Finding(Severity.WARNING, "other-regions", message, offset=region.other_regions[0]))
    return region


def _show(source: Input, swept: Sweep, options: WalkOptions) -> Walk:
    region = swept.region
    records = show_records(swept, policy=options.policy or (default_policy(region) if options.strict else None))
    if options.uncommitted:
        records = RecordTable.concatenate([records, walk_uncommitted(region)])
    return Walk(source, region, records)


def send_walk(path: str, dump: Dump, options: WalkOptions, words: bool, columns: BinaryIO) -> Iterator[Any]:
    """`swept_ids`, `walk_dump`, and the words if they are wanted, as `receive_walk` takes them from a `Child`.

    ``columns`` receives the arrays of the walk.
    """
    source = load_input(path, raw=np.frombuffer(dump.raw, np.uint8), unpack=dump.unpack)
    region = _open_region(source, options)
    swept = sweep(region)
    os.ftruncate(columns.fileno(), int(swept.walked.nr_events.sum()) * _ROW)
    yield region.abi, swept_ids(swept)
    walk = _show(source, swept, options)
    walk.entries()
    buffers: list[pickle.PickleBuffer] = []
    answer = BytesIO()
    _Writer(answer, walk.source.data, buffers).dump(walk)
    yield answer.getvalue(), [_keep(buffer.raw(), columns) for buffer in buffers]
    if words:
        yield walk.words()


def receive_walk(child: Child, dump: Dump, words: bool, columns: BinaryIO, prepare: Prepare | None = None) -> Walk:
    """What `send_walk` sends of ``dump``."""
    first = child.receive()
    if prepare is not None:
        prepare(*first)
    _populate(columns, child)
    answer, parts = child.receive()
    data = map_file(dump.store) if os.fstat(dump.store.fileno()).st_size else np.frombuffer(dump.raw, np.uint8)
    shared = map_file(columns, mmap.ACCESS_COPY)
    walk: Walk = _Reader(answer, data, [shared[begin:end] for begin, end in parts]).load()
    if words:
        walk._words = child.receive_last
    else:
        child.close()
    return walk


def _populate(columns: BinaryIO, child: Child) -> None:
    """Let the system find and clear the memory of ``columns`` while there is nothing else to do but wait."""
    with contextlib.suppress(OSError, AttributeError):  # not all systems can; whoever writes to it says what is wrong
        for begin in range(0, os.fstat(columns.fileno()).st_size, _STEP):
            if child.has_answered():
                return
            os.posix_fallocate(columns.fileno(), begin, _STEP)


def _keep(column: memoryview, columns: BinaryIO) -> tuple[int, int]:
    """Write a column and say where it begins and ends."""
    begin = columns.seek(-(-columns.tell() // _ALIGN) * _ALIGN)
    store_all(columns, column)
    return begin, columns.tell()


class _Writer(pickle.Pickler):
    """Pickles a walk but for the bytes of the dump, which both processes have, and the columns of its arrays."""

    def __init__(self, file: BytesIO, data: npt.NDArray[np.uint8], buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)
        self._data = data

    def persistent_id(self, item: Any) -> str | None:
        return "data" if item is self._data else None

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, np.ndarray) and item.strides == (0,) and len(item):  # one value in all rows
            return np.broadcast_to, (item[0], item.shape)
        return NotImplemented


class _Reader(pickle.Unpickler):
    def __init__(self, answer: bytes, data: npt.NDArray[np.uint8], buffers: list[npt.NDArray[np.uint8]]) -> None:
        super().__init__(BytesIO(answer), buffers=buffers)
        self._data = data

    def persistent_load(self, _: str) -> npt.NDArray[np.uint8]:
        return self._data
