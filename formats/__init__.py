# SPDX-License-Identifier: Apache-2.0
"""Data, no logic: event formats that ship with rbdump."""
