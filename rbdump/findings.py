# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the evidence, as data: damage is the normal case and never an exception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity", "as_unicode", "first_of"]


def as_unicode(text: str) -> str:
    """Text that every reader of JSON accepts: bytes that are no UTF-8 become ``\\xff``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def first_of(items: Sequence[str], most: int) -> str:
    """So many of ``items`` in a row for a message, and how many more there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


class Severity(StrEnum):
    """How bad a finding is; only `ERROR` makes `rbdump check` fail."""

    INFO = "info"
    """Worth knowing, nothing is wrong: consumed sub-buffers, an inferred clock."""
    WARNING = "warning"
    """Something could not be decoded or had to be inferred; no evidence is damaged."""
    ERROR = "error"
    """The evidence is damaged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a region or a source."""

    severity: Severity
    code: str
    """A stable name in kebab-case, the same in every command: ``commit-too-large``."""
    message: str
    """One sentence; it gives the numbers and does not repeat cpu, subbuf and offset."""
    cpu: int | None = None
    """CPU number; None when it concerns no single CPU."""
    subbuf: int | None = None
    """Index of the sub-buffer in its CPU's memory (0 .. nr_subbufs-1); None when it concerns no single one."""
    offset: int | None = None
    """Byte offset in the input file (after decompression); None when there is no such place."""

    def __str__(self) -> str:
        where = [
            f"cpu {self.cpu}" if self.cpu is not None else "",
            f"sub-buffer {self.subbuf}" if self.subbuf is not None else "",
            f"offset {self.offset:#010x}" if self.offset is not None else "",
        ]
        place = ", ".join(part for part in where if part)
        return f"{self.severity}: {self.code}: {place + ': ' if place else ''}{self.message}"

    def as_dict(self) -> dict[str, object]:
        """The finding as one JSON object; places that do not apply are null."""
        return {
            "severity": str(self.severity),
            "code": self.code,
            "cpu": self.cpu,
            "subbuf": self.subbuf,
            "offset": self.offset,
            "message": as_unicode(self.message),
        }
