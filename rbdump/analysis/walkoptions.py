# SPDX-License-Identifier: Apache-2.0
"""How to read a region, as the user said it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbdump.ring import Policy

__all__ = ["WalkOptions"]


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """How to read the region; options of `rbdump parse`."""

    offset: int | None = None
    """Where the region begins in the input; None to search for it."""
    strict: bool = False
    """Only what a kernel would have kept after a reboot."""
    policy: Policy | None = None
    """Which kernel, for `strict`; None to choose by layout."""
    uncommitted: bool = False
    """Records behind the last commit as well."""
