# SPDX-License-Identifier: Apache-2.0
"""A region of which no header is left, found by its sub-buffers alone where it fills the input.

They lie where rb_range_meta_init() (kernel/trace/ring_buffer.c) puts those of a region of that size.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.ring.geometry import Geometry, count_all_in_order, guess_geometry
from rbdump.ring.identify import ABIS, MIN_SUBBUFS, Identity
from rbdump.ring.layout import LAYOUTS
from rbdump.ring.structs import region_structs

__all__ = ["LARGEST", "LEAST", "bare_region"]

Bytes = npt.NDArray[np.uint8]

_LAYOUTS = ("C2", "B")
"""Two for all: what lies in front of the first sub-buffer ends on the same page in the others. The newest first."""
LARGEST = 1 << 30
"""Bytes of an input that is tried: memory that somebody reserved for a trace is not larger."""
LEAST = 0.5
"""Of the sub-buffers that hold something so many hold records to their end; of other data next to none do."""


def bare_region(data: Bytes, offset: int) -> tuple[Identity, Geometry] | None:
    """The region from ``offset`` to the end of the input, if its sub-buffers show that one lies there."""
    best: tuple[tuple[int, int, int], tuple[Identity, Geometry]] | None = None
    room = len(data) - offset
    for layout in _LAYOUTS if room <= LARGEST else ():
        for abi in ABIS:
            structs = region_structs(abi, LAYOUTS[layout])
            identity = Identity(offset, structs, structs.buffers_offset, by_magic=False)
            guess = guess_geometry(data, identity, {room})
            if guess is None:
                continue
            (_, evenness, _), geometry = guess
            good, used, stamped = count_all_in_order(data, identity, geometry)
            score = good, stamped, evenness
            if good >= max(MIN_SUBBUFS, LEAST * used) and (best is None or score > best[0]):
                best = score, (identity, geometry)
    return best[1] if best is not None else None
