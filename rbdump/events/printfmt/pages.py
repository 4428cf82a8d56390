# SPDX-License-Identifier: Apache-2.0
"""``pfn_to_page(REC->pfn)``, which every architecture spells in its own way: an array of struct page and an index.

``(struct page *)vmemmap_base + REC->pfn`` (x86), ``vmemmap + REC->pfn`` (s390, powerpc), the same with an expression
of constants and variables for the array (arm64, riscv), ``mem_map + (REC->pfn - offset)`` (32 bits). Whatever the
array is called, its element for frame 0 and the size of an element are all that is needed.
"""

from __future__ import annotations

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.plan import fields_of

__all__ = ["frame_of"]

_MAPS = {"vmemmap", "mem_map"}


def frame_of(node: n.Binary, page: CType) -> n.Node | None:
    """The page frame number that is the index of the array, None for any other expression. ``page``: struct page."""
    if node.op != "+" or not _is_map(node.left, page) or _is_fixed(node.right):
        return None
    frame = node.right
    while isinstance(frame, n.Binary) and frame.op == "-" and _is_fixed(frame.right):
        frame = frame.left  # mem_map begins with the first frame of the memory
    return frame


def _is_map(node: n.Node, page: CType) -> bool:
    if not _is_fixed(node):
        return False
    while isinstance(node, n.Binary) and node.op in ("+", "-"):
        node = node.left
    if isinstance(node, n.Cast):
        return node.type.pointers == 1 and node.type.type == page
    return isinstance(node, n.Ident) and node.name in _MAPS


def _is_fixed(node: n.Node) -> bool:
    """The same for all records."""
    found: set[str] = set()
    return fields_of(node, found) and not found
