# SPDX-License-Identifier: Apache-2.0
"""Call instructions, and those that the function tracer patches, in the machine code of each architecture.

The encodings are those of the architectures' manuals; what lies at a patch site before the kernel boots is what the
compiler emits for -pg, -mfentry, -mhotpatch or -fpatchable-function-entry.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct

__all__ = ["ALIGNMENT", "MACHINES", "MARGIN", "behind_calls", "is_behind_call", "is_patch_site"]

Bools = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Pattern = tuple[int, int, int, int]
"""Bytes before the position, bytes of the value, mask, value under the mask."""

MARGIN = 16
"""Bytes around a text, so that an instruction before or at its edge can be gathered without a test."""

_BIG_ENDIAN = {"ppc64", "s390x"}

ALIGNMENT = {"aarch64": 4, "arm": 2, "ppc64le": 4, "ppc64": 4, "s390x": 2, "riscv": 2}
"""Of instructions, in bytes."""

_X86_CALLS = (
    (5, 1, 0xFF, 0xE8),  # call rel32
    (2, 2, 0xF8FF, 0xD0FF),  # call *%reg
    (3, 2, 0xF8FF, 0x50FF),  # call *disp8(%reg)
    (6, 2, 0xFFFF, 0x15FF),  # call *disp32(%rip)
    (5, 2, 0xFFFF, 0x15FF),  # the same, of which apply_alternatives() made a direct call and a nop
    (6, 2, 0xF8FF, 0x90FF),  # call *disp32(%reg)
)
_PPC_CALLS = (
    (4, 4, 0xFC000003, 0x48000001),  # bl
    (4, 4, 0xFFFFFFFF, 0x4E800421),  # bctrl
    (4, 4, 0xFFFFFFFF, 0x4E800021),  # blrl
)
_CALLS: dict[str, tuple[Pattern, ...]] = {
    "x86-64": _X86_CALLS,
    "i386": _X86_CALLS,
    "aarch64": (
        (4, 4, 0xFC000000, 0x94000000),  # bl
        (4, 4, 0xFFFFFC1F, 0xD63F0000),  # blr
        (4, 4, 0xFFFFF800, 0xD73F0800),  # blraa, blrab
    ),
    "arm": (
        (4, 4, 0x0F000000, 0x0B000000),  # bl
        (4, 4, 0x0FFFFFF0, 0x012FFF30),  # blx register
    ),
    "thumb": (
        (4, 4, 0xC000F800, 0xC000F000),  # bl, blx
        (2, 2, 0xFF87, 0x4780),  # blx register
    ),
    "ppc64le": _PPC_CALLS,
    "ppc64": _PPC_CALLS,
    "s390x": (
        (6, 2, 0xFF0F, 0xC005),  # brasl
        (4, 2, 0xFF0F, 0xA705),  # bras
        (2, 1, 0xFF, 0x0D),  # basr
    ),
    "riscv": (
        (4, 4, 0x00000FFF, 0x000000EF),  # jal ra
        (4, 4, 0x00007FFF, 0x000000E7),  # jalr ra
        (2, 2, 0xF07F, 0x9002),  # c.jalr
    ),
}

_X86_PATCH_SITES = (
    (0, 1, 0xFF, 0xE8),  # call __fentry__
    (0, 4, 0xFFFFFFFF, 0x00441F0F),  # the nop that objtool makes of it
)
_PPC_PATCH_SITES = (
    (0, 4, 0xFFFFFFFF, 0x60000000),  # nop
    (0, 4, 0xFC000003, 0x48000001),  # bl _mcount
)
_PATCH_SITES: dict[str, tuple[Pattern, ...]] = {
    "x86-64": _X86_PATCH_SITES,
    "i386": _X86_PATCH_SITES,
    "aarch64": (
        (0, 4, 0xFFFFFFFF, 0xD503201F),  # nop
        (0, 4, 0xFC000000, 0x94000000),  # bl _mcount
    ),
    "arm": (
        (0, 4, 0x0F000000, 0x0B000000),  # bl __gnu_mcount_nc
        (0, 4, 0xFFFFFFFF, 0xE8BD4000),  # pop {lr}
    ),
    "ppc64le": _PPC_PATCH_SITES,
    "ppc64": _PPC_PATCH_SITES,
    "s390x": ((0, 2, 0xFFFF, 0xC004),),  # brcl 0, .
    "riscv": (
        (0, 4, 0xFFFFFFFF, 0x00000013),  # nop
        (0, 4, 0x00000FFF, 0x00000297),  # auipc t0
        (0, 2, 0xFFFF, 0x0001),  # c.nop
    ),
}


MACHINES = frozenset(_PATCH_SITES)
"""The machines that are known here, as kernel images call them."""


def behind_calls(text: Octets, machine: str) -> Positions:
    """All positions of ``text`` (MARGIN bytes of padding at both ends) at which a call instruction ends."""
    found = []
    for patterns, odd in ((_CALLS[machine], 0), (_CALLS["thumb"] if machine == "arm" else (), 1)):
        for pattern in patterns:
            back, size, mask, value = pattern
            # The byte that is fixed in most bits leaves few candidates, and looking for it is one pass over the text.
            octets = [(mask >> 8 * i & 0xFF, value >> 8 * i & 0xFF, i) for i in range(size)]
            octet_mask, octet, i = max(octets, key=lambda item: item[0].bit_count())
            place = size - 1 - i if machine in _BIG_ENDIAN else i
            masked = text if octet_mask == 0xFF else text & np.uint8(octet_mask)
            at = np.flatnonzero(masked == octet) - place + back
            at = at[(at >= MARGIN) & (at < len(text) - MARGIN) & ((at - MARGIN) % ALIGNMENT.get(machine, 1) == 0)]
            found.append(at[_any(text, at, (pattern,), machine)] + odd)
    return distinct(np.concatenate(found))


def is_behind_call(text: Octets, at: Positions, machine: str) -> Bools:
    """Whether a call instruction ends where each position of ``text`` begins (MARGIN or more bytes into it)."""
    if machine != "arm":
        return _any(text, at, _CALLS[machine], machine)
    # bit 0 of a return address is the instruction set
    thumb = _any(text, at & ~1, _CALLS["thumb"], machine)
    found: Bools = np.where(at & 1 == 1, thumb, _any(text, at, _CALLS["arm"], machine))
    return found


def is_patch_site(text: Octets, at: Positions, machine: str) -> Bools:
    """Whether the instruction at each position is one that the function tracer patches, as the linker left it."""
    return _any(text, at, _PATCH_SITES[machine], machine)


def _any(text: Octets, at: Positions, patterns: tuple[Pattern, ...], machine: str) -> Bools:
    found = np.zeros(len(at), np.bool_)
    for back, size, mask, value in patterns:
        word = np.zeros(len(at), np.uint32)
        for i in range(size):
            shift = 8 * (size - 1 - i if machine in _BIG_ENDIAN else i)
            word |= text[at - back + i].astype(np.uint32) << np.uint32(shift)
        found |= word & np.uint32(mask) == np.uint32(value)
    return found
