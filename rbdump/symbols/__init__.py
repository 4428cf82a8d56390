# SPDX-License-Identifier: Apache-2.0
"""Addresses to names: symbol tables, kallsyms text, text and module deltas."""
