# SPDX-License-Identifier: Apache-2.0
"""The compressions that a kernel image can be in (lib/decompress*.c), found by their magic numbers.

A stream is taken from its magic number on, whatever follows it, and never gives more than ``limit`` bytes. The kernel's
lz4 is the legacy frame: blocks of up to 8 MiB, each with its compressed size in front.
"""

from __future__ import annotations

import bz2
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rbdump.errors import SourceError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

__all__ = ["PayloadError", "TruncatedPayloadError", "UnsupportedPayloadError", "decompress", "find_compressed"]

_MEMORY = 1 << 30
_LZ4_BLOCK = 8 << 20

_MAGICS = re.compile(
    rb"\x1f\x8b\x08[\x00-\x1f]"
    rb"|\xfd7zXZ\x00"
    rb"|\x28\xb5\x2f\xfd"
    rb"|BZh[1-9]1AY&SY"
    rb"|\x02\x21\x4c\x18"
    rb"|\x89LZO\x00\r\n\x1a\n"
    rb"|\x5d\x00\x00(?:[\x01\x02\x04\x08\x10\x20\x40\x80]\x00|\x00[\x01\x02\x04\x08])(?:\xff{8}|[\x00-\xff]{4}\x00{4})\x00",
    re.DOTALL,
)


class PayloadError(SourceError):
    """A compressed payload is damaged, cut off or too large."""


class TruncatedPayloadError(PayloadError):
    """A compressed payload is cut off; what there is of it could be decompressed."""


class UnsupportedPayloadError(PayloadError):
    """A compressed payload of a kind that rbdump cannot decompress."""


def find_compressed(data: bytes) -> Iterator[tuple[int, str]]:
    """(position, kind) of everything that looks like the start of a compressed stream."""
    for match in _MAGICS.finditer(data):
        head = match[0]
        kind = next((name for magic, name in _KINDS if head.startswith(magic)), "lzma")
        yield match.start(), kind


def decompress(kind: str, data: memoryview, limit: int) -> bytes:
    """The decompressed stream at the start of ``data``. PayloadError when it is damaged or incomplete."""
    try:
        if kind == "lz4":
            return _lz4(data, limit)
        if kind == "lzo":
            raise UnsupportedPayloadError(
                "the payload is compressed with lzo, which rbdump cannot decompress; "
                "give the vmlinux of the build or its debug package, or unpack the image with lzop"
            )
        stream = _STREAMS[kind]()
        return _checked(kind, stream.decompress(data, limit), stream.eof, limit)
    except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError, MemoryError) as error:
        if isinstance(error, PayloadError):
            raise
        raise PayloadError(f"the {kind} payload is damaged ({error})") from None


def _checked(kind: str, out: bytes, finished: bool, limit: int) -> bytes:
    if finished:
        return out
    if len(out) >= limit:
        raise PayloadError(f"the {kind} payload is larger than {limit} bytes, too large for a kernel")
    raise TruncatedPayloadError(
        f"the {kind} payload ends early, {len(out)} bytes could be decompressed: the image is truncated"
    )


_STREAMS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY),
    "zstd": lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27}),
    "bzip2": bz2.BZ2Decompressor,
}


def _lz4(data: memoryview, limit: int) -> bytes:
    """The legacy frame. The size that the kernel build appends to the payload looks like one more block."""
    out: list[bytes] = []
    total, position = 0, 4
    while position + 4 <= len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        if size == 0x184C2102:  # frames can follow one another
            position += 4
            continue
        if size == 0 or (out and (size > 2 * _LZ4_BLOCK or size == total)):
            break
        if position + 4 + size > len(data):
            if out and len(out[-1]) < _LZ4_BLOCK:
                break
            return _checked("lz4", b"".join(out), False, limit)
        block = _lz4_block(bytes(data[position + 4 : position + 4 + size]))
        out.append(block)
        total += len(block)
        if total > limit:
            return _checked("lz4", b"".join(out)[:limit], False, limit)
        position += 4 + size
    if not out:
        return _checked("lz4", b"", False, limit)
    return b"".join(out)


def _lz4_block(source: bytes) -> bytes:
    """One block: a token, literals, an offset back into the output, and so on; the last sequence has no match."""
    out = bytearray()
    position, end = 0, len(source)
    while position < end:
        token = source[position]
        position += 1
        count = token >> 4
        if count == 15:
            more = 255
            while more == 255 and position < end:
                more = source[position]
                position += 1
                count += more
        if count:
            out += source[position : position + count]
            position += count
        if position >= end:
            if position > end:
                raise PayloadError("the lz4 payload is damaged (literals behind the end of a block)")
            break
        offset = source[position] | source[position + 1] << 8 if position + 1 < end else 0
        position += 2
        count = (token & 15) + 4
        if count == 19:
            more = 255
            while more == 255 and position < end:
                more = source[position]
                position += 1
                count += more
        begin = len(out) - offset
        if offset == 0 or begin < 0 or len(out) + count > _LZ4_BLOCK:
            raise PayloadError("the lz4 payload is damaged (a match outside its block)")
        if offset >= count:
            out += out[begin : begin + count]
        else:
            out += (bytes(out[begin:]) * (count // offset + 1))[:count]
    return bytes(out)


_KINDS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x89LZO", "lzo"),
)
