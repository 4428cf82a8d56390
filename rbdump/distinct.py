# SPDX-License-Identifier: Apache-2.0
"""The distinct values of a column."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["distinct"]

T = TypeVar("T", bound=np.generic)


def distinct(values: npt.NDArray[T]) -> npt.NDArray[T]:
    """The distinct values, sorted, of any shape. np.unique, asked for no counts, imports numpy.ma: 6 ms."""
    found: tuple[npt.NDArray[T], Any] = np.unique(values, return_counts=True)
    return found[0]
