# SPDX-License-Identifier: Apache-2.0
"""The types of a kernel image: BTF, which every distribution's 64-bit kernel carries, or else DWARF."""

from __future__ import annotations

from rbdump.errors import SourceError
from rbdump.kernel.btf import Btf
from rbdump.kernel.dwarf import Dwarf
from rbdump.kernel.image import KernelImage
from rbdump.kernel.typeinfo import TypeSource

__all__ = ["image_types"]


def image_types(image: KernelImage) -> TypeSource:
    """The type information of an image.

    :raises SourceError: it has none, or it is damaged.
    """
    if (blob := image.btf) is not None:
        return Btf(blob)
    vmlinux = image.vmlinux
    if vmlinux is not None and vmlinux.section(".debug_info") is not None:
        return Dwarf(vmlinux.data, image.path)
    raise SourceError(
        f"{image.path}: has neither BTF nor DWARF, and without them the structures that describe its events cannot be "
        "read; give the vmlinux with debug information of the same build, or a copy of tracefs"
    )
