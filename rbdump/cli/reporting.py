# SPDX-License-Identifier: Apache-2.0
"""Findings on their way out: a digest on stderr, or all of them as JSON lines in a file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Sequence

from rbdump.errors import OutputError, UsageError, complain, name_of
from rbdump.findings import Finding, Severity

__all__ = ["check_findings_file", "report_findings"]

SHOWN_OF_A_CODE = 3


def check_findings_file(path: str, inputs: Sequence[str]) -> None:
    """Refuse a file for the findings that is also read or may be, is standard output, or cannot be written.

    It is neither made nor changed. ``inputs`` are the files and folders that the command was given, ``-`` for standard
    input. UsageError, or OutputError.
    """
    if path in ("", "-"):
        raise UsageError(
            f"--findings {path!r}: give a file; standard output is for data, /dev/stderr is a file as well"
        )
    try:
        found = os.stat(path)
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise _not_writable(path, error) from error
    if found is not None and not stat.S_ISCHR(found.st_mode):
        if os.path.samestat(found, os.fstat(1)):
            raise UsageError(f"--findings {path} is where standard output goes, which is for data; give another file")
        for name in ("-", *inputs):  # standard input is read by `resolve` without being named
            with contextlib.suppress(OSError):
                if os.path.samestat(found, os.fstat(0) if name == "-" else os.stat(name)):
                    text = f"--findings {path} would overwrite {name_of(name)}, which is an input; give another file"
                    raise UsageError(text)
    for name in filter(os.path.isdir, inputs):
        if _is_below(path, found, name):
            raise UsageError(f"--findings {path} is in the folder {name}, which is an input; give a file elsewhere")
    try:
        if found is None:
            folder = os.path.dirname(path) or "."
            os.stat(os.path.join(folder, ""))
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        elif not stat.S_ISFIFO(found.st_mode):  # that would wait for its reader
            os.close(os.open(path, os.O_WRONLY | os.O_NOCTTY))
    except OSError as error:
        raise _not_writable(path, error) from error


def _is_below(path: str, found: os.stat_result | None, folder: str) -> bool:
    """Whether a file lies below a folder, or something there is a link to it."""
    top = os.path.realpath(folder)
    if os.path.commonpath([top, os.path.realpath(path)]) == top:
        return True
    if found is not None:
        for where, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    if os.path.samestat(found, os.stat(os.path.join(where, name))):
                        return True
    return False


def _not_writable(path: str, error: OSError) -> OutputError:
    return OutputError(f"cannot write findings to {path}: {error.strerror}")


def report_findings(findings: Sequence[Finding], path: str | None) -> None:
    """Write findings to ``path`` as JSON lines, or the first few of each code to stderr.

    Findings of severity info go to the file only: they are not worth a line of everybody's terminal.
    Raises OutputError if the file cannot be written.
    """
    if path is not None:
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(finding.as_dict()) + "\n" for finding in findings)
        except OSError as error:
            raise _not_writable(path, error) from error
        return
    seen: Counter[str] = Counter()
    for finding in findings:
        if finding.severity is Severity.INFO:
            continue
        seen[finding.code] += 1
        if seen[finding.code] <= SHOWN_OF_A_CODE:
            complain(str(finding))
    for code, count in seen.items():
        if count > SHOWN_OF_A_CODE:
            complain(f"{code}: {count - SHOWN_OF_A_CODE} more; --findings FILE has them all")
