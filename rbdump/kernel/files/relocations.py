# SPDX-License-Identifier: Apache-2.0
"""Dynamic relocations of position-independent images: what the early boot code stores into pointers.

arm64 (arch/arm64/kernel/pi/relocate.c), riscv, s390 before 6.10 and ppc64 link vmlinux as PIE; the pointers in such an
image are zero until its ``.rela.dyn`` has been applied. RELR relocations need nothing: the linker leaves the link-time
address in place. x86 and newer s390 images keep link-time values and carry only a list of places behind the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.columns import distinct
from rbdump.kernel.memory import Segment

__all__ = ["RELATIVE", "apply_rela", "find_rela"]

Octets = npt.NDArray[np.uint8]

RELATIVE = {"aarch64": 1027, "riscv": 3, "s390x": 12, "ppc64": 22, "ppc64le": 22, "x86-64": 8, "loongarch": 3}
"""R_*_RELATIVE: the value is the addend."""
_ABSOLUTE = {"aarch64": 257, "riscv": 2, "s390x": 22, "ppc64": 38, "ppc64le": 38, "x86-64": 1, "loongarch": 2}
"""R_*_64: the value is symbol plus addend."""
_MIN_RUN = 32
_LOWEST = 1 << 16


def apply_rela(
    segments: Sequence[Segment], tables: Sequence[Octets], symbols: npt.NDArray[np.uint64], abi: Abi, machine: str
) -> list[Segment]:
    """Segments with every Elf64_Rela of ``tables`` stored; ``symbols`` are the values of .dynsym."""
    if abi.long_size != 8 or machine not in RELATIVE or not any(len(table) >= 24 for table in tables):
        return list(segments)
    wide = abi.dtype(8)
    rows = np.concatenate([table[: len(table) // 24 * 24] for table in tables]).view(wide).reshape(-1, 3)
    places, info, addends = (rows[:, column].astype(np.uint64) for column in range(3))
    kinds, symbol = info & np.uint64(0xFFFF_FFFF), info >> np.uint64(32)
    absolute = (kinds == _ABSOLUTE[machine]) & (symbol < len(symbols))
    values = addends.copy()
    values[absolute] += symbols[symbol[absolute].astype(np.int64)]
    wanted = absolute | (kinds == RELATIVE[machine])
    places, values = places[wanted], values[wanted]
    relocated = []
    for segment in segments:
        size = len(segment.data)
        low = np.uint64(segment.addr)
        inside = (places >= low) & (places - low <= np.uint64(max(0, size - 8))) & (size >= 8)
        if not inside.any():
            relocated.append(segment)
            continue
        data = segment.data.copy()
        at = (places[inside] - low).astype(np.int64)
        octets = values[inside].astype(wide).view(np.uint8).reshape(-1, 8)
        for byte in range(8):
            data[at + byte] = octets[:, byte]
        relocated.append(Segment(segment.addr, data, segment.zeros))
    return relocated


def find_rela(data: Octets, abi: Abi, machine: str) -> Octets:
    """The table of R_*_RELATIVE entries of an image without headers, found by its shape; empty when there is none."""
    if abi.long_size != 8 or machine not in RELATIVE:
        return data[:0]
    words = data[: len(data) // 8 * 8].view(abi.dtype(8))
    hits = np.flatnonzero(words == RELATIVE[machine])
    best = (0, 0)
    for residue in range(3):
        rows = hits[hits % 3 == residue] // 3
        if not len(rows):
            continue
        breaks = np.flatnonzero(np.diff(rows) != 1)
        firsts = np.append(0, breaks + 1)
        lengths = np.append(breaks, len(rows) - 1) - firsts + 1
        longest = int(lengths.argmax())
        if int(lengths[longest]) > best[1]:
            best = (3 * int(rows[firsts[longest]]) + residue - 1, int(lengths[longest]))
    begin, count = best
    if count < _MIN_RUN or begin < 0:
        return data[:0]
    places = words[begin : begin + 3 * count : 3].astype(np.uint64)
    low, high = int(places.min()), int(places.max())
    # other tables have such a column too: places differ, and lie in one image
    if low < _LOWEST or high - low > len(data) or len(distinct(places)) != count:
        return data[:0]
    return data[8 * begin : 8 * begin + 24 * count]
