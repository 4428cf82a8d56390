# SPDX-License-Identifier: Apache-2.0
"""Two boots in one ring: which boot wrote each sub-buffer, and which time stamps are damage and no boot.

Kernel fact: a boot that adopts the buffer without clearing it (same addresses on 6.12, events from the kernel command
line on any release) goes on behind the last boot's commit page, and trace clocks begin anew. So time stamps that
fall along one CPU's order mark a new boot. Boots are aligned between CPUs by counting from the end.

So a CPU that was silent in the last boot counts its older sub-buffers as of the last one. Nothing in the ring tells
otherwise: adoption moves the pointers of every CPU alike and touches no sub-buffer before the first write. Time does
not tell either: stamps that all lie behind the last ones of the CPUs with a fall can be of an earlier, longer boot,
and can be of a CPU that wrote alone at the end of the last one, its ring wrapped or the CPU silent until then.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

__all__ = ["assign_epochs", "outliers"]

Stamps = npt.NDArray[np.uint64]

_WILD_RUN = 4
"""So many neighbouring sub-buffers may be overwritten by garbage and still not pass for a boot."""
_WILD_TIMES = 64
_WILD_LEAST = 1 << 40
"""In units of the clock: 18 minutes of nanoseconds."""


def outliers(stamps: Stamps) -> npt.NDArray[np.bool_]:
    """Which of one boot's time stamps do not fit: all but a longest sequence that never falls."""
    bad = np.zeros(len(stamps), np.bool_)
    if (stamps[1:] >= stamps[:-1]).all():
        return bad
    values = stamps.tolist()
    tails: list[int] = []
    tail_index: list[int] = []
    previous: list[int] = []
    for index, value in enumerate(values):
        length = bisect_right(tails, value)
        previous.append(tail_index[length - 1] if length else -1)
        if length == len(tails):
            tails.append(value)
            tail_index.append(index)
        else:
            tails[length] = value
            tail_index[length] = index
    bad[:] = True
    index = tail_index[-1]
    while index >= 0:
        bad[index] = False
        index = previous[index]
    return bad


def _boundaries(stamps: list[int]) -> tuple[list[int], list[int]]:
    """Where boots begin along one CPU: (certain, possible) indices.

    A stamp that is out of line between neighbours that agree is damage. With only one sub-buffer on one side of the
    fall nothing can tell which it is.
    """
    certain, possible = [], []
    begin = 0
    index = 1
    while index < len(stamps):
        before, here = stamps[index - 1], stamps[index]
        if here < before:
            after = stamps[index + 1] if index + 1 < len(stamps) else None
            if (
                index - 2 >= begin
                and stamps[index - 2] <= here
                and not (after is not None and after < stamps[index - 2])
            ):
                pass  # the one before was too large
            elif _is_wild_run(stamps, begin, index):
                pass  # the few before were
            elif after is not None and after >= before:
                index += 1  # this one is too small
            elif after is None or index - 1 == begin:
                possible.append(index)
                begin = index
            else:
                certain.append(index)
                begin = index
        index += 1
    return certain, possible


def _is_wild_run(stamps: list[int], begin: int, index: int) -> bool:
    """Whether a few stamps before ``index`` are far off and what surrounds them is close: garbage, no boot."""
    here = stamps[index]
    for first in range(index - 2, max(begin, index - _WILD_RUN - 1), -1):
        before = stamps[first - 1]
        if before <= here:
            return min(stamps[first:index]) - here > _WILD_TIMES * (here - before) + _WILD_LEAST
    return False


def assign_epochs(cpus: list[Stamps]) -> list[npt.NDArray[np.uint8]]:
    """Epoch (0 the last boot) of each sub-buffer, given each CPU's non-empty sub-buffers' stamps in order."""
    found = [_boundaries(stamps.tolist()) if (stamps[1:] < stamps[:-1]).any() else ([], []) for stamps in cpus]
    used = sum(len(stamps) > 0 for stamps in cpus)
    agreed = any(certain for certain, _ in found) or sum(bool(possible) for _, possible in found) > 1 or used == 1
    epochs = []
    for stamps, (certain, possible) in zip(cpus, found, strict=True):
        number = np.zeros(len(stamps), np.int64)
        for index in (*certain, *possible) if agreed else certain:
            number[index:] += 1
        epochs.append(np.minimum(number.max(initial=0) - number, 255).astype(np.uint8))
    return epochs
