# SPDX-License-Identifier: Apache-2.0
"""One comparison of an event filter over all records of one event.

Mirrors the filter_pred_*() functions of kernel/trace/trace_events_filter.c: integers are compared in the width and
sign of the field, strings up to their NUL. The kernel takes ``~ "*end"`` on a fixed array for the end of the array,
where hardly a string ends, and a pattern that begins with a digit for no pattern: here both mean what they say.
A field is looked up as trace_find_event_field() does: the event's own, then ``cpu`` and ``comm``, then the common ones.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.errors import UsageError
from rbdump.events.comms import TaskNames
from rbdump.events.format import EventFormat, Field
from rbdump.events.glob import Glob
from rbdump.events.rows import Rows
from rbdump.events.strings import dynamic_bytes, until_nul
from rbdump.memo import Memo

__all__ = ["Cpus", "FilterContext", "Predicate", "Word", "evaluate", "problem"]

_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]{1,21}|[0-9]{1,23})", re.ASCII)
"""What the 23 characters that parse_pred() has room for can hold."""
_CPU = frozenset({"CPU", "cpu", "common_cpu"})
_COMM = frozenset({"COMM", "comm", "common_comm"})
_STACK = frozenset({"stacktrace", "STACKTRACE", "common_stacktrace"})
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Word:
    """A value as it was written: a number, or a string with or without quotes."""

    text: str
    quoted: bool

    @property
    def number(self) -> int | None:
        """The number in C notation (42, 0x2a, 052, -1); None when it is none."""
        if self.quoted or not _NUMBER.fullmatch(self.text):
            return None
        sign, digits = (-1, self.text[1:]) if self.text.startswith("-") else (1, self.text)
        if digits[:2] in ("0x", "0X"):
            return sign * int(digits[2:], 16)
        if digits.startswith("0") and len(digits) > 1:
            return sign * int(digits, 8) if not set(digits) & {"8", "9"} else None
        return sign * int(digits)


@dataclass(frozen=True, slots=True)
class Cpus:
    """``CPUS{0-3,5}``."""

    cpus: frozenset[int]


@dataclass(frozen=True, slots=True)
class Predicate:
    """``field[.suffix] operator value``."""

    field: str
    suffix: str
    """``""``, ``ustring`` or ``function``."""
    operator: str
    value: Word | Cpus


@dataclass(slots=True)
class FilterContext:
    """What a filter may ask besides the record; `cpu` and `comm` have one item for each of the rows."""

    cpu: npt.NDArray[np.uint16]
    comm: TaskNames
    string_at: Callable[[int], str | None] = field(default=lambda addr: None)
    """The string at a last-boot kernel address, for ``const char *`` fields."""
    function_range: Callable[[str], tuple[int, int] | None] = field(default=lambda name: None)
    """First address, and the one behind the last, of the function of that name or at that address (``0x...``)."""


def _find(name: str, fmt: EventFormat) -> Field | str | None:
    """The field; or ``cpu``, ``comm``, ``stack`` for what the record itself does not hold."""
    own = next((f for f in fmt.fields if f.name == name), None)
    if own is not None:
        return own
    for names, kind in ((_CPU, "cpu"), (_COMM, "comm"), (_STACK, "stack")):
        if name in names:
            return kind
    return next((f for f in fmt.common_fields if f.name == name), None)


def _is_string_pointer(target: Field) -> bool:
    return target.type in ("char *", "const char *")


def _is_cpumask(target: Field) -> bool:
    return "cpumask_t" in target.type and target.is_dynamic


def _is_scalar(target: Field) -> bool:
    return target.size in (1, 2, 4, 8) and "[" not in target.type and not target.is_dynamic


def problem(predicate: Predicate, fmt: EventFormat) -> str | None:
    """Why a predicate cannot be asked of an event, for people; None when it can."""
    name, value = predicate.field, predicate.value
    target = _find(name, fmt)
    if target is None:
        return f"it has no field {name}"
    if target == "stack":
        return "a stack trace cannot be compared"
    if target == "cpu":
        ok = isinstance(value, Cpus) or (value.number is not None and predicate.operator != "&")
        return None if ok and not predicate.suffix else f"{name} is compared with a number, or with CPUS{{...}} by &"
    string = target == "comm" or (isinstance(target, Field) and (target.is_string or _is_string_pointer(target)))
    if predicate.suffix == "ustring":
        return f"{name}.ustring is a string in the memory of a process that is gone"
    if string:
        ok = isinstance(value, Word) and predicate.operator in ("==", "!=", "~") and not predicate.suffix
        return None if ok else f"{name} is a string, which is compared by ==, != and ~ with a string"
    assert isinstance(target, Field)
    if _is_cpumask(target):
        return None if isinstance(value, Cpus) else f"{name} is a set of CPUs, which takes CPUS{{...}}"
    if not _is_scalar(target):
        return f"{name} is an array"
    if predicate.suffix == "function":
        return None if target.size >= 4 else f"{name} is too small for the address of a function"
    if isinstance(value, Cpus):
        return None
    number = value.number
    if number is None or predicate.operator == "~":
        is_addr = "*" in target.type or "long" in target.type
        return f"{name} is a number" + f" ({name}.function takes a function)" * is_addr
    if not target.signed and value.text.startswith("-"):
        return f"{name} is never negative"
    if not -(1 << 63) <= number < 1 << (63 if target.signed else 64):
        return f"{name} takes a number of up to 64 bits"
    return None


def _matcher(predicate: Predicate, text: str) -> Callable[[bytes], bool]:
    raw = text.encode("utf-8", "surrogateescape")
    if predicate.operator == "==":
        return raw.__eq__
    if predicate.operator == "!=":
        return raw.__ne__
    inverted = raw.startswith(b"!")
    glob = Glob(raw.removeprefix(b"!"))
    return lambda item: glob.matches(item) is not inverted


def _match_all(items: Iterable[bytes | None], matches: Callable[[bytes], bool], count: int) -> Mask:
    """Strings that the record does not hold never match."""
    answers = Memo(lambda raw: raw is not None and matches(until_nul(raw)))
    return np.fromiter(map(answers.__getitem__, items), bool, count)


def _strings(predicate: Predicate, target: Field, rows: Rows, context: FilterContext) -> Mask:
    assert isinstance(predicate.value, Word)
    matches = _matcher(predicate, predicate.value.text)
    items: Iterable[bytes | None]
    if target.is_dynamic:
        items = dynamic_bytes(rows, target)
    elif _is_string_pointer(target):
        addrs = rows.integers(target.offset, target.size, signed=False).tolist()
        found = {addr: context.string_at(addr) for addr in set(addrs)}
        encoded = {a: None if s is None else s.encode("utf-8", "surrogateescape") for a, s in found.items()}
        items = map(encoded.__getitem__, addrs)
    else:
        items = rows.char_arrays(target.offset, target.size).tolist()
    return _match_all(items, matches, len(rows))


def _masks(raws: list[bytes | None], rows: Rows) -> list[int | None]:
    """Bitmaps of the dump's words as one integer each, bit n for CPU n."""
    abi = rows.memory.abi
    word = abi.long_size

    def join(raw: bytes) -> int:
        words = (int.from_bytes(raw[at : at + word], abi.byteorder) for at in range(0, len(raw), word))
        return sum(value << (8 * word * number) for number, value in enumerate(words))

    return [None if raw is None else join(raw) for raw in raws]


def _cpumasks(predicate: Predicate, target: Field, rows: Rows) -> Mask:
    assert isinstance(predicate.value, Cpus)
    wanted = sum(1 << cpu for cpu in predicate.value.cpus)
    values = _masks(dynamic_bytes(rows, target), rows)
    if predicate.operator == "&":
        return np.array([value is not None and bool(value & wanted) for value in values], bool)
    compare = _COMPARE[predicate.operator]
    return np.array([value is not None and compare(value, wanted) for value in values], bool)


def _in_cpus(values: npt.NDArray[Any], predicate: Predicate) -> Mask:
    """A single number against a set: only a set of one CPU can be equal to it."""
    assert isinstance(predicate.value, Cpus)
    cpus = sorted(predicate.value.cpus)
    inside: Mask = np.isin(values.astype(np.uint64), np.array(cpus, np.uint64))
    if predicate.operator == "&":
        return inside
    if len(cpus) > 1:
        return np.full(len(values), predicate.operator == "!=")
    return inside if predicate.operator == "==" else ~inside


def _numbers(predicate: Predicate, target: Field, rows: Rows, context: FilterContext) -> Mask:
    values = rows.integers(target.offset, target.size, signed=target.signed)
    if isinstance(predicate.value, Cpus):
        return _in_cpus(values, predicate)
    if predicate.suffix == "function":
        span = context.function_range(predicate.value.text)
        if span is None:
            raise UsageError(
                f"filter: no function {predicate.value.text} is known; --kallsyms or --vmlinux tell functions"
            )
        addrs = values.astype(np.uint64)
        within: Mask = (addrs >= np.uint64(span[0])) & (addrs < np.uint64(span[1]))
        return within if predicate.operator == "==" else ~within
    number = predicate.value.number
    assert number is not None
    bits = 8 * target.size
    # The kernel casts the number to the type of the field.
    number &= (1 << bits) - 1
    if target.signed and number >> (bits - 1):
        number -= 1 << bits
    wanted = np.array(number, values.dtype)
    result = (values & wanted) != 0 if predicate.operator == "&" else _COMPARE[predicate.operator](values, wanted)
    return np.asarray(result, bool)


def evaluate(predicate: Predicate, fmt: EventFormat, rows: Rows, context: FilterContext) -> Mask:
    """Which rows a predicate holds for; False where a record is too short for the field. `problem` must be None."""
    target = _find(predicate.field, fmt)
    value = predicate.value
    if target == "cpu":
        if isinstance(value, Cpus):
            return _in_cpus(context.cpu, predicate)
        return np.asarray(_COMPARE[predicate.operator](context.cpu.astype(np.int64), value.number), bool)
    if target == "comm":
        assert isinstance(value, Word)
        matches = _matcher(predicate, value.text)
        answers = [matches(name.encode("utf-8", "surrogateescape")) for name in context.comm.names]
        return np.array(answers, bool)[context.comm.index]
    assert isinstance(target, Field)
    size = 4 if target.is_dynamic else target.size
    enough = rows.length >= target.offset + size
    if not enough.all():
        mask = np.zeros(len(rows), bool)
        some = np.flatnonzero(enough)
        if len(some):
            part = FilterContext(
                context.cpu[some], context.comm.select(some), context.string_at, context.function_range
            )
            mask[some] = evaluate(predicate, fmt, rows.select(some), part)
        return mask
    if _is_cpumask(target):
        return _cpumasks(predicate, target, rows)
    if target.is_string or _is_string_pointer(target):
        return _strings(predicate, target, rows, context)
    return _numbers(predicate, target, rows, context)
