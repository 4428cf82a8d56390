# SPDX-License-Identifier: Apache-2.0
"""BTF, the type information that a kernel carries in its image, decoded only where somebody asks.

Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h. A blob of 5 to 7 MB holds 100,000 types of
varying length; they are indexed in bulk (`Btf.__init__` finds the start of each one) and looked up by name
through the string section, so that a look-up decodes one type and not all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rbdump.errors import SourceError
from rbdump.kernel.types.typeinfo import FunctionProto, Member, Parameter, StructLayout

__all__ = ["Btf"]

Words = npt.NDArray[np.uint32]

MAGIC = 0xEB9F
HEADER_SIZE = 24
MAX_DEPTH = 64
"""Modifiers and anonymous members nest a few levels; a chain longer than this is a loop."""
MAX_MEMBERS = 1 << 10
"""Anonymous structures inside one structure; in damaged types they may contain each other."""
MAX_SAME = 64
"""Enumerators of one name that are looked at."""

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
MODIFIERS = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))
KIND_NAMES = {INT: "int", PTR: "ptr", ENUM: "enum", ENUM64: "enum64", STRUCT: "struct", UNION: "union", FLOAT: "float",
              ARRAY: "array", FWD: "fwd", FUNC_PROTO: "func_proto"}  # fmt: skip

# Bytes behind the 12 bytes of struct btf_type: once for the type, and once for each of its vlen items.
INFO_SIZE = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
ITEM_SIZE = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


class Btf:
    """The types of one kernel.

    :param data: the blob: the ``.BTF`` section, or the bytes between ``__start_BTF`` and ``__stop_BTF``.
    :raises SourceError: it is no BTF, or its sections lie outside of it.
    """

    origin = "BTF"
    _first = 1
    """Id of the first type of the blob; 0 is void."""

    def __init__(self, data: bytes) -> None:
        self._endian = _byte_order(data)
        header_size, type_off, type_len, str_off, str_len = struct.unpack_from(f"{self._endian}5I", data, 4)
        if header_size < HEADER_SIZE or max(type_off + type_len, str_off + str_len) > len(data) - header_size:
            raise SourceError(
                f"the kernel's BTF is cut short ({len(data)} bytes, its header asks for "
                f"{header_size + max(type_off + type_len, str_off + str_len)}): give the whole image"
            )
        begin = header_size + type_off
        self._types = data[begin : begin + (type_len & ~3)]
        self._strings = data[header_size + str_off : header_size + str_off + str_len]
        self._words = np.frombuffer(self._types, f"{self._endian}u4")
        self._starts = self._index(*_kind_sizes(data, self._endian, header_size))
        self._infos = self._words[self._starts + 1]
        self._kinds = (self._infos >> 24) & 0x1F
        self._names = self._words[self._starts]
        self._structs: dict[str, StructLayout | None] = {}

    # -- look-ups -----------------------------------------------------------------------------------------------

    def struct(self, name: str, *members: str) -> StructLayout | None:
        """The structure or union ``name``, members of anonymous members included; None when there is none.

        Of several structures of that name it is the first that has all of ``members``.
        """
        key = "\0".join((name, *members))
        if key not in self._structs:
            self._structs[key] = None
            for type_id in self._by_name(name, STRUCT, UNION):
                layout = self._layout(type_id)
                if all(member in layout.members for member in members):
                    self._structs[key] = layout
                    break
        return self._structs[key]

    def enum(self, name: str) -> dict[str, int]:
        """The constants of ``enum name``, in order; empty when there is none."""
        for type_id in self._by_name(name, ENUM, ENUM64):
            if values := dict(self._enumerators(type_id)):
                return values
        return {}

    def constant(self, name: str) -> int | None:
        """The value of the enumeration constant ``name`` of any enumeration, named or not."""
        return self.constants((name,)).get(name)

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The values of those of ``names`` that are enumeration constants, looked up all at once."""
        return {name: values[0] for name, values in self._values(names).items()}

    def function(self, name: str) -> FunctionProto | None:
        """The parameters of function ``name``; None when the image knows no such function."""
        for type_id in self._by_name(name, FUNC):
            proto = self._record(type_id)[2]
            if self._kind(proto) == FUNC_PROTO:
                return FunctionProto(name, tuple(self._parameters(proto)))
        return None

    def _values(self, names: Iterable[str]) -> dict[str, list[int]]:
        """What the enumerations give those of ``names`` that are constants, in order."""
        offsets, positions = self._enumerator_index
        found: dict[str, list[int]] = {}
        for name in dict.fromkeys(names):
            if (offset := self._string_offset(name)) is None:
                continue
            begin, end = np.searchsorted(offsets, [offset, offset + 1]).tolist()
            if end > begin:
                found[name] = [self._value_at(at) for at in positions[begin : min(end, begin + MAX_SAME)].tolist()]
        return found

    @cached_property
    def _enumerator_index(self) -> tuple[Words, npt.NDArray[np.int64]]:
        """The names of all enumerators as offsets, ascending, and the words where they are."""
        positions = np.sort(np.concatenate([self._item_words(ENUM), self._item_words(ENUM64)]))
        names = self._words[positions]
        order = np.argsort(names, kind="stable")
        return names[order], positions[order]

    def _item_words(self, kind: int) -> npt.NDArray[np.int64]:
        """The first word of each item of each type of a kind that has items: the offset of its name."""
        rows = np.flatnonzero(self._kinds == kind)
        counts = (self._infos[rows] & 0xFFFF).astype(np.int64)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        words: npt.NDArray[np.int64] = np.repeat(self._starts[rows] + 3, counts) + ITEM_SIZE[kind] // 4 * within
        return words

    def _value_at(self, position: int) -> int:
        """The value of the enumerator whose first word is at ``position``."""
        info = int(self._infos[np.searchsorted(self._starts, position, side="right") - 1])
        return _value(info, self._words[position + 1 : position + ITEM_SIZE[_kind_of(info)] // 4].tolist())

    # -- decoding -----------------------------------------------------------------------------------------------

    def _index(self, info_sizes: list[int], item_sizes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The word at which each type starts: the size of one type says where the next begins."""
        words = self._words
        if len(words) < 3:
            return np.zeros(0, np.int64)
        # Read every word as if it were the info of a type, then hop from true start to true start.
        infos = words[1:]
        kinds = (infos >> 24) & 0x1F
        sizes = np.array(info_sizes, np.int64)[kinds] + np.array(item_sizes, np.int64)[kinds] * (infos & 0xFFFF)
        steps = (3 + sizes // 4).tolist()
        known = [kind for kind in range(1, len(info_sizes)) if info_sizes[kind] >= 0]
        starts: list[int] = []
        append = starts.append
        position, last = 0, len(words) - 3
        while position <= last:
            append(position)
            position += steps[position]
        if position != len(words):
            raise SourceError(f"the kernel's BTF is damaged at byte {4 * position} of its types: use an intact image")
        table = np.array(starts, np.int64)
        if not np.isin(kinds[table], known).all():
            raise SourceError("the kernel's BTF holds kinds of types that rbdump does not know: give a debug file")
        return table

    def _record(self, type_id: int) -> tuple[int, int, int]:
        """``(name offset, info, size or type)`` of a type; zeros for void and for ids that do not exist."""
        row = type_id - self._first
        if not 0 <= row < len(self._starts):
            return 0, 0, 0
        name, info, size = struct.unpack_from(f"{self._endian}3I", self._types, 4 * int(self._starts[row]))
        return name, info, size

    def _extra(self, type_id: int, size: int) -> bytes:
        """``size`` of the bytes behind the struct btf_type of a type that exists."""
        begin = 4 * int(self._starts[type_id - self._first]) + 12
        return self._types[begin : begin + size]

    def _kind(self, type_id: int) -> int:
        return _kind_of(self._record(type_id)[1])

    def _items(self, type_id: int, size: int) -> Iterator[tuple[int, ...]]:
        """The vlen items of a type, as tuples of u32."""
        count = self._record(type_id)[1] & 0xFFFF
        return struct.iter_unpack(f"{self._endian}{size // 4}I", self._extra(type_id, size * count))

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        return self._strings[offset : end if end >= 0 else len(self._strings)].decode("utf-8", "replace")

    def _string_offset(self, name: str) -> int | None:
        """Where the string section holds exactly ``name``; each string is there once."""
        offset = self._strings.find(b"\0" + name.encode("utf-8", "replace") + b"\0")
        return offset + 1 if offset >= 0 and name else None

    def _by_name(self, name: str, *kinds: int) -> list[int]:
        offset = self._string_offset(name)
        if offset is None:
            return []
        rows = np.flatnonzero(self._names == offset)
        return [int(row) + self._first for row in rows if int(self._kinds[row]) in kinds]

    def _strip(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        for _ in range(MAX_DEPTH):
            if self._kind(type_id) not in MODIFIERS:
                break
            type_id = self._record(type_id)[2]
        return type_id

    def _size(self, type_id: int, depth: int = 0) -> int:
        """Bytes of a type; pointers count as 0, their size is the machine's and not in BTF."""
        type_id = self._strip(type_id)
        _, info, size = self._record(type_id)
        kind = _kind_of(info)
        if kind == ARRAY and depth < MAX_DEPTH:
            element, count = struct.unpack(f"{self._endian}I4xI", self._extra(type_id, 12))
            return int(count) * self._size(element, depth + 1)
        return size if kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT) else 0

    def _layout(self, type_id: int) -> StructLayout:
        """The named members; those of anonymous structures inside with their offset from the outermost one."""
        members: dict[str, Member] = {}
        waiting = [(type_id, 0)]
        for _ in range(MAX_MEMBERS):
            if not waiting:
                break
            inner, base = waiting.pop()
            with_bits = bool(self._record(inner)[1] >> 31)
            for name_offset, member_type, position in self._items(inner, 12):
                bits = position >> 24 if with_bits else 0
                bit_offset = base + (position & 0xFFFFFF if with_bits else position)
                target = self._strip(member_type)
                if name_offset:
                    name = self._string(name_offset)
                    members.setdefault(name, Member(name, bit_offset // 8, self._size(target), bit_offset, bits))
                elif self._kind(target) in (STRUCT, UNION) and len(waiting) < MAX_MEMBERS:
                    waiting.append((target, bit_offset))
        own_name, _, size = self._record(type_id)
        return StructLayout(self._string(own_name), size, members)

    def _enumerators(self, type_id: int) -> Iterator[tuple[str, int]]:
        info = self._record(type_id)[1]
        for name, *words in self._items(type_id, ITEM_SIZE[_kind_of(info)]):
            yield self._string(name), _value(info, words)

    def _parameters(self, proto: int) -> Iterator[Parameter]:
        for name_offset, type_id in self._items(proto, 8):
            target = self._strip(type_id)
            name, info, _ = self._record(target)
            kind = _kind_of(info)
            signed = False
            values: dict[int, str] = {}
            if kind == INT:
                encoding = struct.unpack(f"{self._endian}I", self._extra(target, 4))[0] >> 24
                signed = bool(encoding & 1)
            elif kind in (ENUM, ENUM64):
                signed = bool(info >> 31)
                for constant, value in self._enumerators(target):
                    values.setdefault(value, constant)
            yield Parameter(
                self._string(name_offset),
                KIND_NAMES.get(kind, ""),
                self._string(name),
                self._size(target),
                signed,
                values,
            )


def _kind_of(info: int) -> int:
    return info >> 24 & 0x1F


def _value(info: int, words: Sequence[int]) -> int:
    """The value of an enumerator, a low word and of an ENUM64 a high one; the top bit of ``info`` says signed."""
    value = sum(word << 32 * place for place, word in enumerate(words))
    bits = 32 * len(words)
    return value - (1 << bits) if info >> 31 and value >> bits - 1 else value


def _byte_order(data: bytes) -> str:
    for endian in "<>":
        if len(data) >= HEADER_SIZE and struct.unpack_from(f"{endian}H", data)[0] == MAGIC:
            return endian
    raise SourceError("the kernel image's BTF does not begin with the BTF magic: use an intact image or a debug file")


def _kind_sizes(data: bytes, endian: str, header_size: int) -> tuple[list[int], list[int]]:
    """Bytes of each kind, -1 for an unknown one; newer blobs describe their kinds themselves (``layout_off``)."""
    info = [INFO_SIZE.get(kind, 0) if kind <= ENUM64 else -1 for kind in range(32)]
    item = [ITEM_SIZE.get(kind, 0) for kind in range(32)]
    if header_size >= HEADER_SIZE + 8:
        offset, length = struct.unpack_from(f"{endian}2I", data, HEADER_SIZE)
        end = min(32, length // 4, (len(data) - header_size - offset) // 4)
        for kind in range(ENUM64 + 1, end):
            info[kind], item[kind] = struct.unpack_from("2B", data, header_size + offset + 4 * kind)
    return info, item
