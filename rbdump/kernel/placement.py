# SPDX-License-Identifier: Apache-2.0
"""Where a raw image (arm64, riscv and arm Image, the s390 payload) is linked: nothing in it says so directly.

The kernel's own symbols give it away where they list the first byte of such an image. Otherwise the pointers in it
do: at the right base they point to symbols, or right behind the NUL of the string before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.columns import distinct
from rbdump.kernel.files.relocations import apply_rela, find_rela
from rbdump.kernel.memory import Segment
from rbdump.kernel.symboldata import Names
from rbdump.kernel.symtabs.kallsyms import Encoding, Tables

__all__ = ["addresses", "place_raw", "relocate_raw"]

Octets = npt.NDArray[np.uint8]

_SAMPLE = 4_000
_FEW = 400
_FINALISTS = 256
"""Of many candidates these are left when few pointers have been looked at."""
_STEP = 0x1000
_MIN_VOTES = 0.05
_MIN_POINTERS = 16
_KERNEL_HALF = {8: 0xFFFF << 48, 4: 1 << 31}
"""Where kernel addresses begin; pairs of instructions seldom look like one."""
_LOWEST = 1 << 16
"""Below lie offsets and the vectors page of arm, not symbols of the image."""
_MAX_CANDIDATES = 1 << 16
_FIRST = {"riscv": "_start"}
"""The first byte where it is not ``_text``: riscv has its header, and code that only boots, on pages of their own."""
_FIXED = {"s390x": 0x100000}
"""TEXT_OFFSET of arch/s390: the payload is linked there whatever the kernel adds later."""


def addresses(tables: Tables, data: Octets, base: int) -> npt.NDArray[np.uint64]:
    """The link addresses of all symbols of tables that lie in ``data``, which is linked at ``base``."""
    stored = tables.offsets(data)
    mask = np.uint64(tables.abi.long_mask)
    if tables.encoding is Encoding.PLACE_RELATIVE:
        places = stored + 4 * np.arange(tables.count) + tables.values
        return (places.astype(np.uint64) + np.uint64(base)) & mask
    if tables.relative_base is None:
        return stored.astype(np.uint64)
    anchor = np.uint64(_pointer(data, tables.relative_base, tables.abi))
    if tables.encoding is Encoding.BASE_RELATIVE:
        return ((stored & 0xFFFF_FFFF).astype(np.uint64) + anchor) & mask
    return np.where(stored >= 0, stored.astype(np.uint64), (anchor - np.uint64(1) - stored.astype(np.uint64)) & mask)


def _pointer(data: Octets, position: int, abi: Abi) -> int:
    return int.from_bytes(data[position : position + abi.long_size].tobytes(), abi.byteorder)


def place_raw(data: Octets, tables: Tables, names: Names, machine: str) -> int | None:
    """The link address of the first byte of the image; None when nothing tells it."""
    abi = tables.abi
    rela = find_rela(data, abi, machine)
    first = names.find(_FIRST.get(machine, "_text"))
    if len(rela) and tables.relative_base is not None and not _pointer(data, tables.relative_base, abi):
        return _base_of_rela(rela, tables.relative_base, len(data), abi)
    if tables.encoding is not Encoding.PLACE_RELATIVE and first:
        return int(addresses(tables, data, 0)[first[0]])
    return _FIXED[machine] if machine in _FIXED else _vote(data, tables, rela)


def relocate_raw(data: Octets, base: int, abi: Abi, machine: str) -> Segment:
    """The image at its link address, with the relocations that it carries applied."""
    rela = find_rela(data, abi, machine)
    segment = Segment(base, data)
    return apply_rela([segment], [rela], np.zeros(1, np.uint64), abi, machine)[0] if len(rela) else segment


def _base_of_rela(rela: Octets, anchor: int, size: int, abi: Abi) -> int | None:
    """The base that makes one relocation fall onto kallsyms_relative_base and all of them into the image."""
    rows = rela.view(abi.dtype(8)).reshape(-1, 3)
    places, addends = rows[:, 0].astype(np.uint64), rows[:, 2].astype(np.uint64)
    bases = places - np.uint64(anchor)
    low, high = int(places.min()), int(places.max())
    fits = (bases % np.uint64(_STEP) == 0) & (bases <= np.uint64(low)) & (bases + np.uint64(size) >= np.uint64(high))
    near = fits & (addends >= bases) & (addends - bases < np.uint64(size))
    rows_left = np.flatnonzero(near)
    if not len(rows_left):
        return None
    # kallsyms_relative_base is the first symbol, at or near the first byte of the image
    best = rows_left[np.argmin(addends[rows_left] - bases[rows_left])]
    return int(bases[best])


def _vote(data: Octets, tables: Tables, rela: Octets) -> int | None:
    abi = tables.abi
    if len(rela):
        pointers = rela.view(abi.dtype(8)).reshape(-1, 3)[:, 2].astype(np.uint64)
    else:
        pointers = data[: len(data) // abi.long_size * abi.long_size].view(abi.dtype(abi.long_size)).astype(np.uint64)
    size = np.uint64(len(data))
    if tables.encoding is Encoding.PLACE_RELATIVE:
        pointers = _densest(pointers[pointers >= np.uint64(_KERNEL_HALF[abi.long_size])], size)
        if len(pointers) < _MIN_POINTERS:
            return None
        low, high = int(pointers[0]), int(pointers[-1])
        # the densest window may reach into .bss, which is not in the image
        begin = max(0, high + 1 - 2 * len(data)) // _STEP * _STEP
    else:
        symbols = addresses(tables, data, 0)
        symbols = symbols[symbols >= np.uint64(_LOWEST)]
        if not len(symbols):
            return None
        low = int(symbols[0])
        begin = max(0, low - len(data)) // _STEP * _STEP
        pointers = distinct(pointers[(pointers >= np.uint64(begin)) & (pointers < np.uint64(low) + size)])
        if len(pointers) < _MIN_POINTERS:
            return None
    if low - begin > _MAX_CANDIDATES * _STEP:
        return None
    candidates = np.arange(begin, low + 1, _STEP, dtype=np.uint64)
    if len(pointers) > _SAMPLE:
        pointers = pointers[:: len(pointers) // _SAMPLE]
    target = _string_starts(data)
    if tables.encoding is Encoding.PLACE_RELATIVE:
        target |= _symbol_starts(data, tables)
    if len(candidates) > _FINALISTS:
        few = pointers[:: -(-len(pointers) // _FEW)]
        scores = [_score(few, base, target) for base in candidates]
        candidates = candidates[np.sort(np.argsort(scores, kind="stable")[-_FINALISTS:])]
    scores = [_score(pointers, base, target) for base in candidates]
    if not scores or max(scores) < _MIN_VOTES:
        return None
    return int(candidates[int(np.argmax(scores))])


def _densest(pointers: npt.NDArray[np.uint64], size: np.uint64) -> npt.NDArray[np.uint64]:
    """The most different pointers that one range of ``size`` bytes holds, sorted."""
    pointers = distinct(pointers)
    if not len(pointers):
        return pointers
    inside = np.searchsorted(pointers, pointers + size, side="left") - np.arange(len(pointers))
    first = int(inside.argmax())
    return pointers[first : first + int(inside[first])]


def _score(pointers: npt.NDArray[Any], base: np.uint64, target: npt.NDArray[np.bool_]) -> float:
    offsets = pointers - base
    offsets = offsets[(pointers >= base) & (offsets < np.uint64(len(target)))]
    return float(target[offsets.astype(np.int64)].sum()) / max(1, len(pointers))


def _symbol_starts(data: Octets, tables: Tables) -> npt.NDArray[np.bool_]:
    starts = np.zeros(len(data), np.bool_)
    places = addresses(tables, data, 0).astype(np.int64)
    starts[places[(places >= 0) & (places < len(data))]] = True
    return starts


def _string_starts(data: Octets) -> npt.NDArray[np.bool_]:
    """Printable bytes behind a NUL, followed by one more."""
    printable = (data >= 0x20) & (data < 0x7F)
    starts = np.zeros(len(data), np.bool_)
    starts[1:-1] = printable[1:-1] & printable[2:] & (data[:-2] == 0)
    return starts
