# SPDX-License-Identifier: Apache-2.0
"""Fields to text: trace lines, JSON lines, tables for a person."""
