# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.kernel.files.decompress import PayloadError, decompress, find_compressed
from tests.imagewriter import write_lz4_legacy

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DATA = b"".join(b"line %d of the text\n" % n for n in range(3000))
STREAMS = {
    "gzip": gzip.compress(DATA),
    "xz": lzma.compress(DATA),
    "lzma": lzma.compress(DATA, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 26}]),
    "bzip2": bz2.compress(DATA),
    "zstd": zstd.compress(DATA),
    "lz4": write_lz4_legacy(DATA),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_finds_and_reads_each_stream_among_other_bytes(kind: str) -> None:
    blob = b"\xaa" * 1000 + STREAMS[kind] + (b"" if kind == "lz4" else b"\xbb" * 1000)
    assert (1000, kind) in list(find_compressed(blob))
    assert decompress(kind, memoryview(blob)[1000:], 1 << 20) == DATA


@pytest.mark.parametrize("kind", STREAMS)
def test_refuses_what_is_cut_off_or_too_large(kind: str) -> None:
    with pytest.raises(PayloadError, match="truncated"):
        decompress(kind, memoryview(STREAMS[kind])[: len(STREAMS[kind]) // 2], 1 << 20)
    with pytest.raises(PayloadError, match="too large"):
        decompress(kind, memoryview(STREAMS[kind]), 1000)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(STREAMS)), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=5))
def test_damaged_streams(kind: str, edits: list[tuple[int, int]]) -> None:
    blob = bytearray(STREAMS[kind])
    for place, value in edits:
        blob[place % len(blob)] = value
    try:
        out = decompress(kind, memoryview(blob), 1 << 20)
    except PayloadError:
        return
    assert len(out) <= 1 << 20


def lz4_block(*sequences: bytes) -> memoryview:
    block = b"".join(sequences)
    return memoryview(b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block)


def test_lz4_matches() -> None:
    overlapping = lz4_block(b"\x1f" + b"a" + b"\x01\x00" + b"\x05", b"\x50" + b"vwxyz")
    assert decompress("lz4", overlapping, 1000) == b"a" * 25 + b"vwxyz"
    plain = lz4_block(b"\x81" + b"abcdefgh" + b"\x08\x00", b"\x50" + b"vwxyz")
    assert decompress("lz4", plain, 1000) == b"abcdefghabcdevwxyz"
    pair = lz4_block(b"\x23" + b"ab" + b"\x02\x00", b"\x50" + b"vwxyz")
    assert decompress("lz4", pair, 1000) == b"ab" + b"abababa" + b"vwxyz"


def test_lz4_frames_may_follow_one_another() -> None:
    frame = bytes(lz4_block(b"\x50vwxyz"))
    assert decompress("lz4", memoryview(frame + frame + struct.pack("<I", 10)), 1000) == b"vwxyzvwxyz"
    with pytest.raises(PayloadError, match="ends early, 0 bytes"):
        decompress("lz4", memoryview(frame[:6]), 1000)


@pytest.mark.parametrize(
    "block",
    [b"\x10a\x02\x00\x50vwxyz", b"\x10a\x00\x00\x50vwxyz", b"\xf0\xffabc", b"\x10a\x01"],
)
def test_lz4_damage(block: bytes) -> None:
    with pytest.raises(PayloadError, match="damaged"):
        decompress("lz4", lz4_block(block), 1 << 20)


@pytest.mark.skipif(shutil.which("lz4") is None, reason="no lz4 tool to compress with")
def test_lz4_reads_what_the_tool_writes() -> None:
    rng = np.random.default_rng(2)
    data = DATA * 200 + rng.integers(0, 3, 1 << 20, np.uint8).tobytes()
    packed = subprocess.run(["lz4", "-l", "-9", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert decompress("lz4", memoryview(packed + struct.pack("<I", len(data))), 1 << 28) == data
