# SPDX-License-Identifier: Apache-2.0
"""What stops rbdump, and the exit status of each: an exception means only "cannot go on"."""

from __future__ import annotations

import contextlib
import sys
from enum import IntEnum, unique
from typing import ClassVar

__all__ = [
    "ExitStatus",
    "InputError",
    "NotARegionError",
    "NotASourceError",
    "OutputError",
    "RbdumpError",
    "SourceError",
    "UsageError",
    "WrongImageError",
    "complain",
    "name_of",
    "printable",
]


@unique
class ExitStatus(IntEnum):
    """Every exit status of the command line, stable across releases."""

    OK = 0
    """Done; damage in the region is not a failure."""
    DAMAGE = 1
    """`rbdump check` only: a finding of severity error."""
    USAGE = 2
    """The command line is wrong."""
    NOT_A_REGION = 3
    """The input was read, and holds no persistent ring buffer."""
    INPUT = 4
    """The input cannot be read: missing, a directory, empty, a broken archive."""
    SOURCE = 5
    """A tracefs copy, symbol table or kernel image cannot be used."""
    WRONG_IMAGE = 6
    """The kernel image is not the one that wrote the region (`--force` overrides)."""
    OUTPUT = 7
    """The output cannot be written: a full disk, say."""
    INTERRUPTED = 130
    """Interrupted from the keyboard."""
    PIPE = 141
    """The reader of the output closed it: `rbdump parse ... | head -1`."""


class RbdumpError(Exception):
    """Base of all errors of rbdump; the text is one sentence for the user."""

    status: ClassVar[ExitStatus] = ExitStatus.INPUT


class UsageError(RbdumpError):
    """The caller asked for something that does not make sense."""

    status = ExitStatus.USAGE


class InputError(RbdumpError):
    """The input cannot be read."""

    status = ExitStatus.INPUT


class NotARegionError(RbdumpError):
    """The input holds no persistent ring buffer."""

    status = ExitStatus.NOT_A_REGION


class SourceError(RbdumpError):
    """A tracefs copy, a symbol table or a kernel image cannot be used."""

    status = ExitStatus.SOURCE


class NotASourceError(SourceError):
    """The file is something else: neither a kernel image nor a copy of tracefs, not even a damaged one."""


class WrongImageError(SourceError):
    """The kernel image is not the one that wrote the region."""

    status = ExitStatus.WRONG_IMAGE


class OutputError(RbdumpError):
    """The output cannot be written."""

    status = ExitStatus.OUTPUT


def name_of(path: str) -> str:
    """What messages call an input; ``-`` is standard input."""
    return "standard input" if path == "-" else path


def printable(text: str) -> str:
    """Text in which what a terminal would obey is escaped: the names of files and tasks come from anywhere."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def complain(text: str) -> None:
    """One `printable` line on stderr; where that cannot be written, nobody wants to read it."""
    with contextlib.suppress(OSError):
        print(f"rbdump: {printable(text)}", file=sys.stderr, flush=True)
