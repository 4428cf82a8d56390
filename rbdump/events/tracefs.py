# SPDX-License-Identifier: Apache-2.0
"""A copy of /sys/kernel/tracing as a source: formats, printk_formats, saved_cmdlines, event probes, clock.

The copy is a folder or a tar archive; the files may lie under any prefix (``tracing/``, ``sys/kernel/tracing/``), or be
the bare ``events`` folder. What lies under ``instances/`` repeats the formats and is used for the clock only: a
persistent buffer always is an instance.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from rbdump.abi import Abi
from rbdump.errors import NotASourceError, SourceError
from rbdump.events.format import FormatError, HeaderPage, parse_header_event, parse_header_page
from rbdump.events.texts import FormatTexts
from rbdump.events.tree import Tree, load_tree
from rbdump.findings import Finding, Severity

__all__ = ["Tracefs", "load_tracefs", "parse_clock", "parse_eprobes", "parse_printk_formats", "parse_saved_cmdlines"]

_SIDE_FILES = frozenset({"printk_formats", "saved_cmdlines", "trace_clock"})
_PRINTK_LINE = re.compile(rb'^0x([0-9a-fA-F]{1,16}) : "(.*)"$', re.MULTILINE)
_CMDLINE = re.compile(rb"^(-?\d{1,10}) ([\s\S]{0,15}?(?=\n-?\d{1,10} |\n?\Z)|.*$)", re.MULTILINE)
"""A name has up to TASK_COMM_LEN - 1 bytes, and newlines may be among them."""
_EPROBE = re.compile(rb"^e:([^/\s]+)/(\S+) ([^.\s]+\.\S+)", re.MULTILINE)
_ESCAPE = re.compile(r'\\([nt"])')
_ESCAPED = {"n": "\n", "t": "\t", '"': '"'}


@dataclass(slots=True)
class Tracefs:
    """What a copy of tracefs says of the kernel that wrote the region."""

    path: str
    formats: FormatTexts
    """Event formats by id, each parsed when it is asked for."""
    printk_formats: dict[int, str] = field(default_factory=dict)
    """Strings by last-boot kernel address: trace_printk formats and tracepoint strings."""
    saved_cmdlines: dict[int, str] = field(default_factory=dict)
    """Task name by pid, as the kernel knew them when the copy was made."""
    eprobes: dict[tuple[str, str], str] = field(default_factory=dict)
    """``system.event`` that an event probe, by its (system, name), is attached to; only dynamic_events tells it."""
    clock: str | None = None
    """The trace clock of the instance (of the top level where there is no instance)."""
    header_page: HeaderPage | None = None
    header_event: dict[str, int] | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def long_size(self) -> Literal[4, 8] | None:
        """Bytes of an ``unsigned long`` as header_page tells; None without that file."""
        return self.header_page.long_size if self.header_page else None

    def misfit(self, abi: Abi) -> str:
        """Why it is not of a kernel of that word size; empty when it may be."""
        if self.long_size in (None, abi.long_size):
            return ""
        return f"is of a {8 * self.long_size}-bit kernel, and the region is {abi}"


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def parse_printk_formats(raw: bytes) -> dict[int, str]:
    """Strings by address. t_show() of trace_printk.c escapes newline, tab and the double quote, not the backslash."""
    return {
        int(addr, 16): _ESCAPE.sub(lambda m: _ESCAPED[m[1]], _decode(text)) if b"\\" in text else _decode(text)
        for addr, text in _PRINTK_LINE.findall(raw)
    }


def parse_saved_cmdlines(raw: bytes) -> dict[int, str]:
    """Task names by pid; a name may hold blanks and newlines."""
    return {int(pid): _decode(comm) for pid, comm in _CMDLINE.findall(raw)}


def parse_eprobes(raw: bytes) -> dict[tuple[str, str], str]:
    """What each event probe of a ``dynamic_events`` file is attached to: ``e:GROUP/NAME SYSTEM.EVENT ...``."""
    return {(_decode(system), _decode(name)): _decode(event) for system, name, event in _EPROBE.findall(raw)}


def parse_clock(raw: bytes) -> str | None:
    """The name in brackets of a ``trace_clock`` file: ``[local] global counter``."""
    match = re.search(rb"\[([\w-]{1,32})\]", raw[:4096])
    return _decode(match[1]) if match else None


def _note(severity: Severity, code: str, message: str) -> Finding:
    return Finding(severity, code, message)


def _roots(tree: Tree) -> Counter[str]:
    """How many format files lie under each ``.../events/``; a bare events folder counts under ``<path>/.``."""
    roots: Counter[str] = Counter()
    for name in tree:
        if name.endswith("/format"):
            parts = name.rsplit("/", 3)
            if len(parts) >= 3:
                base = parts[0] if len(parts) == 4 else ""
                bare = base != "events" and not base.endswith("/events")
                roots[(base + "/." if base else ".") if bare else base] += 1
    return roots


def _choose_root(tree: Tree, findings: list[Finding]) -> str:
    """The folder that holds the systems: ``<root>/events``, or ``<path>/.`` for a bare one."""
    roots = _roots(tree)
    if not roots:
        sides = sorted((name for name in tree if name.rsplit("/", 1)[-1] in _SIDE_FILES), key=lambda n: n.count("/"))
        if not sides:
            raise NotASourceError(
                f"{tree.path}: holds no event formats (events/*/*/format) and nothing else of tracefs"
            )
        findings.append(_note(Severity.WARNING, "tracefs-no-formats", f"{tree.path}: holds no events/*/*/format"))
        return sides[0].rpartition("/")[0] + "/events" if "/" in sides[0] else "events"

    def rank(root: str) -> tuple[bool, bool, int, int]:
        return root.endswith("."), "instances/" in root, -roots[root], root.count("/")

    chosen, *others = sorted(roots, key=rank)
    below = chosen.removesuffix("events") + "instances/"
    foreign = [other for other in others if not other.startswith(below)]
    if foreign:
        text = f"{tree.path}: holds several copies of tracefs; {chosen} is used, {', '.join(sorted(foreign)[:4])} not"
        findings.append(_note(Severity.INFO, "tracefs-several", text))
    return chosen


def _load_formats(tree: Tree, root: str, long_size: int, findings: list[Finding]) -> FormatTexts:
    formats = FormatTexts(tree.path, long_size)
    prefix = "" if root == "." else root.removesuffix("/.") + "/"
    empty = broken = 0
    last = ""
    for path in tree:
        if not path.endswith("/format") or not path.startswith(prefix) or path.count("/", len(prefix)) != 2:
            continue
        text = tree.read(path)
        if text is None:
            continue
        system, name, _ = path[len(prefix) :].split("/")
        if not text:
            empty += 1
        elif not formats.add(system, name, text):
            broken, last = broken + 1, f"{system}:{name}"
    if empty and not formats:
        raise SourceError(
            f"{tree.path}: all {empty} format files are empty, since files of tracefs say that their size is 0; in "
            "/sys/kernel/tracing do `cp --parents events/header_* events/*/*/format printk_formats saved_cmdlines DIR`"
            ", and archive DIR"
        )
    if empty:
        findings.append(_note(Severity.WARNING, "tracefs-empty-format", f"{tree.path}: {empty} format files are empty"))
    if broken:
        text_ = f"{tree.path}: {broken} format files have no `ID:` line of their own, {last} among them"
        findings.append(_note(Severity.WARNING, "tracefs-broken-format", text_))
    return formats


def _load_clock(tree: Tree, top: str, findings: list[Finding]) -> str | None:
    """The clock of the instances where they agree: the persistent buffer is one of them. Else of the top level."""
    own = tree.read(f"{top}trace_clock")
    clock = parse_clock(own) if own else None
    pattern = re.compile(re.escape(top) + r"instances/[^/]+/trace_clock")
    names = [name for name in tree if name.endswith("/trace_clock") and pattern.fullmatch(name)]
    clocks = {parse_clock(raw) for name in names if (raw := tree.read(name))} - {None}
    if len(clocks) == 1:
        return clocks.pop()
    if clocks:
        listed = ", ".join(sorted(map(str, clocks)))
        text = (
            f"{tree.path}: the instances have different trace clocks ({listed}); unless the region stores its own, "
            f"{clock} of the top level is taken (--clock says another)"
        )
        findings.append(_note(Severity.WARNING, "tracefs-several-clocks", text))
    return clock


def load_tracefs(path: str, *, long_size: int | None = None) -> Tracefs:
    """A copy of tracefs: a folder, or a tar archive, plain or compressed.

    ``long_size`` is that of the region; without it the copy's own header_page tells. SourceError when ``path`` is
    neither, or holds nothing of tracefs.
    """
    tree = load_tree(path)
    findings = tree.findings
    root = _choose_root(tree, findings)
    inside = "" if root == "." else root.removesuffix("/.") + "/"
    top = inside if root.endswith(".") else root.removesuffix("events")
    page: HeaderPage | None = None
    event: dict[str, int] | None = None
    try:
        if raw := tree.read(f"{inside}header_page"):
            page = parse_header_page(_decode(raw), f"{path}: header_page")
        if raw := tree.read(f"{inside}header_event"):
            event = parse_header_event(_decode(raw), f"{path}: header_event")
    except FormatError as error:
        findings.append(_note(Severity.WARNING, "tracefs-broken-header", str(error)))
    formats = _load_formats(tree, root, long_size or (page.long_size if page else 8), findings)
    tracefs = Tracefs(
        path,
        formats,
        parse_printk_formats(tree.read(f"{top}printk_formats") or b""),
        parse_saved_cmdlines(tree.read(f"{top}saved_cmdlines") or b""),
        parse_eprobes(tree.read(f"{top}dynamic_events") or b""),
        _load_clock(tree, top, findings),
        page,
        event,
        findings,
    )
    if not (formats or tracefs.printk_formats or tracefs.saved_cmdlines or tracefs.clock):
        raise NotASourceError(
            f"{path}: none of its files named `format` is an event format, and nothing else is of tracefs"
        )
    if tree.unreadable:
        text = f"{path}: of its files and folders {tree.unreadable}"
        findings.append(_note(Severity.WARNING, "tracefs-unreadable", text))
    return tracefs
