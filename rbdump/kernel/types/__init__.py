# SPDX-License-Identifier: Apache-2.0
"""Types and structure layouts of a kernel, wherever they are written: BTF, DWARF, the shape of its tables."""
