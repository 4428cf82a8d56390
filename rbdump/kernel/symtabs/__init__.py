# SPDX-License-Identifier: Apache-2.0
"""The symbol tables that an image carries, in the order of the kernel's own table."""
