# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.decompress import zstd
from rbdump.errors import InputError, SourceError
from rbdump.findings import Severity
from rbdump.inputs import describe, load_input, open_bytes
from rbdump.memoryfile import store_all

PAYLOAD = bytes(range(256)) * 8192 + os.urandom(300_000)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


def write(folder: Path, data: bytes, name: str = "region.bin") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def test_plain_file_is_mapped_read_only(tmp_path: Path) -> None:
    source = load_input(write(tmp_path, PAYLOAD))
    assert source.data.tobytes() == PAYLOAD
    with pytest.raises(ValueError, match="read-only"):
        source.data[0] = 1


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_input_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    source = load_input(write(tmp_path, COMPRESSORS[kind](PAYLOAD)))
    assert source.data.tobytes() == PAYLOAD
    assert source.findings == []
    assert not source.data.flags.writeable


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_steps_of_any_size_give_all(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece may be just as long as the greatest, with more input to come: nothing follows, and it is no end."""
    payload = bytes(range(256)) * 1600
    packed = write(tmp_path, COMPRESSORS[kind](payload))
    monkeypatch.setattr("rbdump.decompress._STEP_OUT", 1 << 17)
    for step in range(1, os.path.getsize(packed) + 1, 5 if kind == "gzip" else 1):
        monkeypatch.setattr("rbdump.decompress._STEP_IN", step)
        source = load_input(packed)
        assert (len(source.data), source.findings) == (len(payload), []), step


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_members_one_after_the_other(tmp_path: Path, kind: str) -> None:
    pack = COMPRESSORS[kind]
    source = load_input(write(tmp_path, pack(PAYLOAD) + pack(b"second") + pack(b"third")))
    assert source.data.tobytes() == PAYLOAD + b"secondthird"
    assert source.findings == []


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_truncated_compressed_input_yields_what_decompressed(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSORS[kind](os.urandom(1_500_000))
    whole = load_input(write(tmp_path, packed)).data.tobytes()
    source = load_input(write(tmp_path, packed[: len(packed) // 2]))
    assert len(source.data) > 100_000
    assert whole.startswith(source.data.tobytes())
    assert [f.code for f in source.findings] == ["compressed-input-truncated"]
    assert source.findings[0].severity is Severity.ERROR
    with pytest.raises(SourceError, match="ends in the middle"):
        open_bytes(source.name)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_trailing_bytes_are_said(tmp_path: Path, kind: str) -> None:
    source = load_input(write(tmp_path, COMPRESSORS[kind](PAYLOAD) + b"junk"))
    assert source.data.tobytes() == PAYLOAD
    assert [f.code for f in source.findings] == ["compressed-trailing-bytes"]
    assert load_input(write(tmp_path, COMPRESSORS[kind](PAYLOAD) + b"\0" * 512)).findings == []


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_bomb_stops_at_the_limit(tmp_path: Path, kind: str) -> None:
    source = load_input(write(tmp_path, COMPRESSORS[kind](b"\0" * 50_000_000)), limit=3_000_000)
    assert len(source.data) == 3_000_000
    assert [f.code for f in source.findings] == ["compressed-input-too-large"]


CHECKED: dict[str, Callable[[bytes], bytes]] = {
    **COMPRESSORS,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize(("step_in", "step_out"), [(1 << 16, 1 << 20), (1000, 4096), (1 << 16, 5000)])
def test_all_in_front_of_the_damage_is_had(
    tmp_path: Path, kind: str, step_in: int, step_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbdump.decompress._STEP_IN", step_in)
    monkeypatch.setattr("rbdump.decompress._STEP_OUT", step_out)
    payload = os.urandom(100_000) + bytes(range(256)) * 100
    packed = bytearray(CHECKED[kind](b"the member before") + CHECKED[kind](payload))
    packed[-3] ^= 1  # in what comes behind the data and is held against them
    source = load_input(write(tmp_path, bytes(packed)))
    assert source.data.tobytes() == b"the member before" + payload
    assert [f.code for f in source.findings] == ["compressed-input-damaged"]
    assert f"{len(source.data)} bytes could be decompressed" in source.findings[0].message
    assert len(load_input(source.name, limit=100_000).data) == 100_000


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_damage_in_the_middle_leaves_what_is_before_it(tmp_path: Path, kind: str) -> None:
    payload = b" ".join(b"%d" % (number * number) for number in range(80_000))
    packed = bytearray(COMPRESSORS[kind](payload))
    middle = len(packed) // 2
    packed[middle : middle + 4000] = b"\xff" * 4000
    found = load_input(write(tmp_path, bytes(packed))).data.tobytes()
    half = len(payload) * 4 // 10 // (128 << 10) * (128 << 10)  # zstd has blocks of 128 KiB
    assert found[:half] == payload[:half]


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(COMPRESSORS)), at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_damaged_compressed_input_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, flip: int
) -> None:
    packed = bytearray(COMPRESSORS[kind](bytes(range(256)) * 300))
    packed[at % len(packed)] ^= flip
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(packed)
    try:
        size = len(load_input(str(path)).data)
    except InputError:
        size = 1
    assert size


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_nothing_decompresses(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"the \w+ stream"):
        load_input(write(tmp_path, COMPRESSORS[kind](PAYLOAD)[:12]))


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.bin: cannot be read: No such file"):
        load_input(str(tmp_path / "missing.bin"))
    with pytest.raises(InputError, match="is a directory"):
        load_input(str(tmp_path))
    with pytest.raises(InputError, match=r"empty\.bin: is empty"):
        load_input(write(tmp_path, b"", "empty.bin"))
    with pytest.raises(InputError, match="cannot be read"):
        load_input("a\0b")
    with pytest.raises(SourceError, match="cannot be read"):
        open_bytes(str(tmp_path / "kallsyms"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(b"from a pipe"))

    monkeypatch.setattr(sys, "stdin", Stdin)
    source = load_input("-")
    assert source.data.tobytes() == b"from a pipe"
    assert source.name == "-"
    Stdin.buffer = io.BytesIO(b"")
    with pytest.raises(InputError, match="standard input: is empty"):
        load_input("-")


def test_an_endless_device_ends() -> None:
    with pytest.raises(InputError, match="more than 3000000 bytes"):
        load_input("/dev/zero", limit=3_000_000)


TAKE_OUT = "take the region out of it first, with crash --zero_excluded: rd -p -r region.bin ADDRESS BYTES"


def test_pipe_by_name() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"piped bytes")
    os.close(writer)
    try:
        assert load_input(f"/dev/fd/{reader}").data.tobytes() == b"piped bytes"
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"\x7fELF\x02\x01" + bytes(10) + b"\x04\x00", "an ELF core dump"),
        (b"\x7fELF\x02\x02" + bytes(10) + b"\x00\x04", "an ELF core dump"),
        (b"\x7fELF\x02\x01" + bytes(10) + b"\x02\x00", "an ELF program (a vmlinux?)"),
        (b"\x17\x08\x44tracing6\0", "a trace.dat file of trace-cmd"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"KDUMP   ", f"a compressed kdump (makedumpfile): {TAKE_OUT}"),
        (b"BZh91AY&SY", "bzip2 (decompress it first)"),
        (b"\x04\x22\x4d\x18", "lz4 (decompress it first)"),
        (b"\x02\x21\x4c\x18", "lz4 (decompress it first)"),
        (b"\x89LZO\0\r\n\x1a\n", "lzop (decompress it first)"),
        (b"\x5d\0\0\x80\0", "lzma (decompress it first)"),
        (b"AVML\2\0\0\0", "a compressed AVML memory dump: convert it first, with avml-convert"),
        (b"PK\x03\x04", "a zip archive (unpack it first)"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
        (b"\0" * 257 + b"ustar", "a tar archive"),
        (b"MZ" + bytes(0x200) + b"HdrS", "an x86 kernel image (bzImage)"),
        (b"PERFILE2h\0\0\0", "a perf.data file"),
        (b"makedumpfile\0", f"a flattened kdump (makedumpfile -F): {TAKE_OUT}"),
        (struct.pack("<II", 0x4C694D45, 1), "a LiME memory dump"),
        (b"QFI\xfb\0\0\0\3", "a qcow2 image: memory that savevm put there can be had with -loadvm, -S and pmemsave"),
        (struct.pack("<I", 0x43474244), "a ramoops (pstore) zone"),  # PERSISTENT_RAM_SIG
        (struct.pack(">I", 0x43474244), "a big-endian ramoops (pstore) zone"),
        (lzma.compress(b""), "xz"),
        (zstd.compress(b""), "zstd"),
        (bytes(56) + struct.pack("<I", 0x644D5241), "an arm64 kernel image"),  # ARM64_IMAGE_MAGIC
        (bytes(36) + struct.pack("<I", 0x016F2818), "an arm kernel image (zImage)"),
        (b"MZ\0\0", "an EFI program"),
        (struct.pack("<HB", 0xEB9F, 1), "BTF type data"),
        (struct.pack(">HB", 0xEB9F, 1), "BTF type data"),
        (b"\0" * 5000, "all zero bytes"),
        (b"\xff" * 5000, "all 0xff bytes"),
        (b"\0" * 4999 + b"\1", "binary data of an unknown kind"),
        (b"# tracer: nop\n#\n", "text, the kernel's own `trace` file"),
        ("some löcal text\n".encode(), "text"),
        (bytes(range(256)), "binary data of an unknown kind"),
    ],
)
def test_describe(data: bytes, words: str) -> None:
    assert describe(np.frombuffer(data, np.uint8)) == words


def test_a_side_file_that_expands_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbdump.inputs.SIDE_FILE_LIMIT", 1 << 20)
    path = tmp_path / "kallsyms.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(SourceError, match="holds more than 1048576 bytes"):
        open_bytes(str(path))


def test_no_room_for_what_is_decompressed_is_no_failure_of_the_output() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(MemoryError, match="No space left"):
        store_all(full, b"x")
