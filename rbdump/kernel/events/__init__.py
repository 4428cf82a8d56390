# SPDX-License-Identifier: Apache-2.0
"""The trace events that an image or a module defines, as tracefs would show them."""
