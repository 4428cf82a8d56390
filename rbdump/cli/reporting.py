# SPDX-License-Identifier: Apache-2.0
"""Findings on their way out: a digest on stderr, or all of them as JSON lines in a file; standard files."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence

from rbdump.errors import OutputError
from rbdump.findings import Finding, Severity

__all__ = ["complain", "open_standard_files", "report_findings"]

SHOWN_OF_A_CODE = 3


def open_standard_files() -> None:
    """Give standard files that the caller closed a number that nothing else gets, and that fails when it is used.

    Else the first file that is opened would be standard output, and Python has no object for it at all.
    """
    for fd, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, flags)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def complain(text: str) -> None:
    """One line on stderr; where that cannot be written, nobody wants to read it."""
    with contextlib.suppress(OSError):
        print(f"rbdump: {text}", file=sys.stderr, flush=True)


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
            raise OutputError(f"cannot write findings to {path}: {error.strerror}") from error
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
