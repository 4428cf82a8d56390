# SPDX-License-Identifier: Apache-2.0
"""C types as far as print fmts need them: sizes, signedness, promotions and the usual arithmetic conversions.

Source: ISO C 6.3.1 and the kernel's typedefs (include/linux/types.h, include/uapi/asm-generic).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from rbdump.abi import Abi

__all__ = ["CType", "TypeTable", "common_type", "promoted", "wrap"]


@dataclass(frozen=True, slots=True)
class CType:
    """One C type."""

    kind: Literal["int", "bool", "pointer", "array", "struct", "void"]
    size: int
    """Bytes; 0 for an incomplete type."""
    signed: bool = False
    target: CType | None = None
    """What a pointer points to, what an array is made of."""
    name: str = ""

    @property
    def is_integer(self) -> bool:
        """Arithmetic is defined for it (pointers count as unsigned long)."""
        return self.kind in ("int", "bool", "pointer")

    @property
    def bits(self) -> int:
        """Width of an integer."""
        return 8 * self.size

    @property
    def dtype(self) -> str:
        """The numpy type code in native byte order: ``i4``, ``u8``."""
        return f"{'i' if self.signed else 'u'}{self.size}"

    def pointer(self, long_size: int) -> CType:
        """Pointer to this type."""
        return CType("pointer", long_size, False, self)


def wrap(value: int, to: CType) -> int:
    """``value`` converted to an integer type as a two's complement machine does it."""
    if to.kind == "bool":
        return int(value != 0)
    value &= (1 << to.bits) - 1
    if to.signed and value >> (to.bits - 1):
        value -= 1 << to.bits
    return value


def promoted(of: CType) -> CType:
    """The type after the integer promotions."""
    if of.kind == "pointer":
        return CType("int", of.size, False)
    if of.size < 4 or of.kind == "bool":
        return CType("int", 4, True)
    return of


def common_type(left: CType, right: CType) -> CType:
    """The type of ``left + right`` after the usual arithmetic conversions."""
    left, right = promoted(left), promoted(right)
    if left.size == right.size:
        return CType("int", left.size, left.signed and right.signed)
    return left if left.size > right.size else right


_FIXED = {
    "int": (4, True),
    "unsigned": (4, False),
    "unsigned int": (4, False),
    "signed": (4, True),
    "signed int": (4, True),
    "short": (2, True),
    "short int": (2, True),
    "signed short": (2, True),
    "unsigned short": (2, False),
    "unsigned short int": (2, False),
    "signed char": (1, True),
    "unsigned char": (1, False),
    "long long": (8, True),
    "long long int": (8, True),
    "signed long long": (8, True),
    "unsigned long long": (8, False),
    "unsigned long long int": (8, False),
    "uint": (4, False),
    "u_int": (4, False),
    "ushort": (2, False),
    "dev_t": (4, False),
    "pid_t": (4, True),
    "tid_t": (4, False),
    "uid_t": (4, False),
    "gid_t": (4, False),
    "gfp_t": (4, False),
    "blk_opf_t": (4, False),
    "fmode_t": (4, False),
    "slab_flags_t": (4, False),
    "vm_fault_t": (4, False),
    "isolate_mode_t": (4, False),
    "access_mask_t": (4, False),
    "errseq_t": (4, False),
    "umode_t": (2, False),
    "loff_t": (8, True),
    "sector_t": (8, False),
    "blkcnt_t": (8, False),
    "ktime_t": (8, True),
    "time64_t": (8, True),
    "binder_uintptr_t": (8, False),
    "ext4_fsblk_t": (8, False),
    "ext4_lblk_t": (4, False),
    "ext4_grpblk_t": (4, True),
    "block_t": (4, False),
    "nid_t": (4, False),
    "xfs_agnumber_t": (4, False),
    "xfs_agblock_t": (4, False),
    "xfs_ino_t": (8, False),
    "xfs_daddr_t": (8, True),
    "tid_type": (4, False),
    "dma_cookie_t": (4, True),
    "char16_t": (2, False),
}
_LONG = {
    "long": True,
    "long int": True,
    "signed long": True,
    "unsigned long": False,
    "unsigned long int": False,
    "long unsigned int": False,
    "long unsigned": False,
    "ulong": False,
    "size_t": False,
    "ssize_t": True,
    "ptrdiff_t": True,
    "intptr_t": True,
    "uintptr_t": False,
    "ino_t": False,
    "pgoff_t": False,
    "off_t": True,
    "clock_t": True,
    "vm_flags_t": False,
    "pgdval_t": False,
    "p4dval_t": False,
    "pudval_t": False,
    "pmdval_t": False,
    "pteval_t": False,
}


@cache
def _names(long_size: int, page_size: int) -> dict[str, CType]:
    """All types by name; ``page_size`` is sizeof(struct page)."""
    names: dict[str, CType] = {
        "void": CType("void", 0),
        "bool": CType("bool", 1),
        "_Bool": CType("bool", 1),
        # unsigned on every architecture since 6.2: the kernel is built with -funsigned-char (commit 3bc753c06dd0)
        "char": CType("int", 1, False, name="char"),
    }
    for name, (size, signed) in _FIXED.items():
        names[name] = CType("int", size, signed)
    for name, signed in _LONG.items():
        names[name] = CType("int", long_size, signed)
    for size in (1, 2, 4, 8):
        for prefix in ("u", "__u", "__be", "__le"):
            names[f"{prefix}{8 * size}"] = CType("int", size, False)
        for prefix in ("s", "__s"):
            names[f"{prefix}{8 * size}"] = CType("int", size, True)
        names[f"uint{8 * size}_t"] = CType("int", size, False)
        names[f"int{8 * size}_t"] = CType("int", size, True)
    names["struct page"] = CType("struct", page_size, name="struct page")
    return names


class TypeTable:
    """The named types of one ABI. ``unknown struct`` types have size 0."""

    def __init__(self, abi: Abi, page_size: int | None = None) -> None:
        self.long_size = abi.long_size
        # struct page is 64 bytes on the 64-bit and 32 bytes on the 32-bit kernels that do not add debug members
        names = _names(abi.long_size, page_size or 8 * abi.long_size)
        self.names = names
        self.int = names["int"]
        self.unsigned = names["unsigned"]
        self.long = names["long"]
        self.ulong = names["unsigned long"]
        self.s64 = names["s64"]
        self.u64 = names["u64"]
        self.char = names["char"]
        self.void = names["void"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeTable) and self.names is other.names

    def __hash__(self) -> int:
        return id(self.names)

    def get(self, name: str) -> CType | None:
        """The type called ``name`` (qualifiers removed, words joined by one blank), None when unknown."""
        found = self.names.get(name)
        if found is not None:
            return found
        if name.startswith("enum "):
            return CType("int", 4, False)
        if name.startswith(("struct ", "union ")):
            return CType("struct", 0, name=name)
        return None
