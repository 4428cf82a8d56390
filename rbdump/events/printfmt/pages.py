# SPDX-License-Identifier: Apache-2.0
"""``pfn_to_page(REC->pfn)``, which every architecture spells in its own way: an array of struct page and an index.

``(struct page *)vmemmap_base + REC->pfn`` (x86), ``vmemmap + REC->pfn`` (s390, powerpc), the same with an expression
of constants and variables for the array (arm64, riscv), ``mem_map + (REC->pfn - offset)`` (32 bits). Whatever the
array is called, its element for frame 0 and the size of an element are all that is needed.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.ctype import CType
from rbdump.events.printfmt.nodes import RECORD

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
    base = node
    while isinstance(base, n.Binary) and base.op in ("+", "-"):
        base = base.left
    if isinstance(base, n.Cast):
        return base.type.pointers == 1 and base.type.type == page and _is_fixed(node)
    return isinstance(base, n.Ident) and base.name in _MAPS and _is_fixed(node)


def _is_fixed(node: n.Node) -> bool:
    """The same for all records: no part of it is a field. Variables make nodes share parts; each is looked at once."""
    seen: set[int] = set()
    left: list[object] = [node]
    while left:
        of = left.pop()
        if id(of) in seen:
            continue
        seen.add(id(of))
        if (isinstance(of, n.Ident) and of.name == RECORD) or (isinstance(of, n.Call) and of.name.startswith("__get_")):
            return False
        if isinstance(of, tuple):
            left += of
        elif is_dataclass(of):
            left += [getattr(of, f.name) for f in fields(of)]
    return True
