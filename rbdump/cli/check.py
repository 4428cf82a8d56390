# SPDX-License-Identifier: Apache-2.0
"""`rbdump check`: `rbdump info` that fails on damage."""

from __future__ import annotations

import typer

from rbdump.cli import info, options
from rbdump.errors import ExitStatus

__all__ = ["check"]


def check(region: options.Region, as_json: info.Json = False, offset: options.Offset = None) -> None:
    """As `rbdump info`, with exit status 1 if the region is damaged."""
    if not info.show(region, offset, as_json):
        raise typer.Exit(ExitStatus.DAMAGE)
