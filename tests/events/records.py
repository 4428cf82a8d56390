# SPDX-License-Identifier: Apache-2.0
"""Entries for tests, without a region around them: records are packed one after the other."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rbdump.abi import Abi
from rbdump.events.catalog import Catalog
from rbdump.events.entries import Entries, gather_entries
from rbdump.events.rows import Memory
from rbdump.events.texts import FormatTexts
from rbdump.ring.records import RecordTable

LE64 = Abi("little", 8)

COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)


def format_text(name: str, event_id: int, *fields: tuple[str, int, int, int]) -> str:
    """A format file of (declaration, offset, size, signed)."""
    lines = "".join(f"\tfield:{d};\toffset:{o};\tsize:{s};\tsigned:{g};\n" for d, o, s, g in fields)
    return f'name: {name}\nID: {event_id}\nformat:\n{COMMON}{lines}\nprint fmt: ""\n'


def catalog_of(*events: tuple[str, str], long_size: int = 8) -> Catalog:
    """A catalog of (system, format text)."""
    texts = FormatTexts("test", long_size)
    for system, text in events:
        assert texts.add(system, text.split("\n", 1)[0].removeprefix("name: "), text)
    return Catalog([texts])


@dataclass(frozen=True)
class Rec:
    id: int
    pid: int
    body: bytes = b""
    ts: int = 0
    cpu: int = 0
    epoch: int = 0
    flags: int = 0


def pack(records: Sequence[Rec], abi: Abi = LE64) -> tuple[Entries, Memory]:
    """The entries of records, whose payloads are padded to 4 bytes as the ring buffer does."""
    data = bytearray()
    offsets: list[int] = []
    lengths: list[int] = []
    for record in records:
        payload = struct.pack(f"{abi.endian}HBBi", record.id, record.flags, 0, record.pid) + record.body
        payload += bytes(-len(payload) % 4)
        offsets.append(len(data))
        lengths.append(len(payload))
        data += payload
    table = RecordTable(
        np.array([r.ts for r in records], np.uint64),
        np.array([r.cpu for r in records], np.uint16),
        np.array(offsets, np.int64),
        np.array(lengths, np.int32),
        np.zeros(len(records), np.int32),
        np.array([r.epoch for r in records], np.uint8),
        np.zeros(len(records), np.uint8),
        np.zeros(len(records), np.int64),
    )
    memory = Memory(np.frombuffer(bytes(data), np.uint8), abi)
    return gather_entries(table, memory)[0], memory
