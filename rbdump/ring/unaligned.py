# SPDX-License-Identifier: Apache-2.0
"""Headers of CPUs that stand on any byte: an input need not begin where a page of the machine does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from rbdump.ring.identify import ABIS, MIN_SUBBUFS, SUBBUF_SIZES, looks_like_cpu, sane_pointers, word_on_each_byte
from rbdump.ring.layout import LAYOUTS
from rbdump.ring.structs import RegionStructs, member_offset, region_structs, size_of

__all__ = ["unaligned_headers"]

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

_BLOCK = 1 << 18
"""Bytes that are searched at once; they stay in the processor's cache."""
_MOST_TRIES = 1 << 15
_MOST_PHASES = 16
"""Places in a page. More than this, and more tries, has a file that was made to be slow."""
_OTHER_BITS = ~np.bitwise_or.reduce(np.array(SUBBUF_SIZES, np.uint32))
"""Those that are set in no sub-buffer size."""


def unaligned_headers(data: Bytes) -> Iterator[int]:
    """Where headers of CPUs stand on any byte, the first for each place in a page. All their pointers make sense."""
    found: set[int] = set()
    for header, structs in islice(_possible_headers(data), _MOST_TRIES):
        if (
            header % 4096 not in found
            and looks_like_cpu(data, header, structs)
            and sane_pointers(data, header, structs) == 3
        ):
            found.add(header % 4096)
            yield header
            if len(found) == _MOST_PHASES:
                return


def _possible_headers(data: Bytes) -> Iterator[tuple[int, RegionStructs]]:
    anywhere = word_on_each_byte(data)
    for begin in range(0, len(data) - 8, _BLOCK):
        for shift in range(4):
            block = data[begin + shift : begin + shift + _BLOCK + 4]
            words = block[: len(block) // 4 * 4].view("<u4")
            for big in (False, True):
                others = _OTHER_BITS.byteswap() if big else _OTHER_BITS
                at = np.flatnonzero((words[:-1] & others == 0) & (words[:-1] != 0))
                numbers = words[at + 1].byteswap() if big else words[at + 1]
                at = at[(numbers >= MIN_SUBBUFS) & (numbers <= len(data) // 4)] * 4 + begin + shift
                for structs in _cpu_structs(big) if len(at) else ():
                    yield from ((header, structs) for header in _with_pointers(anywhere, at, structs).tolist())


def _with_pointers(anywhere: Words, at: npt.NDArray[np.int64], structs: RegionStructs) -> npt.NDArray[np.int64]:
    """Which headers with their `subbuf_size` at ``at`` point to pages, and have two entries of `buffers[]` behind.

    ``anywhere``: the word on each byte.
    """
    cpu_meta, abi = structs.cpu_meta, structs.abi
    big = abi.byteorder == "big"
    first, head, commit = (member_offset(cpu_meta, f"{name}_buffer") for name in ("first", "head", "commit"))
    low = abi.long_size - 4 if big else 0
    entries, number = size_of(cpu_meta), member_offset(cpu_meta, "nr_subbufs")
    headers = at - member_offset(cpu_meta, "subbuf_size")
    headers = headers[(headers >= 0) & (headers + entries + 8 <= len(anywhere))]

    def words(offset: int) -> Words:
        found = anywhere[headers + offset]
        return found.byteswap() if big else found

    for pointer in (first, head, commit):
        headers = headers[words(pointer + low) % 4096 == 0]
    headers = headers[words(first) | words(first + low) != 0]
    one, other = words(entries), words(entries + 4)
    plausible: npt.NDArray[np.int64] = headers[(one != other) & (np.maximum(one, other) < words(number))]
    return plausible


@cache
def _cpu_structs(big: bool) -> tuple[RegionStructs, ...]:
    """One layout for each word size, and place that `subbuf_size` and `buffers[]` have in the header of a CPU.

    Era A0 is left out.
    """
    every = [
        region_structs(abi, layout)
        for abi in ABIS
        for layout in LAYOUTS.values()
        if layout.name != "A0" and (abi.byteorder == "big") == big
    ]
    where = (
        (structs.abi, member_offset(structs.cpu_meta, "subbuf_size"), size_of(structs.cpu_meta)) for structs in every
    )
    return tuple(dict(zip(where, every, strict=True)).values())
