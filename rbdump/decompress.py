# SPDX-License-Identifier: Apache-2.0
"""Decompresses .gz, .xz and .zst, as far as they are whole: sizes that a compressed file claims are never believed.

Imports nothing heavy: with --jobs this is begun before numpy is imported.
"""

from __future__ import annotations

import contextlib
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol

from rbdump.findings import Finding, Severity
from rbdump.memoryfile import memory_file, store_all

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

__all__ = ["DECOMPRESSED_LIMIT", "Unpacked", "compression_of", "decompress", "unpack"]

DECOMPRESSED_LIMIT = 4 << 30
"""Most bytes that one compressed input may become (the rest is left out, with a finding) and that a pipe may give."""

_STEP_IN = 1 << 16
_STEP_OUT = 1 << 20
_XZ_MEMORY = 1 << 30
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))

Unpacked = tuple[BinaryIO, int, list[Finding]]
"""A memory file with what was decompressed, how many bytes there are, and what is wrong."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the interface that lzma and zstd share."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


_OPENERS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gunzip,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
    "zstd": zstd.ZstdDecompressor,
}
_ERRORS = (zlib.error, lzma.LZMAError, zstd.ZstdError, EOFError, MemoryError)


def _damaged(code: str, message: str) -> Finding:
    return Finding(Severity.ERROR, code, message)


def compression_of(head: bytes) -> str | None:
    """``gzip``, ``xz`` or ``zstd`` by the first 8 bytes of a file; None for what is not compressed."""
    return next((kind for magic, kind in _COMPRESSED if head.startswith(magic)), None)


def decompress(raw: memoryview, kind: str, limit: int, out: BinaryIO) -> tuple[int, list[Finding]]:
    """Write all members of a compressed input to ``out``, up to ``limit`` bytes; what stops it early is a finding.

    Returns how many bytes there are.
    """
    size = before = 0
    stream = _OPENERS[kind]()
    position = member = fed = 0
    while True:
        if stream.eof:
            rest = stream.unused_data + bytes(raw[position : position + 16])
            if compression_of(rest) != kind:
                if (stream.unused_data + bytes(raw[position:])).strip(b"\0"):
                    text = f"what follows the {kind} stream of {size} bytes is not {kind} and was left out"
                    return size, [Finding(Severity.WARNING, "compressed-trailing-bytes", text)]
                return size, []
            position -= len(stream.unused_data)
            stream = _OPENERS[kind]()
            member, before = position, size
        chunk = b""
        if stream.needs_input:
            fed = position
            chunk = bytes(raw[position : position + _STEP_IN])
            position += len(chunk)
        try:
            piece = stream.decompress(chunk, _STEP_OUT)
        except _ERRORS as error:
            lost = _before_error(raw[member:position], kind, fed - member, size - before)[: limit - size]
            store_all(out, lost)
            size += len(lost)
            text = f"the {kind} stream is damaged ({error}); {size} bytes could be decompressed"
            return size, [_damaged("compressed-input-damaged", text)]
        store_all(out, piece if size + len(piece) <= limit else piece[: limit - size])
        size += len(piece)
        if size > limit:
            text = f"the {kind} stream holds more than {limit} bytes; the rest was left out"
            return limit, [_damaged("compressed-input-too-large", text)]
        # zstd gives nothing once, and then asks for input, where the last piece was just as long as it might be
        stuck = position >= len(raw) or not stream.needs_input
        if not piece and not chunk and stuck and not stream.eof:
            text = f"the {kind} stream ends in the middle; {size} bytes could be decompressed"
            return size, [_damaged("compressed-input-truncated", text)]


def _before_error(raw: memoryview, kind: str, fed: int, known: int) -> bytes:
    """What the call that failed had decompressed already: it is lost with the call.

    ``raw`` is one member, up to where it was read; from ``fed`` on, its last piece, it is read in single bytes. What
    is ``known`` is decompressed once more, and what follows it byte by byte.
    """
    stream = _OPENERS[kind]()
    lost = bytearray()
    position = done = 0
    with contextlib.suppress(*_ERRORS):
        while not stream.eof:
            chunk = b""
            if stream.needs_input:
                chunk = bytes(raw[position : position + (_STEP_IN if position < fed else 1)])
                position += len(chunk)
            piece = stream.decompress(chunk, min(_STEP_OUT, known - done) or 1)
            if done == known:
                lost += piece
            else:
                done += len(piece)
            if not piece and not chunk and position == len(raw):
                break
    return bytes(lost)


def unpack(raw: memoryview, kind: str, limit: int) -> Unpacked:
    """As `decompress`, to a new file."""
    out = memory_file()
    return out, *decompress(raw, kind, limit, out)
