# SPDX-License-Identifier: Apache-2.0
"""The layouts that persistent ring buffers have had, one constant each; which one a region has is found by content.

Kernel facts: kernel/trace/ring_buffer.c and its history. Eras A and A' are the proof of concept of March to June 2024
and never reached mainline; B came with Linux 6.12, B' with 6.14.9, C1 and C2 with 6.15.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LAYOUTS", "META_MAGIC", "SCRATCH_MODULES", "Layout"]

META_MAGIC = 0x0BADFEED
"""The first word of every region from era B on, an int in the machine's byte order."""

SCRATCH_MODULES = 128
"""Entries that the kernel reserves for modules in the scratch."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What sets one layout apart from the others; sizes and offsets are declared in structs.py."""

    name: str
    """``A0``, ``A``, ``A'``, ``B``, ``B'``, ``C1``, ``C2`` or ``C2-inject``."""
    cpu_magic: bool = False
    """The header of each CPU begins with the magic (era B)."""
    has_scratch: bool = False
    """The region begins with a global header with the magic, and the scratch follows it (era C)."""

    def __str__(self) -> str:
        return self.name


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("A0"),
        Layout("A"),
        Layout("A'"),
        Layout("B", cpu_magic=True),
        Layout("B'", cpu_magic=True),
        Layout("C1", has_scratch=True),
        Layout("C2", has_scratch=True),
        Layout("C2-inject", has_scratch=True),
    )
}
"""All layouts by name, oldest first."""
