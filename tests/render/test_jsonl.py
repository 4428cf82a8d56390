# SPDX-License-Identifier: Apache-2.0
"""JSON lines: keys, types, and damage of every kind."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.render.bodies import Bodies
from rbdump.render.jsonl import JsonRenderer, _quoted_all, quoted
from tests.events.records import Rec, format_text, pack
from tests.render.scene import BASE, OLD, catalog, facts_of

EVENT = format_text(
    "many",
    300,
    ("char comm[16]", 8, 16, 0),
    ("__data_loc char[] name", 24, 4, 0),
    ("__rel_loc u16[] words", 28, 4, 0),
    ("bool on", 32, 1, 0),
    ("s8 tiny", 33, 1, 1),
    ("u16 port", 34, 2, 0),
    ("__data_loc cpumask_t mask", 36, 4, 0),
    ("u64 big", 40, 8, 0),
    ("u32 two[2]", 48, 8, 0),
).replace('""', '"comm=%s", REC->comm')
STRINGS = format_text("strings", 302, ("__data_loc char[][3] argv", 8, 12, 1))
STRUCTS = format_text("structs", 303, ("struct six one", 8, 6, 0), ("struct three two[2]", 14, 6, 0))
EVENTS = [("test", EVENT), ("test", format_text("none", 301)), ("test", STRINGS), ("test", STRUCTS)]
KEYS = ["ts", "cpu", "pid", "comm", "flags", "event", "fields", "text", "offset"]


def objects(records: list[Rec], **columns: list[int]) -> list[dict[str, Any]]:
    entries, memory = pack(records)
    for name, values in columns.items():
        getattr(entries.records, name)[:] = values
    formats = catalog(EVENTS)
    bodies = Bodies(formats, facts_of(), OLD, memory)
    names = ["sh", '"quoted"\udcff']
    renderer = JsonRenderer(formats, bodies, memory, names, lazy=False)
    raw = renderer.render(entries, np.arange(len(records)) % 2)
    return [json.loads(line) for line in raw.decode("utf-8").splitlines()]


def test_typed_fields() -> None:
    fixed = struct.pack("<16sIIBbHIQII", b"sh", 3 << 16 | 56, 4 << 16 | 28, 1, -3, 80, 8 << 16 | 64, 2**64 - 1, 7, 8)
    (got,) = objects([Rec(300, 150, fixed + b"ab\xff\0\1\0\2\0" + struct.pack("<Q", 0x8000000000000005), ts=5, cpu=2)])
    assert list(got) == KEYS
    assert got == {
        "ts": 5,
        "cpu": 2,
        "pid": 150,
        "comm": "sh",
        "flags": ".....",
        "event": "test:many",
        "fields": {
            "comm": "sh",
            "name": "ab\\xff",
            "words": [1, 2],
            "on": True,
            "tiny": -3,
            "port": 80,
            "mask": [0, 2, 63],
            "big": 2**64 - 1,
            "two": [7, 8],
        },
        "text": "many: comm=sh",
        "offset": 0,
    }


def test_structures_are_lists_of_their_bytes() -> None:
    (got,) = objects([Rec(303, 1, bytes(range(250, 256)) + bytes(range(6)))])
    assert got["fields"] == {"one": [250, 251, 252, 253, 254, 255], "two": [0, 1, 2, 3, 4, 5]}


def test_an_array_of_strings_is_a_list() -> None:
    (got,) = objects([Rec(302, 1, struct.pack("<3I", 3 << 16 | 20, 20, 900 << 16 | 20) + b"sh\0\0")])
    assert got["fields"] == {"argv": ["sh", "", None]}


def test_events_of_ftrace() -> None:
    stack = struct.pack("<iiQQ", 2, 0, BASE + 0x110, BASE + 0x210)
    marker = struct.pack("<Q", BASE + 0x100) + b"hi\n\0"
    raw = struct.pack("<I", 42) + b"\0\1"
    got = objects([Rec(4, 1, stack), Rec(5, 1, marker), Rec(18, 1, raw), Rec(999, 1, b"\1"), Rec(301, 1)])
    assert got[0]["fields"] == {"size": 2, "caller": [BASE + 0x110, BASE + 0x210]}
    assert got[0]["text"] == "<stack trace>\n => vfs_read\n => vfs_write"
    assert got[1]["fields"] == {"ip": BASE + 0x100, "buf": "hi\n"}
    assert got[1]["text"] == "vfs_read: hi"
    assert got[1]["comm"] == '"quoted"\\xff'
    assert got[2]["fields"] == {"id": 42, "buf": [0, 1, 0, 0]}
    assert (got[3]["event"], got[3]["fields"]) == (None, {"id": 999, "raw": "01000000"})
    assert got[3]["text"] == "id=999 (no format) raw=01000000"
    assert (got[4]["event"], got[4]["fields"]) == ("test:none", {})


def test_what_is_unusual_is_said() -> None:
    records = [Rec(301, 1)] * 4
    got = objects(records, lost=[0, -1, 9, 0], epoch=[0, 0, 0, 2], state=[0, 1, 2, 3])
    assert [list(one)[len(KEYS) :] for one in got] == [[], ["lost", "state"], ["lost", "state"], ["boot", "state"]]
    assert [one.get("lost") for one in got] == [None, None, 9, None]
    assert (got[3]["boot"], got[3]["state"], got[1]["state"]) == (2, "stray", "consumed")


def test_short_records_have_nulls() -> None:
    (got,) = objects([Rec(300, 1, b"sh".ljust(16, b"\0") + struct.pack("<I", 9 << 16 | 8))])
    assert got["fields"]["comm"] == "sh"
    assert got["fields"]["name"] == "sh"
    assert got["fields"]["words"] is None
    assert got["fields"]["two"] is None


def test_texts_that_look_like_the_seams_between_texts() -> None:
    assert _quoted_all(["a\0b", "\\u0000", '"', ""]) == [quoted(text) for text in ("a\0b", "\\u0000", '"', "")]
    assert [json.loads(text) for text in _quoted_all(["\n", "é\udcff"])] == ["\n", "é\\xff"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 4, 5, 10, 11, 12, 18, 300, 301, 999]), st.binary(max_size=80)), max_size=8)
)
def test_any_bytes_give_valid_json(bodies: list[tuple[int, bytes]]) -> None:
    got = objects([Rec(event_id, 1, body) for event_id, body in bodies])
    assert [list(one) for one in got] == [KEYS] * len(bodies)
