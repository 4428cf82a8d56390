# SPDX-License-Identifier: Apache-2.0
"""Opens what the user names: a plain file (mapped, read-only), a compressed one, or standard input.

What a file is, is decided by its first bytes, never by its name. Compressed input that ends early or is damaged
yields what could be decompressed, and a finding.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from rbdump.decompress import DECOMPRESSED_LIMIT, Unpacked, compression_of, unpack
from rbdump.errors import InputError, RbdumpError, SourceError, name_of
from rbdump.findings import Finding, Severity

__all__ = [
    "SIDE_FILE_LIMIT",
    "Input",
    "describe",
    "in_pieces",
    "load_input",
    "load_source",
    "map_file",
    "map_source",
    "open_bytes",
    "recognize",
]

SIDE_FILE_LIMIT = 512 << 20
"""Bytes that are decompressed of a file beside the region; the symbols of the largest kernels take 30 MB of text."""

_STEP = 1 << 20

_TAKE_OUT = "take the region out of it first, with crash --zero_excluded: rd -p -r region.bin ADDRESS BYTES"
_IN_PIECES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"KDUMP   ", f"a compressed kdump (makedumpfile): {_TAKE_OUT}"),
    (0, b"makedumpfile", f"a flattened kdump (makedumpfile -F): {_TAKE_OUT}"),
    (
        0,
        b"QEVM",
        "a QEMU migration stream (virsh dump without --memory-only): dump anew with virsh dump --memory-only, or "
        "start QEMU as it was with -S and -incoming 'exec:cat FILE', and pmemsave",
    ),
    (
        0,
        b"LibvirtQemudSave",
        "a save file of libvirt: give it to virsh restore --paused, and then virsh dump --memory-only",
    ),
    (0, b"QFI\xfb", "a qcow2 image: memory that savevm put there can be had with -loadvm, -S and pmemsave"),
    (0, b"AVML", "a compressed AVML memory dump: convert it first, with avml-convert"),
)
"""Kinds of files that hold memory page by page, so that no region lies whole in them."""
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    *_IN_PIECES,
    (0, b"\x17\x08\x44tracing", "a trace.dat file of trace-cmd"),
    (0, b"PERFILE2", "a perf.data file"),
    (0, b"EMiL", "a LiME memory dump"),
    (0, b"DBGC", "a ramoops (pstore) zone"),
    (0, b"CGBD", "a big-endian ramoops (pstore) zone"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"BZh", "bzip2 (decompress it first)"),
    (0, b"\x04\x22\x4d\x18", "lz4 (decompress it first)"),
    (0, b"\x02\x21\x4c\x18", "lz4 (decompress it first)"),
    (0, b"\x89LZO\0", "lzop (decompress it first)"),
    (0, b"\x5d\0\0", "lzma (decompress it first)"),
    (0, b"PK\x03\x04", "a zip archive (unpack it first)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (257, b"ustar", "a tar archive"),
    (0x202, b"HdrS", "an x86 kernel image (bzImage)"),
    (56, b"ARM\x64", "an arm64 kernel image"),
    (0x24, b"\x18\x28\x6f\x01", "an arm kernel image (zImage)"),
    (0, b"MZ", "an EFI program"),
    (0, b"\x9f\xeb\x01", "BTF type data"),
    (0, b"\xeb\x9f\x01", "BTF type data"),
)


@dataclass(slots=True)
class Input:
    """The bytes of one input, decompressed when they were compressed."""

    data: npt.NDArray[np.uint8]
    """Read-only; a mapping of the file where it is a plain file."""
    name: str
    """The path as the user gave it; ``-`` is standard input."""
    findings: list[Finding] = field(default_factory=list)


def map_file(file: BinaryIO, access: int = mmap.ACCESS_READ) -> npt.NDArray[np.uint8]:
    """All bytes of a file that is not empty."""
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)


def _read_stream(file: BinaryIO, name: str, error: type[RbdumpError], limit: int) -> npt.NDArray[np.uint8]:
    """All of a pipe or device, which has no size to look at beforehand."""
    out = bytearray()
    while True:
        try:
            piece = file.read(_STEP)
        except OSError as reason:
            raise error(f"{name}: cannot be read: {reason.strerror}") from None
        if not piece:
            break
        out += piece
        if len(out) > limit:
            raise error(f"{name}: gives more than {limit} bytes; copy the part that matters into a file")
    data = np.frombuffer(out, np.uint8)
    data.flags.writeable = False
    return data


def _read(path: str, error: type[RbdumpError], limit: int) -> npt.NDArray[np.uint8]:
    if path == "-":
        return _read_stream(sys.stdin.buffer, name_of(path), error, limit)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and os.fstat(file.fileno()).st_size:
                return map_file(file)
            return _read_stream(file, path, error, limit)
    except IsADirectoryError:
        raise error(f"{path}: is a directory, where a file is wanted") from None
    except (OSError, ValueError) as reason:
        words = getattr(reason, "strerror", None) or str(reason)
        raise error(f"{path}: cannot be read: {words}") from None


def _load(
    path: str,
    error: type[RbdumpError],
    limit: int,
    raw: npt.NDArray[np.uint8] | None = None,
    unpack: Callable[[memoryview, str, int], Unpacked] = unpack,
) -> Input:
    data = _read(path, error, limit) if raw is None else raw
    name = name_of(path)
    if not len(data):
        raise error(f"{name}: is empty")
    kind = compression_of(data[:8].tobytes())
    if kind is None:
        return Input(data, path)
    out, size, findings = unpack(data.data, kind, limit)
    with out:
        if not size:
            reason = findings[0].message if findings else f"the {kind} stream holds no bytes"
            raise error(f"{name}: {reason}")
        return Input(map_file(out), path, findings)


def load_input(
    path: str,
    *,
    limit: int = DECOMPRESSED_LIMIT,
    raw: npt.NDArray[np.uint8] | None = None,
    unpack: Callable[[memoryview, str, int], Unpacked] = unpack,
) -> Input:
    """The bytes of ``path`` (``-``: standard input), .gz, .xz and .zst decompressed. InputError when unreadable.

    ``raw``: the bytes of the file, where it is open already; then ``path`` is its name only. ``unpack`` stands in for
    `rbdump.decompress.unpack`, where another process does that.
    """
    return _load(path, InputError, limit, raw, unpack)


def load_source(path: str, *, limit: int = DECOMPRESSED_LIMIT) -> Input:
    """As `load_input`, for a tracefs copy, a symbol table or an image: SourceError when unreadable."""
    return _load(path, SourceError, limit)


def map_source(path: str) -> npt.NDArray[np.uint8]:
    """The bytes of a kernel image as the file holds them, compressed or not. SourceError when unreadable or empty."""
    data = _read(path, SourceError, DECOMPRESSED_LIMIT)
    if not len(data):
        raise SourceError(f"{name_of(path)}: is empty")
    return data


def open_bytes(path: str) -> bytes:
    """The whole of a small file beside the region, decompressed. SourceError when unreadable or cut off."""
    source = load_source(path, limit=SIDE_FILE_LIMIT)
    for finding in source.findings:
        if finding.severity is Severity.ERROR:
            raise SourceError(f"{path}: {finding.message}")
    return source.data.tobytes()


def _describe_elf(head: bytes) -> str:
    order: Literal["big", "little"] = "big" if head[5:6] == b"\x02" else "little"
    kind = int.from_bytes(head[16:18], order) if len(head) >= 18 else 0
    return {
        1: "an ELF object (a kernel module?)",
        2: "an ELF program (a vmlinux?)",
        3: "an ELF shared object (a relocatable vmlinux?)",
        4: "an ELF core dump",
    }.get(kind, "an ELF file")


def in_pieces(data: npt.NDArray[np.uint8]) -> str | None:
    """What kind of file holds memory page by page, so that no region is whole in it; None for all others."""
    head = data[:16].tobytes()
    return _first_signature(_IN_PIECES, head)


def recognize(data: npt.NDArray[np.uint8]) -> str | None:
    """What bytes are, for people, where their first ones tell: ``an ELF core dump``; None where they do not."""
    head = data[:4096].tobytes()
    if head.startswith(b"\x7fELF"):
        return _describe_elf(head)
    return _first_signature(_SIGNATURES, head)


def _first_signature(signatures: tuple[tuple[int, bytes, str], ...], head: bytes) -> str | None:
    return next((words for offset, magic, words in signatures if head.startswith(magic, offset)), None)


def describe(data: npt.NDArray[np.uint8]) -> str:
    """What bytes that are no region look like, for people: ``an ELF core dump``, ``text``, ``all zero bytes``."""
    if not len(data):
        return "an empty file"
    known = recognize(data)
    if known is not None:
        return known
    head = data[:4096].tobytes()
    for value, words in ((0, "all zero bytes"), (0xFF, "all 0xff bytes")):
        if data[0] == value and all(
            block.min() == block.max() == value
            for block in (data[at : at + _STEP] for at in range(0, len(data), _STEP))
        ):
            return words
    if not any(byte < 9 or 13 < byte < 27 or 27 < byte < 32 or byte == 127 for byte in head):
        if head.lstrip().startswith(b"# tracer:"):
            return "text, the kernel's own `trace` file"
        return "text"
    return "binary data of an unknown kind"
