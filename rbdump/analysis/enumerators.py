# SPDX-License-Identifier: Apache-2.0
"""The values of the enumerators that format files leave as names, from the types of the kernel and of its modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbdump.analysis.images import Images
    from rbdump.kernel.events.modules import KernelModule
    from rbdump.kernel.types.splitbtf import SplitBtf

__all__ = ["Enumerators"]


class Enumerators:
    """Enumerators as each event sees them: those of the module whose event it is come first."""

    def __init__(self, images: Images | None, modules: Iterable[KernelModule]) -> None:
        self._images = images
        self._owners: dict[tuple[str, str], list[SplitBtf]] = {}
        for module in modules:
            if module.types is not None:
                for event in module.event_names:
                    self._owners.setdefault(event, []).append(module.types)

    def __call__(self, name: str, event: tuple[str, str]) -> int | None:
        """The value of ``name`` in the print fmt of an event, by its (system, name); None when it is not known."""
        owners = self._owners.get(event, ())
        own = {value for types in owners if (value := types.constant(name)) is not None}
        if own:
            return own.pop() if len(own) == 1 else None
        return self._images.constant(name, of_module=bool(owners)) if self._images is not None else None
