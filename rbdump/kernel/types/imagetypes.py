# SPDX-License-Identifier: Apache-2.0
"""The types of a kernel image: BTF, which distributions' 64-bit kernels carry, else DWARF, else its tables' shape."""

from __future__ import annotations

from rbdump.kernel.image import KernelImage
from rbdump.kernel.types.btf import Btf
from rbdump.kernel.types.dwarf import Dwarf
from rbdump.kernel.types.inferred import InferredTypes
from rbdump.kernel.types.typeinfo import TypeSource

__all__ = ["image_types"]


def image_types(image: KernelImage) -> TypeSource:
    """The type information of an image.

    :raises SourceError: it has none and its tables do not show enough, or what it has is damaged.
    """
    if (blob := image.btf) is not None:
        return Btf(blob)
    vmlinux = image.vmlinux
    if vmlinux is not None and vmlinux.section(".debug_info") is not None:
        return Dwarf(vmlinux.data, image.path)
    return InferredTypes(image)
