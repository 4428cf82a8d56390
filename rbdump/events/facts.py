# SPDX-License-Identifier: Apache-2.0
"""What rendering an event needs to know of the dead kernel besides the record itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rbdump.abi import Abi

if TYPE_CHECKING:
    from rbdump.events.format import EventFormat
    from rbdump.kernel.types.typeinfo import FunctionProto

__all__ = [
    "LINE_LIMIT",
    "Facts",
    "Prototypes",
    "Symbols",
    "no_addr",
    "no_constant",
    "no_event",
    "no_module",
    "no_prototypes",
]

LINE_LIMIT = {8: 8156, 4: 8172}
"""Characters that a kernel can print of one event, by the size of a long: what its struct trace_seq of 8 KiB, whatever
the size of a page, holds beside its other members (TRACE_SEQ_BUFFER_SIZE).
"""


class Symbols(Protocol):
    """Names of last-boot addresses, each a mapping that spells any unsigned long as one printf conversion does."""

    @property
    def pS(self) -> Mapping[int, str]:
        """``%pS``: ``name+0x12/0x340 [mod]``."""

    @property
    def ps(self) -> Mapping[int, str]:
        """``%ps``: ``name [mod]``."""

    @property
    def pB(self) -> Mapping[int, str]:
        """``%pB``: the call before a return address."""

    @property
    def func(self) -> Mapping[int, str]:
        """As function events and stacks print it: the bare name, ``0`` for 0, ``0x%08lx`` for unknown."""


def _no_string(addr: int) -> str | None:
    """No string of the kernel's memory is known."""
    return None


def no_module(name: str) -> bool:
    """No symbol is known."""
    return False


def no_addr(name: str) -> int | None:
    """No symbol is known."""
    return None


def no_constant(name: str, event: tuple[str, str]) -> int | None:
    """No enumerator is known."""
    return None


def no_event(name: str) -> EventFormat | None:
    """No other event is known."""
    return None


Prototypes = Callable[[str], "FunctionProto | None"]
"""The parameters of a function by its name; None for a function that is not known."""


def no_prototypes() -> Prototypes | None:
    """No type information is at hand."""
    return None


@dataclass(slots=True)
class Facts:
    """Facts about the kernel that wrote the region."""

    abi: Abi
    symbols: Symbols
    string_at: Callable[[int], str | None] = _no_string
    """The NUL-terminated string at a last-boot kernel address, None when it is not known."""
    in_ns: bool = True
    """The trace clock counts nanoseconds."""
    addr_of: Callable[[str], int | None] = no_addr
    """The last-boot address of a symbol of the kernel proper, None when it is not known."""
    in_module: Callable[[str], bool] = no_module
    """Whether a symbol is one of modules alone."""
    prototypes: Callable[[], Prototypes | None] = no_prototypes
    """The type information of the kernel, opened when a record asks for it; None when there is none."""
    release: str | None = None
    """``6.16.3-cloud-amd64``, as an image of the kernel tells it; None without one."""
    constant: Callable[[str, tuple[str, str]], int | None] = no_constant
    """The value of an enumerator in the print fmt of an event, by its (system, name), from the types of the kernel and
    of the module whose event it is."""
    event: Callable[[str], EventFormat | None] = no_event
    """The format of another event, ``system:name``: what it has may date what the kernel prints."""
    variables: Mapping[str, int] = field(default_factory=dict)
    """Values of variables of the kernel that print fmts name, see `rbdump.events.variables`: ``vmemmap_base``."""
    eprobes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """``system.event`` that an event probe, by its (system, name), is attached to."""
    hz: int | None = None
    """Jiffies in a second (CONFIG_HZ), None when it is not known."""
