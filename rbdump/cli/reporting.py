# SPDX-License-Identifier: Apache-2.0
"""Findings on their way out: a digest on stderr, or all of them as JSON lines in a file."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence

from rbdump.errors import OutputError
from rbdump.findings import Finding, Severity

__all__ = ["complain", "report_findings"]

SHOWN_OF_A_CODE = 3


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
