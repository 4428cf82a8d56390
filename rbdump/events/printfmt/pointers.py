# SPDX-License-Identifier: Apache-2.0
"""The ``%p`` extensions, as pointer() of lib/vsprintf.c dispatches them.

``%p`` itself prints the value: with pointers hashed (the default) the kernel prints a number that only the dead
kernel's secret explains; ``no_hash_pointers`` and the trace option ``hash-ptr`` off print what is printed here.
What would follow a pointer into the kernel's memory (``%pd``, ``%pV`` ...) prints the pointer.
"""

from __future__ import annotations

from collections.abc import Callable

from rbdump.events.printfmt import integers, memory, text
from rbdump.events.printfmt import nodes as n
from rbdump.events.printfmt.context import Context
from rbdump.events.printfmt.errnos import error_name
from rbdump.events.printfmt.functions import map_blobs, map_ints
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt
from rbdump.events.printfmt.runtime import WIDTH_LIMIT
from rbdump.events.printfmt.template import Conversion
from rbdump.events.printfmt.timestamps import rtc_time, time64
from rbdump.events.printfmt.values import Int, Mem, Text, Value

__all__ = ["STRINGS", "pointer"]

Width = Int | int | None
_BITS_LIMIT = 1 << 16
STRINGS = frozenset("SsFfBMmIiU4")
"""Kinds whose text goes through string(), which cuts it to the precision; of %pe only the names of errors do."""


def pointer(ev: Context, conversion: Conversion, width: Width, node: n.Node) -> tuple[Text, Width]:
    """The text of a ``%p...`` conversion and the width that is left to be padded to."""
    extension = conversion.extension
    kind = extension[:1]
    try:
        value = ev.value(node)
    except UnsupportedPrintFmt:
        if kind or ev.page_map is not None:
            raise
        return _relative_page(ev, node), width
    if kind in ("S", "F", "s", "f", "B"):
        symbols = ev.facts.symbols
        return _symbol(ev, value, symbols.pB if kind == "B" else symbols.ps if kind in "sf" else symbols.pS), width
    if kind == "e" and isinstance(value, Int):
        return map_ints(ev, _ulong(ev, value), lambda v: error_name(v, ev.types.long_size), "errors"), width
    if kind in ("h", "b", "E"):
        return _sized(ev, extension, width, _inside(value, extension)), None
    if kind and kind in "MmIiUat4":
        spelled = _record(ev, extension, _inside(value, extension))
        return spelled, None if kind in "at" else width  # addresses and times are not padded
    if isinstance(value, Int) and kind not in ("G", "4", "E"):
        return _raw(ev, conversion, width, value)
    if isinstance(value, Mem) and not kind:
        raise UnsupportedPrintFmt(f"%p prints where the trace buffer of the kernel holds {value.name}")
    raise UnsupportedPrintFmt(f"%p{extension} follows a pointer into the kernel's memory")


def _inside(value: Value, extension: str) -> Mem:
    if isinstance(value, Mem):
        return value
    raise UnsupportedPrintFmt(f"%p{extension} follows a pointer into the kernel's memory")


def _ulong(ev: Context, value: Value) -> Int:
    if not isinstance(value, Int):
        raise UnsupportedPrintFmt("the address of a part of the record is printed as a symbol")
    return integers.convert(ev.code, value, ev.types.ulong)


def _symbol(ev: Context, value: Value, names: object) -> Text:
    addr = _ulong(ev, value)
    if addr.const is not None:
        addr = Int(addr.type, None, ev.code.let(f"np.full(len(rows), {addr.const}, {addr.type.dtype})"))
    memo = ev.code.bind(names, "symbols")
    return Text(None, ev.code.let(f"[*map({memo}.__getitem__, {ev.code.items(addr.code)})]", "s"))


def _raw(ev: Context, conversion: Conversion, width: Width, value: Int) -> tuple[Text, Width]:
    addr = _ulong(ev, value)
    prefix = "0x" if "#" in conversion.flags else ""
    digits = 2 * ev.types.long_size - len(prefix)
    if width is not None and "0" in conversion.flags and isinstance(width, int):
        digits = max(width - len(prefix), 0)
    elif width is not None:
        digits = 1
    if isinstance(conversion.precision, int):
        digits = max(digits, min(conversion.precision, WIDTH_LIMIT))
    if addr.const is not None:
        return Text(f"{prefix}{addr.const:0{digits}x}"), width
    if digits == 2 * ev.types.long_size and not prefix:
        return Text(None, ev.code.let(f"pointer_list({addr.code})", "s")), width
    template = f"{prefix}%0{digits}x"
    return Text(None, ev.code.let(f"[{template!r} % x for x in {ev.code.items(addr.code)}]", "s")), width


def _relative_page(ev: Context, node: n.Node) -> Text:
    """The address of a struct page in an array whose base the kernel chose at boot: what is known is the offset.

    A struct page has 64 bytes on the 64-bit kernels that do not add debug members; 32-bit ones have 32 to 40.
    """
    wide = ev.types.long_size == 8
    ev.page_map = (0, 64 if wide else 1)
    try:
        offset = _ulong(ev, ev.value(node))
    finally:
        ev.page_map = None
    if offset.const is not None:
        raise UnsupportedPrintFmt("the base of the array of struct page is not known")
    ev.notes.append(
        "the base of the array of struct page, which the kernel chose at boot, is not known: "
        "pages are shown relative to it"
    )
    spelling = "vmemmap_base+{hex(x)}" if wide else "pfn_to_page({hex(x)})"
    null = "0" * (2 * ev.types.long_size)
    items = ev.code.items(offset.code)
    return Text(None, ev.code.let(f"[f{spelling!r} if x else {null!r} for x in {items}]", "s"))


def _absolute(ev: Context, width: Int | int) -> Int:
    if isinstance(width, int):
        return Int(ev.types.int, abs(width))
    return Int(ev.types.s64, None, ev.code.let(f"abs({integers.array(width)}.astype(i8))"))


def _blob_text(ev: Context, of: Mem, size: int, function: Callable[[bytes], str]) -> Text:
    return map_blobs(ev, memory.blob(ev, of, Int(ev.types.int, size)), function, "bytes")


def _record(ev: Context, extension: str, of: Mem) -> Text:
    """Extensions that print bytes of the record of a fixed size."""
    order = ev.facts.abi.byteorder
    kind = extension[0]
    if kind in "Mm":
        return _blob_text(ev, of, 6, lambda b: text.mac(b, extension))
    if kind == "U":
        return _blob_text(ev, of, 16, lambda b: text.uuid(b, extension[1:2] or "b"))
    if kind in "Ii":
        family, options = extension[1:2], extension[2:]
        if family == "4":
            reverse = options == "l" or (options == "h" and order == "little")
            return _blob_text(ev, of, 4, lambda b: text.ip4(b, kind == "i", reverse))
        if family == "6":
            if options == "c" and kind == "I":
                return _blob_text(ev, of, 16, text.ip6_compressed)
            return _blob_text(ev, of, 16, lambda b: text.ip6(b, ":" if kind == "I" else ""))
        size = min(of.avail, 28) if isinstance(of.avail, int) else 28
        blobs = ev.code.let(f"blobs(rows, {of.offset}, np.minimum({of.avail}, {size}), {of.avail})", "m")
        return map_blobs(ev, blobs, lambda b: text.sockaddr(b, options, order, kind == "i"), "bytes")
    if kind == "4":
        return _blob_text(ev, of, 4, lambda b: text.fourcc(b, extension[2:], order))
    if kind == "a":
        size = of.elem.size if ev.types.long_size == 4 and of.elem.size in (4, 8) else ev.types.long_size
        return _blob_text(ev, of, size, lambda b: f"0x{int.from_bytes(b, order):0{2 * size}x}")
    if extension[1:2] == "R":
        return _blob_text(ev, of, 24, lambda b: rtc_time(b, extension[2:], order))
    size = 8
    if extension[1:2] == "S":
        return _blob_text(ev, of, 16, lambda b: time64(b, extension[2:], order, True))
    return _blob_text(ev, of, size, lambda b: time64(b, extension[2:], order, False))


def _sized(ev: Context, extension: str, width: Width, of: Mem) -> Text:
    """``%*ph``, ``%*pE`` and ``%*pb``, whose width is the size of what they print; its sign does not matter."""
    order, long_size = ev.facts.abi.byteorder, ev.types.long_size
    if width is None:
        width = 0 if extension[0] == "b" else 1
    if extension[0] == "E":
        blobs = memory.blob(ev, of, _absolute(ev, width))
        return map_blobs(ev, blobs, lambda b: text.escaped(b, extension[1:]), "bytes")
    if extension[0] == "h":
        separator = {"C": ":", "D": "-", "N": ""}.get(extension[1:2], " ")
        if isinstance(width, int):
            size = str(min(abs(width), 64))
        else:
            size = ev.code.let(f"np.minimum(abs({integers.array(width)}.astype(i8)), 64)")
        blobs = ev.code.let(f"blobs(rows, {of.offset}, {size}, {of.avail})", "m")
        return map_blobs(ev, blobs, lambda b: text.hex_bytes(b, separator), "bytes")
    spell = text.bitmap_list if extension.endswith("l") else text.bitmap
    if isinstance(width, int):
        bits = abs(width)
        size_in_bytes = (bits + 8 * long_size - 1) // (8 * long_size) * long_size
        return _blob_text(ev, of, size_in_bytes, lambda b: spell(b, bits, order, long_size))
    counts = ev.code.let(f"np.minimum(abs({integers.array(width)}.astype(i8)), {_BITS_LIMIT})")
    blobs = ev.code.let(
        f"blobs(rows, {of.offset}, ({counts} + {8 * long_size - 1}) // {8 * long_size} * {long_size}, {of.avail})", "m"
    )
    function = ev.code.bind(
        lambda raw, count: "(bad length)" if raw is None else spell(raw, count, order, long_size), "bitmap"
    )
    return Text(None, ev.code.let(f"[*map({function}, {blobs}, {ev.code.items(counts)})]", "s"))
