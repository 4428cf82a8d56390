# SPDX-License-Identifier: Apache-2.0
"""Bytes to records: the region, its sub-buffers and the walk. Mirrors kernel/trace/ring_buffer.c, knows no event."""
