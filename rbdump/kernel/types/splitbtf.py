# SPDX-License-Identifier: Apache-2.0
"""Split BTF, the types of one module: its type ids and string offsets continue those of the BTF it was made against.

That base is the BTF of vmlinux, or the little one in the section .BTF.base of the module (since 6.11, of modules that
are built outside of the kernel tree). Format: Documentation/bpf/btf.rst. Nothing names the base of a blob, but what
the blob says of its own names tells how many bytes of strings the base has, so that another kernel's BTF is not taken
for the base, and names that are the module's own are known without it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from rbdump.errors import SourceError
from rbdump.kernel.types.btf import ENUM, ENUM64, FUNC_PROTO, STRUCT, UNION, Btf

__all__ = ["SplitBtf"]

NAMED_ITEMS = (STRUCT, UNION, ENUM, FUNC_PROTO, ENUM64)
MIN_STRINGS = 8
MIN_NAMED = 0.75
"""The share of its strings that the types must name where there is no base: of 6.12 they leave out one in a hundred."""
UNKNOWN_FIRST = 1 << 32
"""No type id is as large: the ids in a blob without its base say nothing."""


class SplitBtf(Btf):
    """The types of one module.

    :param data: its section ``.BTF``.
    :param base: what it was made against; None when that is not at hand.
    :raises SourceError: it is no BTF, or was made against another base and does not tell its own names.
    """

    def __init__(self, data: bytes, base: Btf | None) -> None:
        super().__init__(data)
        offsets, begins = self._name_offsets(), self._string_begins()
        if base is not None and base._endian == self._endian and _fits(offsets, begins, len(base._strings)):
            self._base: Btf | None = base
            self._first = 1 + len(base._starts)
            self._own_strings = len(base._strings)
        else:
            self._base = None
            self._first = UNKNOWN_FIRST
            self._own_strings = _infer(offsets, begins)

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The values of those of ``names`` that are constants of the module's own enumerations, where all agree."""
        return {name: values[0] for name, values in self._values(names).items() if len(set(values)) == 1}

    def _record(self, type_id: int) -> tuple[int, int, int]:
        if self._base is not None and type_id < self._first:
            return self._base._record(type_id)
        return super()._record(type_id)

    def _extra(self, type_id: int, size: int) -> bytes:
        if self._base is not None and type_id < self._first:
            return self._base._extra(type_id, size)
        return super()._extra(type_id, size)

    def _string(self, offset: int) -> str:
        if offset >= self._own_strings:
            return super()._string(offset - self._own_strings)
        return self._base._string(offset) if self._base is not None else ""

    def _string_offset(self, name: str) -> int | None:
        word = name.encode("utf-8", "replace") + b"\0"
        if name and self._strings.startswith(word):  # no empty string comes first, the base has that
            return self._own_strings
        if (own := super()._string_offset(name)) is not None:
            return self._own_strings + own
        return self._base._string_offset(name) if self._base is not None else None

    def _name_offsets(self) -> npt.NDArray[np.int64]:
        """All offsets of names in the blob, each once."""
        items = np.concatenate([self._item_words(kind) for kind in NAMED_ITEMS])
        return np.unique(np.concatenate([self._names, self._words[items]])).astype(np.int64)

    def _string_begins(self) -> npt.NDArray[np.int64]:
        """Where the strings of the blob begin."""
        ends = np.flatnonzero(np.frombuffer(self._strings, np.uint8) == 0)
        return np.append(0, ends[:-1] + 1) if len(ends) else ends


def _fits(offsets: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], base: int) -> bool:
    """Whether all names behind the first ``base`` bytes of strings are whole strings of the blob, and it names some."""
    own = offsets[offsets >= base] - base
    return bool(np.isin(own, begins).all()) and len(own) >= min(1, len(begins))


def _infer(offsets: npt.NDArray[np.int64], begins: npt.NDArray[np.int64]) -> int:
    """The bytes of strings that the base has, from the last string, whose name is the largest offset."""
    base = int(offsets[-1] - begins[-1]) if len(offsets) and len(begins) >= MIN_STRINGS else 0
    named = int(np.isin(begins + base, offsets).sum())
    if base <= 0 or named < MIN_NAMED * len(begins) or not _fits(offsets, begins, base):
        raise SourceError("the module's BTF continues that of another kernel: give the image of its own (--vmlinux)")
    return base
