# SPDX-License-Identifier: Apache-2.0
"""Whole numbers as people write them: one rule for all options."""

from __future__ import annotations

import re

__all__ = ["parse_number"]

_NUMBER = re.compile(r"\d{1,40}|0x[0-9a-f]{1,40}", re.ASCII | re.IGNORECASE)


def parse_number(text: str) -> int | None:
    """``150`` or ``0x96``, blanks around it left out; None when it is neither. A zero in front means nothing."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)
