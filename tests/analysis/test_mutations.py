# SPDX-License-Identifier: Apache-2.0
"""Real regions and sources, damaged: findings or one clear error, never anything else, and what is whole stays."""

from __future__ import annotations

import io
import json
import lzma
import os
import random
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rbdump

SAMPLES = ["6.12.43-fgraph", "7.3.4-modules", "armhf-6.12.107-sched", "s390x-6.12.107-sched"]
WILD = [0, 1, 7, 8, 0xFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1]
MODES: list[dict[str, Any]] = [
    {},
    {"jsonl": True},
    {"raw_fields": True},
    {"jobs": 2},
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"uncommitted": True},
    {"strict": True},
    {"policy": "6.12"},
    {"policy": "6.17"},
    {"policy": "7.2"},
]
SELECTIONS = [
    rbdump.Selection(boot="all"),
    rbdump.Selection(filter="common_pid > 5 || prev_state != 0"),
    rbdump.Selection(since="-5ms", last=100),
]


def sample(samples: Path, name: str) -> bytes:
    return lzma.decompress((samples / name / "region.bin.xz").read_bytes())


def put(data: bytearray, at: int, raw: bytes) -> None:
    """Writes over what is there, and never beyond the end."""
    raw = raw[: max(0, len(data) - at)]
    data[at : at + len(raw)] = raw


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 100, 20000])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.choice([1, 100, 4097, rng.randrange(len(data))]) :]


def swap(data: bytearray, rng: random.Random) -> None:
    first, second = (rng.randrange(1, len(data) // 4096) * 4096 for _ in range(2))
    data[first : first + 4096], data[second : second + 4096] = (
        data[second : second + 4096],
        data[first : first + 4096],
    )


def header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 3])):
        value = rng.choice(WILD).to_bytes(8, rng.choice(["little", "big"]))  # type: ignore[arg-type]
        put(data, rng.randrange(0, 512, 4), value[: rng.choice([4, 8])])


def subbuf_headers(data: bytearray, rng: random.Random) -> None:
    for at in range(4096, len(data), 4096 * rng.choice([1, 5])):
        put(data, at + rng.choice([0, 8, 12, 16]), rng.choice(WILD).to_bytes(8, "little")[:4])


def words(data: bytearray, rng: random.Random) -> None:
    """Record headers, ids, __data_loc words: wherever they fall."""
    for _ in range(3000):
        put(data, rng.randrange(0, len(data), 4), rng.choice([*WILD, rng.getrandbits(32)]).to_bytes(8, "little")[:4])


def noise(data: bytearray, rng: random.Random) -> None:
    put(data, rng.randrange(len(data)), rng.randbytes(rng.choice([8, 5000, 300000])))


def junk_in_front(data: bytearray, rng: random.Random) -> None:
    data[:0] = rng.randbytes(rng.choice([1, 8, 511, 4096]))


def twice(data: bytearray, rng: random.Random) -> None:
    data += data[: rng.randrange(len(data))]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    flip, cut, swap, header, subbuf_headers, words, noise, junk_in_front, twice,
]  # fmt: skip


def exercise(path: Path, rng: random.Random, **options: Any) -> rbdump.Trace | None:
    """Everything the library does with a region, in one of its many ways; None after one clear error."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        trace = rbdump.open(str(path), force=True, **rng.choice(OPTIONS), **options)
        trace.write(null, rng.choice(SELECTIONS), **rng.choice(MODES))
        json.dumps(trace.summary())
    except rbdump.RbdumpError as error:
        refusal: str | None = str(error)
    else:
        refusal = None
    finally:
        os.close(null)
    if refusal is not None:
        assert "\n" not in refusal
        assert 0 < len(refusal) < 1000
        return None
    for finding in trace.findings:
        assert "its renderer fails" not in finding.message
        assert len(json.dumps(finding.as_dict())) < 2000
    return trace


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_region(samples: Path, tmp_path: Path, name: str, damage: Callable[..., None]) -> None:
    rng = random.Random(f"{name} {damage.__name__}")
    data = bytearray(sample(samples, name))
    damage(data, rng)
    path = tmp_path / "region.bin"
    path.write_bytes(data)
    tracefs = {"tracefs": str(samples / name / "tracefs.tar.xz")} if rng.random() < 0.7 else {}
    trace = exercise(path, rng, **tracefs)
    assert trace is not None or damage in (cut, header, flip, noise, words, subbuf_headers)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_was_not_touched_stays(samples: Path, tmp_path: Path, name: str) -> None:
    data = sample(samples, name)
    path = tmp_path / "region.bin"
    path.write_bytes(data)
    whole = {(event.offset, event.ts, event.event, event.pid) for event in events(path, samples / name)}
    region = rbdump.open(str(path)).region
    size = region.subbuf_size
    used = [
        offset
        for cpu in region.cpus
        for offset, count in zip(cpu.subbufs.offset.tolist(), cpu.subbufs.nr_events.tolist(), strict=True)
        if count > 0
    ]
    rng = random.Random(name)
    hit = rng.choice(used)
    for damaged in (bytes(size), rng.randbytes(size), b"\xff" * size, data[hit : hit + 8] + rng.randbytes(size - 8)):
        path.write_bytes(data[:hit] + damaged + data[hit + size :])
        left = {(event.offset, event.ts, event.event, event.pid) for event in events(path, samples / name)}
        assert {key for key in whole if not hit <= key[0] < hit + size} <= left


def events(path: Path, folder: Path) -> Iterator[rbdump.Event]:
    return rbdump.open(str(path), tracefs=str(folder / "tracefs.tar.xz"), force=True).events()


EVIL = [
    '"%2147483647d %*d", REC->FIELD, 2147483647, REC->FIELD',
    '"%d", ' + "(" * 10000 + "REC->FIELD" + ")" * 10000,
    '"%d", ' + "+".join(["REC->FIELD"] * 20000),
    '"%d", ({ int a = REC->FIELD; ' + "a = a + a; " * 60 + "a; })",
    '"' + "%s" * 5000 + '", ' + ", ".join(["REC->FIELD"] * 5000),
    '"%s %pS %pI6c %pU %*ph", REC->FIELD, REC->FIELD, REC->FIELD, REC->FIELD, REC->FIELD, REC->FIELD',
    '"%s", __print_array(__get_dynamic_array(FIELD), 1000000000, 8)',
    '"%s", __print_hex_dump("", 1, 16, 1, REC->FIELD, 4294967295, 1)',
    '"%d", ((int *)__get_dynamic_array(FIELD))[9223372036854775807]',
    '"%d", REC->FIELD << 18446744073709551615 / (REC->FIELD - REC->FIELD)',
    '"%',
    "",
]


def mutated_format(text: str, rng: random.Random) -> str:
    names = re.findall(r"(\w+)(?:\[\w*\])?;\toff", text)
    match rng.randrange(4):
        case 0:
            what = rng.choice(["offset", "size"])
            fields = [match.span(1) for match in re.finditer(rf"{what}:(\d+)", text)]
            begin, end = rng.choice(fields)
            return f"{text[:begin]}{rng.choice([0, 3, 16, 65536, 99999999, -1])}{text[end:]}"
        case 1:
            return text.replace("field:", rng.choice(["field:__data_loc char[] ", "field:u128 ", "field"]), 5)
        case 2:
            return text[: rng.randrange(len(text))]
    return text.split("print fmt:")[0] + "print fmt: " + rng.choice(EVIL).replace("FIELD", names[-1]) + "\n"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["7.3.4-modules", "s390x-6.12.107-sched"])
def test_evil_formats(samples: Path, tmp_path: Path, name: str, seed: int) -> None:
    rng = random.Random(f"{name} {seed}")
    path, copy = tmp_path / "region.bin", tmp_path / "tracefs.tar"
    path.write_bytes(sample(samples, name))
    with tarfile.open(samples / name / "tracefs.tar.xz") as whole, tarfile.open(copy, "w") as evil:
        for member in whole:
            file = whole.extractfile(member)
            raw = file.read() if file is not None else b""
            if member.name.endswith("/format"):
                raw = mutated_format(raw.decode(), rng).encode()
            member.size = len(raw)
            evil.addfile(member, io.BytesIO(raw))
    exercise(path, rng, tracefs=str(copy))


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_archive(samples: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    name = "6.12.43-fgraph"
    path, copy = tmp_path / "region.bin", tmp_path / "tracefs.tar"
    path.write_bytes(sample(samples, name))
    packed = (samples / name / "tracefs.tar.xz").read_bytes()
    data = bytearray(packed if seed % 2 else lzma.decompress(packed))
    rng.choice([flip, cut, noise])(data, rng)
    copy.write_bytes(data)
    exercise(path, rng, tracefs=str(copy))
