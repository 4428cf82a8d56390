# SPDX-License-Identifier: Apache-2.0
"""The files of a tracefs copy by path, whether it is a folder or a tar archive; nothing is extracted to disk.

Tar headers are read by hand (POSIX ustar and pax, GNU long names, the old form without magic): of thousands of small
members only a few are looked into. Sizes in headers are checked against the archive, paths are only compared.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rbdump.errors import NotASourceError, SourceError
from rbdump.findings import Finding, Severity
from rbdump.inputs import describe, load_source

__all__ = ["Tree", "load_tree"]

_BLOCK = 512
_MAX_FILES = 200_000
_MAX_LINKS = 40
"""That are followed one after the other; the kernel gives up there as well (MAXSYMLINKS)."""
_MAX_FILE = 64 << 20
_MAX_ARCHIVE = 1 << 30
_PAX_RECORD = re.compile(rb"(\d{1,9}) ([^=\n]{1,64})=")
# Reading these of a mounted tracefs blocks, or is endless; none is needed.
_PRUNED = frozenset({"per_cpu", "rv", "trace_stat"})


@dataclass(slots=True)
class Tree:
    """Files by path, with ``/`` between the parts and no leading ``./``; read only when asked for."""

    path: str
    findings: list[Finding]
    _readers: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    _refused: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __contains__(self, name: str) -> bool:
        return name in self._readers

    @property
    def unreadable(self) -> str:
        """Which files and folders could not be read so far: how many, and the first of them; empty when all could."""
        return f"{len(self._refused)} could not be read, first {self._refused[0]}" if self._refused else ""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None when it is not there or cannot be read (`unreadable` tells)."""
        reader = self._readers.get(name)
        if reader is None:
            return None
        try:
            data = reader()
            # who copies a file through Windows adds carriage returns; a task name may hold one of its own
            windows = b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n")
            return data.replace(b"\r\n", b"\n") if windows else data
        except OSError as error:
            self._refused.append(f"{name}: {error.strerror}")
            return None


def _file_reader(path: str) -> Callable[[], bytes]:
    def read() -> bytes:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe may keep its reader waiting, a device may have no end
            raise OSError(errno.EINVAL, "is no regular file")
        with open(path, "rb") as file:
            return file.read(_MAX_FILE)

    return read


def _folder(path: str) -> Tree:
    tree = Tree(path, [])

    def refused(error: OSError) -> None:
        if error.filename == path:
            raise SourceError(f"{path}: cannot be read: {error.strerror}")
        tree._refused.append(f"{os.path.relpath(error.filename, path)}: {error.strerror}")

    for folder, folders, files in os.walk(path, onerror=refused):
        relative = os.path.relpath(folder, path).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        folders[:] = sorted(name for name in folders if name not in _PRUNED)
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                tree._refused.append(f"{prefix}{name}: is a link to a folder, and is not followed")
        for name in sorted(files):
            tree._readers[prefix + name] = _file_reader(os.path.join(folder, name))
        if len(tree._readers) > _MAX_FILES:
            raise SourceError(f"{path}: holds more than {_MAX_FILES} files; name the folder that `events/` lies in")
    if tree._refused and not tree._readers:
        raise SourceError(f"{path}: nothing in it can be read: {tree._refused[0]}")
    return tree


def _number(raw: bytes) -> int:
    """A number of a tar header: octal digits, or base 256 when the top bit is set. -1 when it is neither."""
    if raw[0] & 0x80:
        return int.from_bytes(raw[1:], "big") if raw[0] == 0x80 else -1
    digits = raw.strip(b" \0")
    if not digits:
        return 0
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,22}", digits) else -1


def _is_header(block: bytes) -> bool:
    return len(block) == _BLOCK and _number(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * 32


def _pax(data: bytes) -> dict[bytes, bytes]:
    """The records ``LENGTH KEY=VALUE\\n`` of a pax header."""
    found: dict[bytes, bytes] = {}
    position = 0
    while match := _PAX_RECORD.match(data, position):
        end = position + int(match[1])
        if end <= match.end() or end > len(data):
            break
        found[match[2]] = data[match.end() : end - 1]
        position = end
    return found


def _text(raw: bytes) -> str:
    parts = raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _slice_reader(data: memoryview, begin: int, end: int) -> Callable[[], bytes]:
    return lambda: bytes(data[begin:end])


def _follow(name: str, links: dict[str, str], readers: dict[str, Callable[[], bytes]]) -> Callable[[], bytes]:
    """The reader of what a symbolic link of an archive leads to; one that refuses where that is not in the archive."""
    target = name
    for _ in range(_MAX_LINKS):
        if target not in links:
            break
        target = posixpath.normpath(posixpath.join(posixpath.dirname(target), links[target]))
    if target in readers:
        return readers[target]

    def refuse() -> bytes:
        raise OSError(errno.ENOENT, f"is a link to {links[name]}, which is no file of the archive")

    return refuse


def _tar(path: str, data: memoryview, findings: list[Finding]) -> Tree:
    tree = Tree(path, findings)
    position = members = 0
    override: dict[bytes, bytes] = {}
    links: dict[str, str] = {}
    problem = "is where the archive ends, without the mark of its end"
    while position + _BLOCK <= len(data):
        block = bytes(data[position : position + _BLOCK])
        if not block.strip(b"\0"):
            problem = ""
            break
        begin = position + _BLOCK
        if not _is_header(block):
            problem = "is no tar header"
            break
        size = _number(block[124:136])
        if (digits := override.get(b"size")) is not None:
            size = int(digits) if re.fullmatch(rb"\d{1,18}", digits) else -1
        kind = block[156:157]
        if kind in b"1256" and kind:
            size = 0
        if size < 0 or begin + size > len(data):
            problem = "begins a member that ends outside the archive"
            break
        members += 1
        if members > _MAX_FILES:
            problem = f"lies behind {_MAX_FILES} members, and no more are read"
            break
        position = begin + -(-size // _BLOCK) * _BLOCK
        if kind == b"x" and size <= _MAX_FILE:
            override.update(_pax(bytes(data[begin : begin + size])))
            continue
        if kind in (b"L", b"K") and size <= _BLOCK * 16:
            override[b"path" if kind == b"L" else b"linkpath"] = bytes(data[begin : begin + size])
            continue
        if kind in (b"g", b"K", b"x", b"L"):
            continue
        prefix = block[345:500].split(b"\0", 1)[0] if block[257:262] == b"ustar" and block[262:263] != b" " else b""
        name = _text(override.get(b"path") or (prefix + b"/" if prefix else b"") + block[:100].split(b"\0", 1)[0])
        linked = (override.get(b"linkpath") or block[157:257]).split(b"\0", 1)[0]
        override = {}
        if kind in (b"0", b"\0", b"7") and size <= _MAX_FILE:
            tree._readers[name] = _slice_reader(data, begin, begin + size)
        elif kind == b"1" and _text(linked) in tree._readers:
            tree._readers[name] = tree._readers[_text(linked)]
        elif kind == b"2":
            links[name] = linked.decode("utf-8", "surrogateescape")
    tree._readers.update({name: _follow(name, links, tree._readers) for name in links})
    if problem:
        text = (
            f"{path}: the tar block at offset {position:#x} {problem}; {len(tree._readers)} files were found before it"
        )
        findings.append(Finding(Severity.WARNING, "tracefs-archive-damaged", text))
    return tree


def load_tree(path: str) -> Tree:
    """The files of a folder or a tar archive (plain, .gz, .xz, .zst). SourceError when it is neither."""
    if path != "-" and os.path.isdir(path):
        return _folder(path)
    source = load_source(path, limit=_MAX_ARCHIVE)
    findings = [Finding(f.severity, f.code, f"{path}: {f.message}") for f in source.findings]
    if not _is_header(source.data[:_BLOCK].tobytes()):
        raise NotASourceError(
            f"{path}: a copy of tracefs is a folder or a tar archive, and this looks like {describe(source.data)}"
        )
    return _tar(path, source.data.data, findings)
