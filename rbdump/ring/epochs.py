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

_FEW = 4
"""So many neighbouring sub-buffers may be damaged and still not pass for a boot."""
_MOST = 2
"""How many times more sub-buffers boots must explain than are damaged all the same."""
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


def _boundaries(stamps: list[int], few: int) -> tuple[list[int], list[int]]:
    """Where boots seem to begin along one CPU: (certain, possible) indices.

    Up to ``few`` stamps in a row may be damaged. With only one sub-buffer on one side of the fall nothing can tell
    whether it is.
    """
    certain: list[int] = []
    possible: list[int] = []
    reached = _reached(stamps)
    begin = 0
    index = 1
    while index < len(stamps):
        if stamps[index] < stamps[index - 1]:
            last = _last_out_of_line(stamps, reached, begin, index, few)
            if last is None:
                alone = index + 1 == len(stamps) or index - 1 == begin
                (possible if alone else certain).append(index)
                begin = index
            else:
                index = last
        index += 1
    return certain, possible


def _reached(stamps: list[int]) -> list[int]:
    """The time that each stamp and the later ones reach, and more than one of them: one may be damaged."""
    largest = second = -1
    reached = []
    for stamp in reversed(stamps):
        largest, second = (stamp, largest) if stamp > largest else (largest, max(second, stamp))
        reached.append(second)
    return reached[::-1]


def _last_out_of_line(stamps: list[int], reached: list[int], begin: int, index: int, few: int) -> int | None:
    """The last of the few stamps around a fall at ``index`` that are damage; None where another boot may begin there.

    Those before are too large if what came before them fits what follows; one may lie anywhere, several are far off or
    later ones reach them. Those from ``index`` on are too small if the next one fits what came before.
    """
    before, here = stamps[index - 1], stamps[index]
    for first in range(index - 1, max(begin, index - _FEW - 1), -1):
        if stamps[first - 1] <= here:
            alone = first == index - 1 and not (index + 1 < len(stamps) and stamps[index + 1] < stamps[first - 1])
            if alone or _is_wild(stamps, first, index) or (index - first <= few and reached[index] >= before):
                return index
            break
    for last in range(index, min(index + few, len(stamps) - 1)):
        if stamps[last + 1] >= before:
            return last if last + 2 == len(stamps) or reached[last + 1] >= before else None
    return None


def _is_wild(stamps: list[int], first: int, index: int) -> bool:
    """Whether a few stamps before ``index`` are far off and what surrounds them is close: garbage, no boot."""
    here = stamps[index]
    return min(stamps[first:index]) - here > _WILD_TIMES * (here - stamps[first - 1]) + _WILD_LEAST


def assign_epochs(cpus: list[Stamps]) -> list[npt.NDArray[np.uint8]]:
    """Epoch (0 the last boot) of each sub-buffer, given each CPU's non-empty sub-buffers' stamps in order.

    Boots have to explain all that falls, or, with some stamps in a row damaged, most of it along the CPUs that show
    them: where sub-buffers were exchanged, part of it looks like boots.
    """
    for few in (1, _FEW):
        begins = _begins(cpus, few)
        shown = [(stamps, at) for stamps, at in zip(cpus, begins, strict=True) if at]
        without = sum(_count_outliers(stamps) for stamps, _ in shown)
        damaged = sum(_count_outliers(part) for stamps, at in shown for part in np.split(stamps, at))
        if without - damaged > _MOST * damaged and (few > 1 or not damaged):
            break
    else:
        begins = [[] for _ in cpus]
    epochs = []
    for stamps, at in zip(cpus, begins, strict=True):
        number = np.repeat(np.arange(len(at), -1, -1), np.diff([0, *at, len(stamps)]))
        epochs.append(np.minimum(number, 255).astype(np.uint8))
    return epochs


def _begins(cpus: list[Stamps], few: int) -> list[list[int]]:
    """Where boots begin along each CPU; a possible begin counts where another CPU has one too, or that boot alone."""
    found = [_boundaries(stamps.tolist(), few) if (stamps[1:] < stamps[:-1]).any() else ([], []) for stamps in cpus]
    used = sum(len(stamps) > 0 for stamps in cpus)
    agreed = any(certain for certain, _ in found) or sum(bool(possible) for _, possible in found) > 1 or used == 1
    whole = [stamps for stamps, (certain, possible) in zip(cpus, found, strict=True) if not (certain or possible)]
    return [
        sorted([*certain, *(at for at in possible if agreed or _is_boot_of(whole, stamps, at))])
        for stamps, (certain, possible) in zip(cpus, found, strict=True)
    ]


def _is_boot_of(whole: list[Stamps], stamps: Stamps, at: int) -> bool:
    """Whether a CPU has the boot alone that may begin at ``at`` of another: since 7.1 one resets CPU 0 and goes on in
    the others.
    """
    here, before = stamps[at], stamps[:at].min()
    return any(bool(len(other) and other.min() <= here <= other.max() < before) for other in whole)


def _count_outliers(stamps: Stamps) -> int:
    return int(np.count_nonzero(outliers(stamps)))
