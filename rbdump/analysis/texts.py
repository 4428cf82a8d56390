# SPDX-License-Identifier: Apache-2.0
"""What `rbdump resolve` is given, told by its content: a text, compressed or not, or a region."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from rbdump.analysis.places import Place, find_places
from rbdump.decompress import DECOMPRESSED_LIMIT
from rbdump.errors import InputError, NotARegionError, name_of
from rbdump.findings import Finding
from rbdump.inputs import load_input, recognize
from rbdump.ring import open_region

__all__ = ["Given", "look_into", "read_pieces"]

_READ = 1 << 20
_SNIFF = 4096
_SNIFF_LEAST = 16
"""Bytes among which a region or a compressed file has some that no text has."""
_NO_TEXT = bytes(byte for byte in range(32) if byte < 9 or 13 < byte < 27)
_MOST = 0.95
"""Consoles make some bytes up; of bytes at random a tenth is what no text has."""


def read_pieces(path: str) -> Generator[bytes, None, None]:
    """The bytes of a file as they come; ``-`` is standard input. InputError when it cannot be read."""
    stdin = path == "-"
    try:
        with open(0 if stdin else path, "rb", buffering=0, closefd=not stdin) as file:
            while data := os.read(file.fileno(), _READ):
                yield data
    except OSError as error:
        raise InputError(f"{name_of(path)}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Given:
    """What a file holds: a text or a region."""

    text: Iterable[bytes] | None
    """The text in pieces; None for a region."""
    raw: npt.NDArray[np.uint8] | None = None
    """The bytes of a region that came out of a pipe, which cannot be read again."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with a compressed text."""
    places: list[tuple[int, Place]] | None = None
    """What the whole text says of where the kernel was; None for a stream, which can be read once only."""


def look_into(path: str, *, stream: bool = False) -> Given:
    """Tell a text, compressed or not, from a region by its first bytes; ``-`` is standard input.

    What is mostly text and holds no region is a text; of a ``stream``, which may never end, what begins mostly as text,
    or is empty. InputError when it cannot be read, or is text in UTF-16.
    """
    start = _position(path)
    pieces = read_pieces(path)
    head = b""
    while _is_short(head, stream) and (piece := next(pieces, b"")):
        head += piece
    if stream and not head:
        return Given(())
    if _is_text(head, _MOST if stream else 1.0):
        return Given(chain([head], pieces)) if start is None else _read_twice(path, start)
    raw = None
    if path == "-" or not os.path.isfile(path):
        data = bytearray(head)
        for piece in pieces:
            data += piece
            if len(data) > DECOMPRESSED_LIMIT:
                message = f"gives more than {DECOMPRESSED_LIMIT} bytes; copy the part that matters into a file"
                raise InputError(f"{name_of(path)}: {message}")
        raw = np.frombuffer(data, np.uint8)
        raw.flags.writeable = False
    pieces.close()
    begin = load_input(path, raw=raw, limit=_SNIFF)
    head = begin.data[:_SNIFF].tobytes()
    _refuse_utf16(path, head)
    if not _is_text(head, _MOST):
        return Given(None, raw)
    source = load_input(path, raw=raw)
    if not _is_text(head) and (recognize(source.data) is not None or _holds_region(source.data)):
        return Given(None, raw)
    return Given(_cut(source.data), None, tuple(source.findings), find_places(_cut(source.data)))


def _holds_region(data: npt.NDArray[np.uint8]) -> bool:
    try:
        open_region(data)
    except NotARegionError:
        return False
    return True


def _read_twice(path: str, start: int) -> Given:
    """A text in a regular file, which is looked through before anything of it is passed on."""
    if path == "-":
        os.lseek(0, start, os.SEEK_SET)
    places = find_places(read_pieces(path))
    if path == "-":
        os.lseek(0, start, os.SEEK_SET)
    return Given(read_pieces(path), places=places)


def _position(path: str) -> int | None:
    """Where in a regular file reading begins; None if it is none."""
    if path != "-":
        return 0 if os.path.isfile(path) else None
    try:
        return os.lseek(0, 0, os.SEEK_CUR) if stat.S_ISREG(os.fstat(0).st_mode) else None
    except OSError:  # closed: reading it tells
        return None


def _cut(data: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    return (data[at : at + _READ].tobytes() for at in range(0, len(data), _READ))


def _is_text(data: bytes, share: float = 1.0) -> bool:
    """Whether so much of the first bytes is what texts are made of."""
    data = data[:_SNIFF]
    return bool(data) and len(data.translate(None, _NO_TEXT)) >= share * len(data)


def _is_short(head: bytes, stream: bool) -> bool:
    """Whether more than ``head`` is needed to tell a text; a console that begins with noise may go on as a text."""
    begins = len(head) < _SNIFF_LEAST and not head.endswith(b"\n")
    return begins or (stream and len(head) < _SNIFF and not _is_text(head, _MOST))


def _refuse_utf16(path: str, data: bytes) -> None:
    data = data[:_SNIFF].removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
    for low, high in ((data[::2], data[1::2]), (data[1::2], data[::2])):
        if len(data) >= _SNIFF_LEAST // 2 and high.count(0) >= _MOST * len(high) and _is_text(low, _MOST):
            raise InputError(f"{name_of(path)}: is text in UTF-16; convert it with: iconv -f UTF-16 -t UTF-8")
