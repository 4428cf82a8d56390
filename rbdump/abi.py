# SPDX-License-Identifier: Apache-2.0
"""The two facts that every size in a dump depends on: byte order and word size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Abi"]


@dataclass(frozen=True, slots=True)
class Abi:
    """Byte order and word size of the machine that wrote the region."""

    byteorder: Literal["little", "big"]
    long_size: Literal[4, 8]
    """Bytes of an ``unsigned long`` and of a pointer."""

    @property
    def endian(self) -> str:
        """``<`` or ``>``, as struct and numpy spell it."""
        return "<" if self.byteorder == "little" else ">"

    def dtype(self, size: int, *, signed: bool = False) -> np.dtype[np.generic]:
        """The numpy type of an integer of ``size`` bytes (1, 2, 4 or 8) in the dump's byte order."""
        return np.dtype(f"{self.endian}{'i' if signed else 'u'}{size}")

    @property
    def long_mask(self) -> int:
        """All bits of an ``unsigned long``."""
        return (1 << (8 * self.long_size)) - 1

    def __str__(self) -> str:
        return f"{8 * self.long_size}-bit {self.byteorder} endian"
