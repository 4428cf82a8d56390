# SPDX-License-Identifier: Apache-2.0
"""Bytes and integers of one record to text, as kernel/trace/trace_output.c and lib/vsprintf.c spell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, compress
from typing import Literal

from rbdump.events.printfmt.runtime import BAD_LOC, WIDTH_LIMIT
from rbdump.memo import Memo

__all__ = [
    "array",
    "bitmap",
    "bitmap_list",
    "blob_texts",
    "escaped",
    "flags",
    "fourcc",
    "hex_bytes",
    "hex_dump",
    "ip4",
    "ip6",
    "ip6_compressed",
    "layers",
    "mac",
    "octal",
    "sockaddr",
    "stacktrace",
    "untrusted",
    "uuid",
]

Order = Literal["little", "big"]


def blob_texts(function: Callable[[bytes], str]) -> Memo[str]:
    """Texts of byte strings; None is memory that does not lie inside the record."""
    return Memo(lambda raw: BAD_LOC if raw is None else function(raw))


def flags(value: int, separator: str, pairs: Sequence[tuple[int, str]]) -> str:
    """trace_print_flags_seq(): names of masks that are set, what is left as hexadecimal."""
    parts = []
    for mask, name in pairs:
        if not value:
            break
        if value & mask == mask:
            parts.append(name)
            value &= ~mask
    if value:
        parts.append(f"{value:#x}")
    return separator.join(parts)


def layers(raw: bytes, size: int, order: Order, pairs: Sequence[tuple[int, str]]) -> str:
    """__trace_landlock_print_layers(): ``{read_file|read_dir,,execute}``, for each layer what it grants."""
    named = 0
    for mask, _ in pairs:
        named |= mask
    values = (int.from_bytes(raw[at : at + size], order) for at in range(0, len(raw) - size + 1, size))
    return "{" + ",".join(flags(value & named, "|", pairs) for value in values) + "}"


def array(raw: bytes, size: int, order: Order) -> str:
    """trace_print_array_seq(): ``{0x1,0x2}``."""
    if size not in (1, 2, 4, 8):
        return "{" + ",".join(f"BAD SIZE:{size} 0x{byte:x}" for byte in raw[: len(raw) // max(size, 1)]) + "}"
    whole = range(0, len(raw) - size + 1, size)
    return "{" + ",".join(f"{int.from_bytes(raw[at : at + size], order):#x}" for at in whole) + "}"


def hex_dump(raw: bytes, prefix: str, offsets: bool, row: int, group: int, characters: bool, order: Order) -> str:
    """trace_print_hex_dump_seq(): a new line, then the lines of seq_buf_hex_dump(), each grouped if its bytes allow."""
    row = row if row in (16, 32) else 16
    group = group if group in (1, 2, 4, 8) else 1
    lines = ["\n"]
    for at in range(0, len(raw), row):
        part = raw[at : at + row]
        size = group if len(part) % group == 0 else 1
        groups = [part[i : i + size] for i in range(0, len(part), size)]
        if size > 1 and order == "little":
            groups = [g[::-1] for g in groups]
        text = " ".join(g.hex() for g in groups)
        if characters:
            text = text.ljust(row * 2 + row // size + 1)
            text += "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in part)
        lines.append(f"{prefix}{f'{at:08x}: ' if offsets else ''}{text}\n")
    return "".join(lines)


def _bits(raw: bytes, order: Order, long_size: int) -> int:
    value = 0
    for at in range(0, len(raw), long_size):
        value |= int.from_bytes(raw[at : at + long_size], order) << (8 * at)
    return value


def bitmap(raw: bytes, count: int, order: Order, long_size: int) -> str:
    """``%*pb``: words of 32 bits in hexadecimal, the highest first and as short as its bits."""
    value = _bits(raw, order, long_size) & ((1 << max(count, 0)) - 1)
    words = []
    top = count % 32 or 32
    for at in range((count + 31) // 32 * 32 - 32, -1, -32):
        words.append(f"{value >> at & 0xFFFFFFFF:0{(top + 3) // 4}x}")
        top = 32
    return ",".join(words)


def bitmap_list(raw: bytes, count: int, order: Order, long_size: int) -> str:
    """``%*pbl``: ranges of set bits, ``0-3,7``."""
    value = _bits(raw, order, long_size) & ((1 << max(count, 0)) - 1)
    ranges = []
    at = 0
    while value >> at:
        low = at + ((value >> at) & -(value >> at)).bit_length() - 1
        rest = ~(value >> low)
        high = low + (rest & -rest).bit_length() - 2
        ranges.append(f"{low}-{high}" if high > low else f"{low}")
        at = high + 1
    return ",".join(ranges)


def stacktrace(raw: bytes, order: Order, long_size: int, symbols: Mapping[int, str]) -> str:
    """trace_print_stacktrace() of a dynamic array of addresses: ``=> name+0x1/0x2`` lines."""
    lines = ["=> "]
    first = True
    for at in range(0, len(raw) - long_size + 1, long_size):
        addr = int.from_bytes(raw[at : at + long_size], order)
        if not addr or addr == (1 << 8 * long_size) - 1:
            break
        lines.append(("" if first else "\n=> ") + symbols[addr])
        first = False
    return "".join(lines)


def hex_bytes(raw: bytes, separator: str) -> str:
    """``%*ph``: at most 64 bytes."""
    return raw[:64].hex(separator) if separator else raw[:64].hex()


def octal(value: int, width: int, precision: int, left: bool, zeroes: bool) -> str:
    """``%#o``, as number() spells it: a 0 in front of all digits, those of the precision too, but of nothing."""
    prefix = "0" if value else ""
    digits = f"{value:o}".rjust(min(max(precision, 0), WIDTH_LIMIT), "0")
    if left or width < 0:
        return (prefix + digits).ljust(min(abs(width), WIDTH_LIMIT))
    width = min(width, WIDTH_LIMIT)
    if zeroes:
        digits = digits.rjust(width - len(prefix), "0")
    return (prefix + digits).rjust(width)


def mac(raw: bytes, kind: str) -> str:
    """``%pM`` (colons), ``%pMF`` (dashes), ``%pMR`` (reversed), ``%pm`` (none)."""
    raw = raw[:6][::-1] if "R" in kind else raw[:6]
    return raw.hex() if kind.startswith("m") else raw.hex("-" if "F" in kind else ":")


def ip4(raw: bytes, padded: bool = False, reverse: bool = False) -> str:
    """``%pI4``, ``%pi4`` (three digits each)."""
    parts = raw[:4][::-1] if reverse else raw[:4]
    return ".".join(f"{b:03d}" if padded else f"{b}" for b in parts)


def ip6(raw: bytes, separator: str = ":") -> str:
    """``%pI6`` and ``%pi6``: eight groups of four digits."""
    return separator.join(raw[at : at + 2].hex() for at in range(0, 16, 2))


def ip6_compressed(raw: bytes) -> str:
    """``%pI6c``: the first longest run of zero groups as ``::``, IPv4 tails of mapped and ISATAP addresses dotted."""
    groups = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 16, 2)]
    mapped = not any(groups[:5]) and groups[5] == 0xFFFF
    isatap = groups[4] | 0x0200 == 0x0200 and groups[5] == 0x5EFE
    tail = ""
    if mapped or isatap:
        tail = ip4(raw[12:16])
        groups = groups[:6]
    parts = [f"{group:x}" for group in groups] + ([tail] if tail else [])
    # the first of the longest runs of zero groups; one group alone is never shortened
    longest = max(re.finditer("0{2,}", "".join("0" if not g else "1" for g in groups)), key=_run_length, default=None)
    if longest is None:
        return ":".join(parts)
    return ":".join(parts[: longest.start()]) + "::" + ":".join(parts[longest.end() :])


def _run_length(run: re.Match[str]) -> int:
    return run.end() - run.start()


def sockaddr(raw: bytes, options: str, order: Order, plain: bool = False) -> str:
    """``%pIS`` and ``%piS`` of a struct sockaddr_in or sockaddr_in6; ``options`` is what follows the S."""
    family = int.from_bytes(raw[:2], order) if len(raw) >= 2 else 0
    port = f":{int.from_bytes(raw[2:4], 'big')}" if "p" in options else ""
    if family == 2 and len(raw) >= 8:
        reverse = ("h" in options and order == "little") or "l" in options
        return ip4(raw[4:8], plain, reverse) + port
    if family == 10 and len(raw) >= 24:
        compressed = "c" in options and not plain
        address = ip6_compressed(raw[8:24]) if compressed else ip6(raw[8:24], "" if plain else ":")
        if not any(c in options for c in "pfs"):
            return address
        text = f"[{address}]{port}"
        if "f" in options:
            text += f"/{int.from_bytes(raw[4:8], 'big') & 0x0FFFFFFF}"
        if "s" in options and len(raw) >= 28:
            text += f"%{int.from_bytes(raw[24:28], order)}"
        return text
    return "(einval)"


def uuid(raw: bytes, kind: str) -> str:
    """``%pU``: ``b`` (as stored), ``l`` (GUID order); upper case for ``B`` and ``L``."""
    if kind in ("l", "L"):
        raw = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    text = f"{raw[:4].hex()}-{raw[4:6].hex()}-{raw[6:8].hex()}-{raw[8:10].hex()}-{raw[10:16].hex()}"
    return text.upper() if kind in ("B", "L") else text


def untrusted(raw: bytes, room: int) -> str:
    """__trace_print_untrusted_str(): what is no plain character escaped as string_escape_mem() does, ``\\040`` for a
    blank; where that takes ``room`` bytes or more, as much of it as fits, and an ellipsis.
    """
    parts = [_ESCAPES[byte] for byte in raw]
    if sum(map(len, parts)) < room:
        return "".join(parts)
    room -= len("\u2026".encode()) + 1
    fits = [size <= room for size in accumulate(map(len, parts))]
    return "".join(compress(parts, fits)) + "\u2026"


def escaped(raw: bytes, options: str) -> str:
    """``%*pE``: the classes that its letters name, ``anp`` without any, escaped as string_escape_mem() does it."""
    asked = set(options or "anp")
    asked |= set("scno") if "a" in asked else set()
    return b"".join(_escape(byte, asked) for byte in raw).decode("utf-8", "surrogateescape")


def fourcc(raw: bytes, kind: str, order: Order) -> str:
    """``%p4cc``, a pixel format, and ``%p4ch``, ``hR`` (the other byte order), ``l``, ``b``: ``AR24 (0x...)``."""
    orders: dict[str, Order] = {"l": "little", "b": "big", "hR": "big" if order == "little" else "little"}
    value = int.from_bytes(raw, orders.get(kind, order))
    name = (value & 0x7FFF_FFFF).to_bytes(4, "little") if kind == "c" else value.to_bytes(4, "big")
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in name)
    if kind == "c":
        text += " big-endian" if value >> 31 else " little-endian"
    return f"{text} ({value:#010x})"


def _escape(byte: int, asked: set[str]) -> bytes:
    if "p" in asked and (0x20 <= byte < 0x7F or byte >= 0xA0):  # printable in Latin-1, as isprint() of the kernel is
        return bytes((byte,))
    for kind, characters in (("s", b"\n\r\t\v\f"), ("c", b'\\\a\x1b"')):
        if kind in asked and byte in characters:
            return _ESCAPES[byte].encode()
    if "n" in asked and not byte:
        return b"\\0"
    if "o" in asked:
        return b"\\%03o" % byte
    return b"\\x%02x" % byte if "h" in asked else bytes((byte,))


_ESCAPES = [chr(byte) if 0x20 < byte < 0x7F and byte not in b"='" else f"\\{byte:03o}" for byte in range(256)]
for _byte, _letter in zip(b'\n\r\t\v\f\a\x1b"\\', 'nrtvfae"\\', strict=True):
    _ESCAPES[_byte] = f"\\{_letter}"
