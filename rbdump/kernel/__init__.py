# SPDX-License-Identifier: Apache-2.0
"""A kernel image (vmlinux, vmlinuz, Image, .ko) to symbols, BTF, strings and event formats."""
