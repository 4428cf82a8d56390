# SPDX-License-Identifier: Apache-2.0
"""The events that ftrace itself writes, as formats: ids per numbering, offsets computed for an ABI.

Declared in ``formats/ftrace.events`` of this package (README.md there tells the notation); they mirror the records of
kernel/trace/trace_entries.h and enum trace_type of kernel/trace/trace.h.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources.abc import Traversable

import numpy as np

from rbdump.abi import Abi
from rbdump.events.entries import Entries
from rbdump.events.format import FormatError, sizeof
from rbdump.events.rows import Memory
from rbdump.events.texts import BUILT_IN, FormatTexts
from rbdump.ring.records import TRACE_ENTRY_SIZE, RecordState

__all__ = ["NUMBERINGS", "builtin_formats", "choose_numbering", "contradicted"]

NUMBERINGS = (20, 21)
"""The two values that __TRACE_LAST_TYPE has had: 21 since id 12 became TRACE_GRAPH_RETADDR_ENT (Linux 6.13)."""

_SOME, _MANY = 4, 16
_LAYOUTS_20 = ("A0", "A", "A'", "B")
_COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;
"""
_SIGNED = frozenset({"int", "long", "s64"})
_FIELD = re.compile(r"\t(?P<type>.*[ *])(?P<name>\w+)(?:\[(?P<count>\d*)\])?")


@dataclass(frozen=True, slots=True)
class _Record:
    """One declaration of ftrace.events."""

    name: str
    ids: tuple[int | None, int | None]
    words: frozenset[str]
    fields: tuple[tuple[str, str, int | None], ...]
    """(type, name, array length); length 0 takes the rest of the record, None is no array."""

    @property
    def flexible(self) -> bool:
        return self.fields[-1][2] == 0

    def layout(self, long_size: int) -> tuple[int, str]:
        """Bytes of the fixed part, and the field lines as tracefs spells them."""
        offset = TRACE_ENTRY_SIZE
        lines: list[str] = []
        for ctype, name, count in self.fields:
            element = sizeof(ctype, long_size)
            if "packed" not in self.words:
                offset = -(-offset // element) * element
            size = element * (1 if count is None else count)
            array = "" if count is None else f"[{count or ''}]"
            signed = int(ctype in _SIGNED)
            lines.append(f"\tfield:{ctype} {name}{array};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n")
            offset += size
        return offset, "".join(lines)


def _formats() -> Traversable:
    """The folder of this package's formats; in a checkout that is not installed it lies beside the package."""
    try:
        return importlib.resources.files("rbdump.formats")
    except ModuleNotFoundError:
        return importlib.resources.files("rbdump") / ".." / "formats"


@lru_cache(maxsize=1)
def _records() -> tuple[_Record, ...]:
    text = (_formats() / "ftrace.events").read_text("utf-8")
    records: list[_Record] = []
    for block in text.split("\nevent ")[1:]:
        head, *lines = block.split("\n")
        name, ids, *words = head.split()
        old, new = (None if word == "-" else int(word) for word in ids.split("/"))
        fields: list[tuple[str, str, int | None]] = []
        for match in filter(None, map(_FIELD.fullmatch, lines)):
            count = match["count"]
            fields.append((match["type"].strip(), match["name"], None if count is None else int(count or 0)))
        records.append(_Record(name, (old, new), frozenset(words), tuple(fields)))
    return tuple(records)


def _lengths(entries: Entries | None) -> dict[int, dict[int, int]]:
    """How many committed records of each payload length there are, by fixed id."""
    if entries is None:
        return {}
    low = (entries.id > 0) & (entries.id <= max(NUMBERINGS)) & (entries.records.state == RecordState.LIVE)
    pairs, counts = np.unique(entries.id[low].astype(np.int64) << 32 | entries.records.length[low], return_counts=True)
    found: dict[int, dict[int, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        found.setdefault(pair >> 32, {})[pair & 0xFFFFFFFF] = count
    return found


def _shortest(seen: dict[int, int]) -> int:
    """The shortest usual length; what less than 1 % of the records have may be damage."""
    total = sum(seen.values())
    return min(length for length, count in seen.items() if count * 100 >= total)


def _score(numbering: int, long_size: int, lengths: dict[int, dict[int, int]]) -> int:
    """Records whose length fits a numbering, less those that do not.

    Only events of one fixed length count as fitting, the others can only contradict.
    """
    column = NUMBERINGS.index(numbering)
    score = 0
    for event_id in range(12, numbering):
        variants = [r for r in _records() if r.ids[column] == event_id]
        sizes = [r.layout(long_size)[0] for r in variants]
        fixed = not any(r.flexible for r in variants)
        allowed = {-(-size // align) * align for size in sizes for align in (4, 8)}
        for length, count in lengths.get(event_id, {}).items():
            if fixed:
                score += count if length in allowed else -count
            elif length < min(sizes):
                score -= count
    return score


def choose_numbering(abi: Abi, layout: str, sources: Iterable[FormatTexts] = (), entries: Entries | None = None) -> int:
    """Which of `NUMBERINGS` the kernel used: what a source says, else what record lengths say, else the layout's."""
    fixed = {
        (r.name, event_id): numbering
        for r in _records()
        for numbering, event_id in zip(NUMBERINGS, r.ids, strict=True)
        if r.ids[0] != r.ids[1] and event_id is not None and event_id >= 12
    }
    for source in sources:
        for (system, name), event_id in source.names().items():
            if system == "ftrace" and (name, event_id) in fixed:
                return fixed[name, event_id]
    lengths = _lengths(entries)
    old, new = (_score(numbering, abi.long_size, lengths) for numbering in NUMBERINGS)
    # Damage makes a few records that contradict, and now and then one that fits.
    if abs(old - new) >= _SOME and (max(old, new) > 0 or min(old, new) <= -_MANY):
        return NUMBERINGS[new > old]
    return 20 if layout in _LAYOUTS_20 else 21


def contradicted(source: FormatTexts, entries: Entries) -> list[int]:
    """Ids of ftrace's own events whose records are shorter than the format in ``source``: it is of another kernel.

    Nearly all records must be, and not just a few. A kernel stack is shorter than the array in its format.
    """
    found = []
    for event_id, seen in _lengths(entries).items():
        if event_id not in source or source.name_of(event_id)[0] != "ftrace" or sum(seen.values()) < _SOME:
            continue
        try:
            fields = source[event_id].fields
        except FormatError:
            continue
        end = max((field.offset + field.size for field in fields if field.name != "caller"), default=0)
        if sum(count for length, count in seen.items() if length < end) * 10 >= 9 * sum(seen.values()):
            found.append(event_id)
    return found


def _depth_is_long(abi: Abi, entries: Entries, memory: Memory, event_id: int) -> bool:
    """On big endian a long depth has a zero upper half, where an int depth would be the number itself."""
    if abi.byteorder == "little" or abi.long_size == 4:
        return False
    rows = entries.rows(memory, (entries.id == event_id) & (entries.records.length >= 24))
    return len(rows) > 0 and not rows.integers(16, 4, signed=False).any()


def builtin_formats(
    abi: Abi, numbering: int, entries: Entries | None = None, memory: Memory | None = None
) -> FormatTexts:
    """ftrace's own events as a source of formats, the variant of each chosen by the records of its id."""
    column = NUMBERINGS.index(numbering)
    lengths = _lengths(entries)
    chosen: dict[int, tuple[tuple[bool, int, bool], _Record, str]] = {}
    for record in _records():
        event_id = record.ids[column]
        if event_id is None:
            continue
        if "long-depth" in record.words and not (
            entries is not None and memory is not None and _depth_is_long(abi, entries, memory, event_id)
        ):
            continue
        size, lines = record.layout(abi.long_size)
        seen = lengths.get(event_id)
        fits = seen is None or size <= _shortest(seen)
        rank = (fits, 0 if seen is None else size if fits else -size, record.flexible)
        best = chosen.get(event_id)
        if best is None or rank > best[0] or (rank == best[0] and "long-depth" in record.words):
            chosen[event_id] = (rank, record, lines)
    texts = FormatTexts(BUILT_IN, abi.long_size)
    for event_id, (_, record, lines) in sorted(chosen.items()):
        head = f"name: {record.name}\nID: {event_id}\nformat:\n{_COMMON}\n{lines}"
        texts.add("ftrace", record.name, f"{head}\n", event_id)
    return texts
