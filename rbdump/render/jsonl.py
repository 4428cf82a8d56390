# SPDX-License-Identifier: Apache-2.0
"""One JSON object for each event, on a line of its own.

Keys, always these and in this order: ``ts`` (integer; nanoseconds, or the raw value of a clock that does not count
them), ``cpu``, ``pid``, ``comm``, ``flags`` (the five latency characters), ``event`` (``system:name``; null when no
format is known), ``fields`` (typed values; without a format ``id``, and ``raw``, the bytes behind the trace_entry in
hex), ``text`` (the body as the text output has it), ``offset`` (of the record's payload in the input). Behind them only
where they say something: ``lost`` (how many events were lost just before, null when nobody counted), ``boot`` (how many
boots before the last one), ``state`` (``consumed``, ``uncommitted``, ``stray``). Output is UTF-8 whatever the records
hold: bytes that are no UTF-8 become ``\\xff``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from json.encoder import encode_basestring  # type: ignore[attr-defined,unused-ignore]
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.events.catalog import Catalog
from rbdump.events.entries import Entries
from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Memory, Rows
from rbdump.events.strings import dynamic_bytes, text_of
from rbdump.findings import as_unicode
from rbdump.memo import Memo
from rbdump.render.bodies import Bodies
from rbdump.render.group import or_else, payloads, render_by_event, tails
from rbdump.render.prefix import latency_chars
from rbdump.ring.records import RecordState

__all__ = ["JsonRenderer", "quoted"]

Values = Callable[[Rows], list[str]]


def quoted(text: str) -> str:
    """The text as a JSON string that every parser takes: no lone surrogates."""
    if not text.isascii():
        text = as_unicode(text)
    result: str = encode_basestring(text)
    return result


def _quoted_all(texts: list[str]) -> list[str]:
    """The same for many texts, in one go unless one holds a NUL."""
    whole = quoted("\0".join(texts))
    parts = whole[1:-1].split("\\u0000")
    return [f'"{part}"' for part in parts] if len(parts) == len(texts) else list(map(quoted, texts))


def _list(raw: bytes, dtype: np.dtype[np.generic]) -> str:
    numbers = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype).tolist()
    return f"[{','.join(map(str, numbers))}]"


def _bits(raw: bytes, long_size: int, byteorder: str) -> str:
    """Numbers of the bits that are set in a bitmap of longs."""
    words = [raw[at : at + long_size] for at in range(0, len(raw), long_size)]
    little = b"".join(words if byteorder == "little" else [word[::-1] for word in words])
    found = np.flatnonzero(np.unpackbits(np.frombuffer(little, np.uint8), bitorder="little")).tolist()
    return f"[{','.join(map(str, found))}]"


def _spell_bytes(fmt: EventFormat, field: Field, abi: Abi) -> Callable[[bytes], str]:
    """What an array of bytes is in JSON: a string, the bits of a mask, or a list of numbers."""
    # characters that are no text: what trace_marker_raw takes, and buffers that system calls write
    if fmt.name == "raw_data" or f"__print_dynamic_array({field.name}," in fmt.print_fmt:
        return lambda raw: _list(raw, abi.dtype(max(field.element_size, 1)))
    if "cpumask" in field.type:
        return lambda raw: _bits(raw, abi.long_size, abi.byteorder)
    if "char" in field.type and "unsigned" not in field.type:
        strings = Memo(lambda raw: quoted(text_of(raw)))
        return strings.__getitem__
    element = field.element_size if field.element_size in (1, 2, 4, 8) else 1
    dtype = abi.dtype(element, signed=field.signed)
    return lambda raw: _list(raw, dtype)


def _takes_rest(fmt: EventFormat, field: Field) -> bool:
    """The field goes on to the end of the record; a kernel stack does, though its format names eight callers."""
    return field.size == 0 or (fmt.system, fmt.name, field.name) == ("ftrace", "kernel_stack", "caller")


def _values(fmt: EventFormat, field: Field, abi: Abi) -> Values:
    """JSON text of a field, for rows that are long enough for it."""
    if field.is_dynamic and field.array_length is not None:
        places = range(field.offset, field.offset + field.size, 4)
        parts = [_values(fmt, replace(field, offset=at, size=4, array_length=None), abi) for at in places]
        return lambda rows: [f"[{','.join(texts)}]" for texts in zip(*(part(rows) for part in parts), strict=True)]
    if field.is_dynamic:
        located = _spell_bytes(fmt, field, abi)
        return lambda rows: ["null" if raw is None else located(raw) for raw in dynamic_bytes(rows, field)]
    if _takes_rest(fmt, field):
        spell = _spell_bytes(fmt, field, abi)
        return lambda rows: [spell(raw) for raw in tails(rows, field.offset)]
    if field.array_length is not None or field.size not in (1, 2, 4, 8):
        spell = _spell_bytes(fmt, field, abi)
        size = field.size
        begin = field.offset
        return lambda rows: [spell(raw[:size]) for raw in tails(rows, begin)]
    if field.type == "bool":
        return lambda rows: ["true" if v else "false" for v in rows.integers(field.offset, 1, signed=False).tolist()]
    return lambda rows: list(map(str, rows.integers(field.offset, field.size, signed=field.signed).tolist()))


class JsonRenderer:
    """Renders slices of a table of entries as JSON lines."""

    def __init__(self, catalog: Catalog, bodies: Bodies, memory: Memory, names: Sequence[str], *, lazy: bool) -> None:
        """``names`` and ``lazy`` as the prefix of text lines takes them."""
        self._catalog = catalog
        self._bodies = bodies
        self._memory = memory
        self._names = [quoted(name) for name in names]
        self._latency = latency_chars(lazy=lazy)
        self._makers: dict[int, Callable[[Rows], list[str]]] = {}

    def render(self, entries: Entries, names: npt.NDArray[np.integer[Any]]) -> bytes:
        """All lines of a slice, function graph exits among them; ``names`` is the column of task names."""
        if not len(entries):
            return b""
        records = entries.records
        flags, counts = self._latency
        columns = (
            records.ts.tolist(),
            records.cpu.tolist(),
            entries.pid.tolist(),
            map(self._names.__getitem__, names.tolist()),
            map(flags.__getitem__, entries.flags.tolist()),
            map(counts.__getitem__, entries.preempt_count.tolist()),
        )
        head = '{"ts":%d,"cpu":%d,"pid":%d,"comm":%s,"flags":"%s%s",'
        pieces = [""] * (4 * len(entries))
        pieces[::4] = [head % row for row in zip(*columns, strict=True)]
        pieces[1::4] = self._events(entries)
        pieces[2::4] = _quoted_all([text.removesuffix("\n") for text in self._bodies.render(entries)])
        pieces[3::4] = [f',"offset":{offset}}}\n' for offset in records.offset.tolist()]
        for row in np.flatnonzero((records.lost != 0) | (records.epoch != 0) | (records.state != 0)).tolist():
            pieces[4 * row + 3] = pieces[4 * row + 3][:-2] + _extra(entries, row) + "}\n"
        return "".join(pieces).encode("utf-8")

    def _events(self, entries: Entries) -> list[str]:
        def render(event_id: int, index: npt.NDArray[np.intp]) -> list[str]:
            make = self._makers.get(event_id)
            if make is None:
                make = self._makers[event_id] = self._maker(event_id)
            return make(entries.rows(self._memory, index))

        return render_by_event(entries.id, render)

    def _maker(self, event_id: int) -> Callable[[Rows], list[str]]:
        fmt = self._catalog.get(event_id)
        if fmt is None:
            head = f'"event":null,"fields":{{"id":{event_id},"raw":"'
            return lambda rows: [f'{head}{raw.hex()}"}},"text":' for raw in payloads(rows)]
        abi = self._memory.abi
        columns = []
        for field in fmt.fields:
            least = field.offset + (0 if _takes_rest(fmt, field) else field.size)
            columns.append(or_else(_values(fmt, field, abi), least, "null"))
        keys = [quoted(field.name).replace("%", "%%") for field in fmt.fields]
        event = quoted(f"{fmt.system}:{fmt.name}").replace("%", "%%")
        template = f'"event":{event},"fields":{{{",".join(f"{key}:%s" for key in keys)}}},"text":'
        if not columns:
            return lambda rows: [template % ()] * len(rows)
        return lambda rows: [template % row for row in zip(*(values(rows) for values in columns), strict=True)]


def _extra(entries: Entries, row: int) -> str:
    records = entries.records
    lost, epoch, state = int(records.lost[row]), int(records.epoch[row]), int(records.state[row])
    text = f',"lost":{lost if lost > 0 else "null"}' if lost else ""
    text += f',"boot":{epoch}' if epoch else ""
    return text + (f',"state":"{RecordState(state).name.lower()}"' if state else "")
