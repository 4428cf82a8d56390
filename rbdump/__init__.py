# SPDX-License-Identifier: Apache-2.0
"""Offline forensic analyzer for raw dumps of persistent ftrace ring buffers."""

from __future__ import annotations

__version__ = "0.1.0"
