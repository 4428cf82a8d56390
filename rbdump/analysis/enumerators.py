# SPDX-License-Identifier: Apache-2.0
"""The values of the enumerators that format files leave as names, from the types of the kernel and of its modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbdump.analysis.images import Images
    from rbdump.kernel.events.modules import KernelModule

__all__ = ["Enumerators"]


class Enumerators:
    """Enumerators as each event sees them: those of the module whose event it is come first."""

    def __init__(self, images: Images | None, modules: Iterable[KernelModule]) -> None:
        self._images = images
        self._modules: dict[str, list[KernelModule]] = {}
        """Those that have an event of a name."""
        for module in modules:
            for event in module.event_names if module.types is not None else ():
                self._modules.setdefault(event, []).append(module)

    def __call__(self, name: str, event: tuple[str, str]) -> int | None:
        """The value of ``name`` in the print fmt of an event, by its (system, name); None when it is not known."""
        owners = [module for module in self._modules.get(event[1], ()) if event[0] in module.event_systems]
        own = {value for module in owners if module.types and (value := module.types.constant(name)) is not None}
        if own:
            return own.pop() if len(own) == 1 else None
        return self._images.constant(name, of_module=bool(owners)) if self._images is not None else None
