# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import gzip
import lzma
import random

import numpy as np
import pytest

from rbdump.errors import SourceError
from rbdump.kernel.files.containers import unpack
from tests.imagewriter import BANNER, write_bzimage, write_lz4_legacy, write_zboot

KERNEL = b"\x7fELF\x02\x01\x01" + bytes(100) + BANNER + bytes(100)
CUT_OFF = gzip.compress(bytes(range(256)) * 40)[:-20]
IMAGE = bytes(56) + b"ARM\x64" + bytes(100) + BANNER + bytes(100)


def octets(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


def test_plain_images_are_taken_as_they_are() -> None:
    assert unpack(octets(KERNEL), "x").is_elf
    for head, machine in (
        (bytes(56) + b"ARM\x64", "aarch64"),
        (bytes(56) + b"RSC\x05", "riscv"),
        (bytes(48) + b"RISCV\0\0\0", "riscv"),
        (b"MZ" + bytes(54) + b"\xcd\x23\x82\x81", "loongarch"),
    ):
        payload = unpack(octets(head + bytes(100) + BANNER + bytes(100)), "x")
        assert (payload.is_elf, payload.machine) == (False, machine)


def test_wrappings_in_one_another() -> None:
    payload = unpack(octets(gzip.compress(write_zboot(lzma.compress(IMAGE)))), "x")
    assert payload.data.tobytes() == IMAGE
    assert payload.machine == "aarch64"


def test_a_unified_image_holds_its_kernel_somewhere() -> None:
    """A PE file with the bzImage in a section, behind an initrd and microcode that are compressed as well."""
    other = gzip.compress(b"an initrd" * 500) + b"\x5d\x00\x00\x80\x00" + b"\xff" * 8 + b"\x00" + bytes(100)
    payload = unpack(octets(b"MZ" + bytes(1000) + other + write_bzimage(gzip.compress(KERNEL))), "x")
    assert payload.data.tobytes() == KERNEL


def test_a_banner_in_compressed_bytes_proves_nothing() -> None:
    payload = unpack(octets(write_lz4_legacy(KERNEL)), "x")
    assert payload.data.tobytes() == KERNEL


def test_a_debug_file_names_the_banner_only() -> None:
    assert unpack(octets(b"\x7fELF" + bytes(100) + b"\0linux_banner\0"), "x").is_elf


def test_endless_wrapping_is_refused() -> None:
    data = KERNEL
    for _ in range(6):
        data = write_bzimage(gzip.compress(data))
    with pytest.raises(SourceError, match="in one another"):
        unpack(octets(data), "x")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"# tracer: nop\n" * 10, "trace"),
        (write_zboot(b"\x1f\x8b\x08\x00" + bytes(200)), "EFI zboot: the gzip payload is damaged"),
        # a stream that is one tells more than a chance match of a magic number
        (b"\x1f\x8b\x08\x00" + bytes(50) + CUT_OFF, "gzip payload ends early"),
        (write_zboot(b"\x1f\x8b\x08\x00" + bytes(50) + b"\x89LZO\0\r\n\x1a\n" + bytes(90)), "compressed with lzo"),
        (b"#!/bin/sh\n" + b"\x89LZO\0\r\n\x1a\n" + bytes(90), "is no kernel image but"),
    ],
)
def test_says_what_else_it_is(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        unpack(octets(data), "x")


def test_a_compressed_image_that_is_cut_off_is_not_said_to_be_compressed_only() -> None:
    packed = bz2.compress(random.Random(1).randbytes(100_000))[:50_000]
    with pytest.raises(SourceError, match=r"^cut: the bzip2 payload ends early, "):
        unpack(np.frombuffer(packed, np.uint8), "cut")
