# SPDX-License-Identifier: Apache-2.0
"""Event formats of an image as a folder of files, and which of many sources fits a region best."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rbdump.abi import Abi
from rbdump.errors import NotASourceError, OutputError, RbdumpError, SourceError, UsageError, printable
from rbdump.events.catalog import Catalog
from rbdump.events.entries import Entries
from rbdump.events.rows import Memory
from rbdump.events.score import FormatFit, score_formats
from rbdump.events.texts import FormatTexts
from rbdump.events.tracefs import load_tracefs
from rbdump.findings import Finding, Severity, first_of
from rbdump.kernel.events.formats import ImageEvent, image_formats
from rbdump.kernel.image import load_image
from rbdump.ring import Region
from rbdump.symbols.code import CodeMap
from rbdump.symbols.delta import BootAddresses
from rbdump.symbols.verify import AddressCheck, Verdict, fit_image
from rbdump.symbols.words import kernel_words

__all__ = ["Candidate", "candidate_paths", "rank", "write_formats"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,126}")
_MAX_CANDIDATES = 2000
_NAMED = 3
_NOT_IMAGES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz", ".deb", ".rpm", ".txt", ".json", ".config", ".img")
_GOOD_SCORE = 0.95
_HEADER_EVENT = """\
# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One source of formats, held against a region."""

    path: str
    fit: FormatFit
    check: AddressCheck | None
    """How the code addresses land; None for a source that has no code, and for an image that cannot be placed."""
    refusal: str = ""
    """Why the image is another kernel's; empty when nothing says so."""

    @property
    def verdict(self) -> Verdict:
        """Both tests together."""
        if self.refusal or self.fit.known_score < _GOOD_SCORE:
            return Verdict.WRONG
        if self.check is not None and self.check.verdict is Verdict.RIGHT:
            return Verdict.RIGHT
        return Verdict.OPEN if self.check is not None or not self.fit.records else Verdict.RIGHT

    @property
    def key(self) -> tuple[int, float, float, float]:
        """Sorts the best to the front."""
        order = (Verdict.RIGHT, Verdict.OPEN, Verdict.WRONG).index(self.verdict)
        share = self.check.tally.share if self.check is not None else 0.0
        return order, -self.fit.score, -self.fit.known_score, -share

    def __str__(self) -> str:
        tally = self.check.tally if self.check is not None else None
        addresses = f"{tally.explained}/{tally.total}" if tally is not None else "-"
        return f"{self.verdict:<7} {self.fit.score:7.3f} {addresses:>11}  {printable(self.path)}"


def write_formats(folder: str, events: Iterable[ImageEvent], abi: Abi, page_size: int) -> tuple[int, list[Finding]]:
    """Write ``FOLDER/events/SYSTEM/NAME/{format,id}`` with header_page and header_event, as tracefs has them.

    Returns the number of events. UsageError when the folder exists and is not empty or has no name, OutputError when
    it cannot be written. Names that are no plain file names (a damaged image) are left out, with a finding.
    """
    if not folder:
        raise UsageError("the folder to write formats to has no name")
    top = Path(folder)
    root = top / "events"
    findings: list[Finding] = []
    count = 0
    try:
        if top.exists() and (not top.is_dir() or any(top.iterdir())):
            raise UsageError(f"{folder}: exists already and is not an empty folder; nothing was written")
        root.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot write formats to {folder}: {error.strerror}; nothing was written") from error
    try:
        (root / "header_page").write_text(_header_page(abi, page_size), encoding="utf-8")
        (root / "header_event").write_text(_HEADER_EVENT, encoding="utf-8")
        for event in events:
            if not (_NAME.fullmatch(event.system) and _NAME.fullmatch(event.name)):
                message = f"an event named {event.system!r}:{event.name!r} was left out"
                findings.append(Finding(Severity.WARNING, "event-name", message))
                continue
            place = root / event.system / event.name
            place.mkdir(parents=True, exist_ok=True)
            (place / "format").write_bytes(event.text.encode("utf-8", "surrogateescape"))
            (place / "id").write_text(f"{event.id}\n", encoding="utf-8")
            count += 1
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or folder}: {error.strerror}; it is incomplete") from error
    return count, findings


def _header_page(abi: Abi, page_size: int) -> str:
    word = abi.long_size
    rows = (
        ("u64 timestamp", 0, 8, 0),
        ("local_t commit", 8, word, 1),
        ("int overwrite", 8, 1, 1),
        ("char data", 8 + word, page_size - 8 - word, 0),  # char is unsigned since Linux 6.2
    )
    return "".join(
        f"\tfield: {what};\toffset:{at};\tsize:{size};\tsigned:{signed};\n" for what, at, size, signed in rows
    )


def candidate_paths(folder: str, findings: list[Finding]) -> Iterator[str]:
    """Everything below ``folder`` that may be a kernel image or a copy of tracefs; what is not looked into is said.

    SourceError if it is no folder, or cannot be listed.
    """

    def refused(error: OSError) -> None:
        if error.filename != folder:
            findings.append(_unreadable(f"{error.filename}: cannot be read: {error.strerror}"))
            return
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise SourceError(f"{folder}: is no folder; --best-of takes one of kernel images and copies of tracefs")
        raise SourceError(f"{folder}: cannot be read: {error.strerror}")

    links: list[str] = []
    for where, folders, files in os.walk(folder, onerror=refused):
        if "events" in folders:
            yield where
            folders[:] = []
            continue
        folders.sort()
        links += [path for name in folders if os.path.islink(path := os.path.join(where, name))]
        paths = (os.path.join(where, name) for name in sorted(files) if not name.endswith(_NOT_IMAGES))
        yield from filter(os.path.isfile, paths)  # a pipe may keep its reader waiting, a device may have no end
    if links:
        message = f"links to folders are not followed: {first_of(links, _NAMED)}; give --best-of the folder itself"
        findings.append(Finding(Severity.WARNING, "folder-links", message))


def _unreadable(message: str) -> Finding:
    return Finding(Severity.WARNING, "source-unreadable", message)


def rank(
    folder: str, region: Region, entries: Entries, memory: Memory, *, cache: bool = True
) -> tuple[list[Candidate], list[Finding]]:
    """All sources below ``folder``, best first; which files are none, and which cannot be read, are findings."""
    words, counts = kernel_words(region.data, region.abi, entries.records)
    boot = BootAddresses.of_region(region)
    found: list[Candidate] = []
    others: list[str] = []
    findings: list[Finding] = []
    for count, path in enumerate(candidate_paths(folder, findings)):
        if count >= _MAX_CANDIDATES:
            message = f"more than {_MAX_CANDIDATES} files lie below {folder}: those from {path} on are not looked at"
            findings.append(Finding(Severity.WARNING, "too-many-files", message))
            break
        try:
            texts, code, refusal = _open(path, region.abi, cache, findings)
        except NotASourceError:
            others.append(path)
            continue
        except RbdumpError as error:
            findings.append(_unreadable(str(error) if str(error).startswith(path) else f"{path}: {error}"))
            continue
        fit = score_formats(Catalog([texts]).get, entries, memory, origin=path)
        if code is None:
            found.append(Candidate(path, fit, None, refusal))
            continue
        placed = fit_image(code, boot, words, counts, name=path, force=True)
        refusals = [finding.message for finding in placed.findings if finding.code == "wrong-image"]
        found.append(Candidate(path, fit, placed.check, refusals[0] if refusals else ""))
    if others:
        named = first_of(others, _NAMED)
        message = f"{len(others)} files below {folder} are neither kernel images nor copies of tracefs: {named}"
        findings.append(Finding(Severity.INFO, "no-format-source", message))
    return sorted(found, key=lambda candidate: candidate.key), findings


def _open(path: str, abi: Abi, cache: bool, findings: list[Finding]) -> tuple[FormatTexts, CodeMap | None, str]:
    """The events of a source, its code if it is an image, and why it is another kernel's if that is plain."""
    if os.path.isdir(path) or any(part in os.path.basename(path) for part in (".tar", ".tgz")):
        copy = load_tracefs(path)
        findings += copy.findings
        return copy.formats, None, copy.misfit(abi)
    if not os.path.getsize(path):  # some files of /proc say so, and keep their reader waiting
        raise SourceError(f"{path}: is empty")
    image = load_image(path, cache=cache)
    return FormatTexts.of_events(image_formats(image).events, path, abi.long_size), CodeMap.of_image(image), ""
