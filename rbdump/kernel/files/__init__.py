# SPDX-License-Identifier: Apache-2.0
"""The files that a kernel or a module comes in, down to its memory by link address."""
