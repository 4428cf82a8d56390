# SPDX-License-Identifier: Apache-2.0
"""The order of symbols in kallsyms, which decides the name that an address prints as: the first of its aliases.

Mirrors compare_symbols() of scripts/kallsyms.c on the output of ``nm -n``, which sorts equal addresses by name.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

__all__ = ["kallsyms_order"]

_PROVIDED = re.compile(rb"(?=.{8})__(?:start_|stop_|end_)|__.*(?:_start|_end)\Z", re.DOTALL)


def kallsyms_order(
    addrs: npt.NDArray[np.uint64], letters: npt.NDArray[np.uint8], names: list[bytes]
) -> npt.NDArray[np.int64]:
    """By address; then strong before weak, plain before linker-provided, few leading underscores, and by name."""
    order = np.argsort(addrs, kind="stable")
    ranked = order.tolist()
    ties = np.flatnonzero(addrs[order][1:] == addrs[order][:-1]).tolist()
    done = 0
    for tie in ties:
        if tie < done:
            continue
        end = tie + 1
        while end < len(ranked) and addrs[ranked[end]] == addrs[ranked[tie]]:
            end += 1
        ranked[tie:end] = sorted(ranked[tie:end], key=lambda row: _rank(names[row], int(letters[row])))
        done = end
    return np.array(ranked, np.int64)


def _rank(name: bytes, letter: int) -> tuple[bool, bool, int, bytes]:
    return letter in b"wW", bool(_PROVIDED.match(name)), len(name) - len(name.lstrip(b"_")), name
