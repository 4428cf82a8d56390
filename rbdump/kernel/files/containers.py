# SPDX-License-Identifier: Apache-2.0
"""From the file that a boot loader loads to the kernel inside: bzImage, zImage, EFI zboot, Image, compressed vmlinux.

What a file is, is decided by what it holds. Two headers say where the payload begins (x86 boot protocol 2.08,
arch/x86/boot/header.S; drivers/firmware/efi/libstub/zboot-header.S); otherwise it is searched for. A payload is
accepted when it is an ELF file or carries the kernel's own banner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbdump.errors import NotASourceError, SourceError
from rbdump.inputs import describe
from rbdump.kernel.files.decompress import (
    PayloadError,
    TruncatedPayloadError,
    UnsupportedPayloadError,
    decompress,
    find_compressed,
)
from rbdump.kernel.memory import find_bytes

__all__ = ["Payload", "unpack"]

Octets = npt.NDArray[np.uint8]

_LIMIT = 1 << 30
_ELF = b"\x7fELF"
_BANNER = b"Linux version "
_MARKS = (_BANNER, b"\0linux_banner\0")
"""A separate debug file names the banner in its string table and does not hold it."""
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Payload:
    """A kernel without its wrapping."""

    data: Octets
    is_elf: bool
    machine: str | None
    """What the wrapping says the machine is; None when it does not say."""


def unpack(data: Octets, name: str) -> Payload:
    """The kernel inside ``data``. SourceError when there is none, or none that can be decompressed."""
    machine: str | None = None
    for _ in range(_MAX_DEPTH):
        head = data[:0x20000].tobytes()
        is_elf = head.startswith(_ELF)
        kind, says = _identify(head)
        machine = says or machine
        # lz4 and lzo leave short strings readable, so a banner proves nothing in a compressed file
        packed = kind in _ALWAYS_PACKED or any(at == 0 for at, _ in find_compressed(head[:32]))
        if not packed and any(find_bytes(data, mark) >= 0 for mark in _MARKS[: 1 + is_elf]):
            return Payload(data, is_elf, machine)
        data = _first_kernel(data, head, kind, name)
    raise SourceError(f"{name}: holds {_MAX_DEPTH} compressed images in one another, which no kernel does")


_ALWAYS_PACKED = {"bzImage", "EFI zboot", "arm zImage", "s390 bzImage"}


def _identify(head: bytes) -> tuple[str, str | None]:
    """(what the wrapping is, the machine that it names)."""
    if head[0x202:0x206] == b"HdrS":
        return "bzImage", None
    if head[:2] == b"MZ" and head[4:8] == b"zimg":
        return "EFI zboot", None
    if head[0x10008:0x1000E] == b"S390EP":
        return "s390 bzImage", "s390x"
    if head[0x24:0x28] == b"\x18\x28\x6f\x01":
        return "arm zImage", "arm"
    if head[0x38:0x3C] == b"ARM\x64":
        return "arm64 Image", "aarch64"
    if head[0x38:0x3C] == b"RSC\x05" or head[0x30:0x38] == b"RISCV\0\0\0":
        return "riscv Image", "riscv"
    if head[:2] == b"MZ" and head[0x38:0x3C] == b"\xcd\x23\x82\x81":
        return "loongarch Image", "loongarch"
    return "", None


def _candidates(data: Octets, head: bytes, kind: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, compression) of payloads, the likely ones first."""
    raw = data.tobytes()
    if kind == "bzImage" and int.from_bytes(head[0x206:0x208], "little") >= 0x208:
        begin = ((head[0x1F1] or 4) + 1) * 512 + int.from_bytes(head[0x248:0x24C], "little")
        end = begin + int.from_bytes(head[0x24C:0x250], "little")
        for at, compression in find_compressed(raw[begin : begin + 16]):
            if at == 0:
                yield begin, end, compression
    if kind == "EFI zboot":
        begin = int.from_bytes(head[8:12], "little")
        for at, compression in find_compressed(raw[begin : begin + 16]):
            if at == 0:
                yield begin, begin + int.from_bytes(head[12:16], "little"), compression
    for begin, compression in find_compressed(raw):
        yield begin, len(raw), compression


def _first_kernel(data: Octets, head: bytes, kind: str, name: str) -> Octets:
    """The first payload that is a kernel, decompressed."""
    failure: PayloadError | None = None
    view = data.data
    for begin, end, compression in _candidates(data, head, kind):
        try:
            out = decompress(compression, view[begin:end], _LIMIT)
        except PayloadError as error:
            # of many chance matches the one that got furthest is the one worth telling
            if failure is None or isinstance(error, TruncatedPayloadError | UnsupportedPayloadError):
                failure = error
            continue
        if out.startswith(_ELF) or _BANNER in out or _identify(out[:0x20000])[0]:
            return np.frombuffer(out, np.uint8)
    if failure is not None and (kind or isinstance(failure, TruncatedPayloadError)):
        raise SourceError(f"{name}: {kind}: {failure}" if kind else f"{name}: {failure}")
    if kind in _ALWAYS_PACKED:
        raise SourceError(f"{name}: {kind}: the compressed kernel inside was not found; is the file complete?")
    raise NotASourceError(
        f"{name}: is no kernel image but {kind or describe(data)}; "
        "give a vmlinux, or the file from /boot (vmlinuz, bzImage, Image, zImage)"
    )
