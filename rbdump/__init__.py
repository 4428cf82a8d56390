# SPDX-License-Identifier: Apache-2.0
"""Offline forensic analyzer for raw dumps of persistent (boot-mapped) ftrace ring buffers.

trace = rbdump.open("region.bin", vmlinux="vmlinuz-6.12.43")
for line in trace.lines(rbdump.Selection(events=("sched:*",), last=20)):
    print(line)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbdump.errors import (
    ExitStatus,
    InputError,
    NotARegionError,
    OutputError,
    RbdumpError,
    SourceError,
    UsageError,
    WrongImageError,
)
from rbdump.findings import Finding, Severity

if TYPE_CHECKING:
    from rbdump.analysis.selection import Selection
    from rbdump.analysis.trace import Event, Trace
    from rbdump.ring import Policy

__version__ = "0.1.0"

__all__ = [
    "Event",
    "ExitStatus",
    "Finding",
    "InputError",
    "NotARegionError",
    "OutputError",
    "Policy",
    "RbdumpError",
    "Selection",
    "Severity",
    "SourceError",
    "Trace",
    "UsageError",
    "WrongImageError",
    "open",
]


Path = str | os.PathLike[str]


def open(
    path: Path,
    *,
    vmlinux: Path | Sequence[Path] = (),
    modules: Path | None = None,
    tracefs: Path | Sequence[Path] = (),
    kallsyms: Path | None = None,
    text_addr: int | None = None,
    text_delta: int | None = None,
    clock: str | None = None,
    force: bool = False,
    cache: bool = True,
    offset: int | None = None,
    strict: bool = False,
    policy: Policy | None = None,
    uncommitted: bool = False,
    jobs: int = 1,
) -> Trace:
    """Open a dump, raw or compressed, and walk its region; the keywords are the options of `rbdump parse`.

    With ``jobs`` above 1 a file is walked in a forked process while this one reads the sources.

    Raises InputError when the file cannot be read, NotARegionError when it holds no region, UsageError when an option
    makes no sense. What is wrong with a source is told when the source is first needed: SourceError says that one
    cannot be used, WrongImageError that it is not of the kernel which wrote the region.
    """
    if jobs < 1:
        raise UsageError(f"jobs={jobs}: give how many processes, 1 or more")
    from rbdump.analysis.walker import dismiss_walk, walk_beside
    from rbdump.analysis.walkoptions import WalkOptions

    copies, images = _paths(tracefs), _paths(vmlinux)
    path = os.fspath(path)
    options = WalkOptions(offset, strict, policy, uncommitted)
    walk = None
    if jobs > 1:
        walk = walk_beside(path, options)
    else:
        dismiss_walk()  # what the command began by a guess

    from rbdump.analysis.sources import EarlyFiles, Sources
    from rbdump.analysis.trace import Trace
    from rbdump.analysis.walking import walk_dump

    sources = Sources(
        tracefs=copies,
        kallsyms=None if kallsyms is None else os.fspath(kallsyms),
        vmlinux=images,
        modules=None if modules is None else os.fspath(modules),
        text_addr=text_addr,
        text_delta=text_delta,
        clock=clock,
        force=force,
        cache=cache,
    )
    if walk is None:
        return Trace(walk_dump(path, options), sources)
    import rbdump.analysis.printing  # noqa: F401  while the other process walks

    early = EarlyFiles(sources)
    return Trace(walk(early.parse), sources, early.files)


def _paths(given: Path | Sequence[Path]) -> tuple[str, ...]:
    return tuple(os.fspath(path) for path in ([given] if isinstance(given, str | os.PathLike) else given))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # numpy and the rest of the library are imported when they are first needed: `rbdump --help` is quick without
    if name in ("Event", "Trace"):
        from rbdump.analysis import trace

        return getattr(trace, name)
    if name == "Selection":
        from rbdump.analysis.selection import Selection

        return Selection
    if name == "Policy":
        from rbdump.ring import Policy

        return Policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
