# SPDX-License-Identifier: Apache-2.0
"""`rbdump resolve`: names for the addresses in a stream of text, line by line as they come.

Where the kernel was comes from the ``# rbdump:`` lines that `rbdump parse` writes, from the ``Kernel Offset:`` line of
an oops, from the user, or from the addresses in the text themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from rbdump.analysis.child import write_all
from rbdump.analysis.placing import Placed, Placer
from rbdump.decompress import DECOMPRESSED_LIMIT
from rbdump.errors import InputError, UsageError
from rbdump.findings import Finding, Severity
from rbdump.inputs import load_input
from rbdump.render.trace import parse_origin
from rbdump.ring import ScratchModule
from rbdump.symbols.delta import BootAddresses
from rbdump.symbols.rewrite import AddressRewriter, addresses_in
from rbdump.symbols.symbolizer import Symbolizer

__all__ = ["Given", "TextResolver", "filter_text", "look_into", "parse_addr", "read_pieces", "resolve_addrs"]

_MARK = re.compile(rb"^# rbdump: [^\n]*(?:\n|\Z)", re.MULTILINE)
# dump_kernel_offset() of x86, arm64, riscv and powerpc: how far the kernel was moved, and its link address
_KERNEL_OFFSET = re.compile(rb"Kernel Offset: (?:disabled|(0x[0-9a-f]+)(?: from (0x[0-9a-f]+))?)")
_SYMBOL = re.compile(r"([A-Za-z_.$][\w.$]*)(?:\+(0x[0-9a-fA-F]+|\d+))?(?:/(?:0x[0-9a-fA-F]+|\d+))?")
_HEX = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9a-fA-F]{8,16})")
_READ = 1 << 20
_SNIFF = 4096
_SNIFF_LEAST = 16
"""Bytes among which a region or a compressed file has some that no text has."""
_MAX_LINE = 1 << 20
"""A line that is longer is passed on in pieces."""
_ENOUGH = 1 << 14
"""Distinct addresses after which an image is not verified again."""


class TextResolver:
    """Puts names in the place of addresses in a text that comes in pieces."""

    def __init__(self, placer: Placer, *, keep: bool = False, lines: bool = False) -> None:
        """``keep`` leaves each address in front of its name, ``lines`` adds ``(file:line)``."""
        self.findings: list[Finding] = []
        self._placer = placer
        self._keep = keep
        self._lines = lines
        self._rest = b""
        self._begin(BootAddresses(placer.abi))

    def feed(self, data: bytes) -> bytes:
        """The lines that ``data`` completes, with names. Raises WrongImageError as soon as the addresses show it."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        if len(data) - end > _MAX_LINE:
            end = len(data)
        self._rest = data[end:]
        return self._resolve(data[:end])

    def finish(self) -> bytes:
        """What is left behind the last newline, with names; the findings are complete then."""
        rest, self._rest = self._rest, b""
        text = self._resolve(rest)
        self._close()
        return text

    def _close(self) -> None:
        """Take the findings of one trace; that an image is not verified is worth a word only if it gave a name."""
        for finding in self._placed.findings if self._placed is not None else ():
            if self._named or finding.code != "image-not-verified":
                self.findings.append(finding)

    def _begin(self, boot: BootAddresses) -> None:
        self._boot = boot
        self._header: list[str] = []
        self._seen = np.empty(0, np.uint64)
        self._checked = 0
        self._named = False
        self._placed: Placed | None = None
        self._rewriter: AddressRewriter | None = None

    def _resolve(self, text: bytes) -> bytes:
        if b"# rbdump: " not in text:
            return self._rewrite(text)
        out: list[bytes] = []
        at = 0
        for mark in _MARK.finditer(text):
            out += (self._rewrite(text[at : mark.start()]), mark[0])
            self._read_mark(mark[0].decode("utf-8", "replace"))
            at = mark.end()
        out.append(self._rewrite(text[at:]))
        return b"".join(out)

    def _read_mark(self, line: str) -> None:
        header = [*self._header, line]
        if " layout=" in line:  # another trace begins
            self._close()
            header = [line]
        origin = parse_origin(header)
        if origin is None:
            return
        modules = tuple(ScratchModule(name, addr) for name, addr in origin.modules)
        self._begin(
            BootAddresses(origin.abi, origin.layout, origin.text_addr, origin.data_addr, origin.kaslr_offset, modules)
        )
        self._header = header

    def _rewrite(self, text: bytes) -> bytes:
        if self._placed is None or not self._placed.settled:
            self._place(text)
        if self._rewriter is None:
            return text
        rewritten = self._rewriter.rewrite(text)
        self._named |= rewritten is not text
        return rewritten

    def _place(self, text: bytes) -> None:
        """Place the symbols, or verify them again, once there are twice as many addresses as the last time."""
        addrs = addresses_in(text, self._boot.abi)
        if not len(addrs) or len(self._seen) > _ENOUGH:
            return
        if not self._boot.layout and self._boot.kaslr_offset is None:
            offset = _KERNEL_OFFSET.search(text)
            if offset is not None:
                moved, link_addr = (int(word, 16) if word else None for word in offset.groups())
                self._boot = BootAddresses(self._boot.abi, kaslr_offset=moved or 0, link_addr=link_addr)
                self._checked = 0
        self._seen = np.union1d(self._seen, addrs)
        if len(self._seen) < 2 * self._checked:
            return
        self._checked = len(self._seen)
        self._placed = self._placer.place(self._boot, self._seen)
        if self._placed.table is not None:
            line_of = self._placed.line_of if self._lines else None
            self._rewriter = AddressRewriter(self._placed.table, self._boot.abi, keep=self._keep, line_of=line_of)


def filter_text(resolver: TextResolver, pieces: Iterable[bytes], sink: int) -> None:
    """Write the lines of a text to a file descriptor as they come, with names."""
    for data in pieces:
        text = resolver.feed(data)
        if text:
            write_all(sink, text)
    text = resolver.finish()
    if text:
        write_all(sink, text)


def read_pieces(path: str) -> Generator[bytes, None, None]:
    """The bytes of a file as they come; ``-`` is standard input. InputError when it cannot be read."""
    stdin = path == "-"
    try:
        with open(0 if stdin else path, "rb", buffering=0, closefd=not stdin) as file:
            while data := os.read(file.fileno(), _READ):
                yield data
    except OSError as error:
        raise InputError(f"{_name(path)}: cannot be read: {error.strerror}") from None


def _name(path: str) -> str:
    return "standard input" if path == "-" else path


@dataclass(frozen=True, slots=True)
class Given:
    """What a file holds: a text or a region."""

    text: Iterable[bytes] | None
    """The text in pieces; None for a region."""
    raw: npt.NDArray[np.uint8] | None = None
    """The bytes of a region that came out of a pipe, which cannot be read again."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with a compressed text."""


def look_into(path: str) -> Given:
    """Tell a text, compressed or not, from a region by its first bytes; ``-`` is standard input.

    InputError when it cannot be read.
    """
    pieces = read_pieces(path)
    head = b""
    while len(head) < _SNIFF_LEAST and (piece := next(pieces, b"")):
        head += piece
    if _is_text(head):
        return Given(chain([head], pieces))
    raw = None
    if path == "-" or not os.path.isfile(path):
        data = bytearray(head)
        for piece in pieces:
            data += piece
            if len(data) > DECOMPRESSED_LIMIT:
                message = f"gives more than {DECOMPRESSED_LIMIT} bytes; copy the part that matters into a file"
                raise InputError(f"{_name(path)}: {message}")
        raw = np.frombuffer(data, np.uint8)
        raw.flags.writeable = False
    pieces.close()
    begin = load_input(path, raw=raw, limit=_SNIFF)
    if begin.compression is None or not _is_text(begin.data.tobytes()):
        return Given(None, raw)
    source = load_input(path, raw=raw)
    text = (source.data[at : at + _READ].tobytes() for at in range(0, len(source.data), _READ))
    return Given(text, None, tuple(source.findings))


def _is_text(data: bytes) -> bool:
    return bool(data) and not any(byte < 9 or 13 < byte < 27 for byte in data[:_SNIFF])


def parse_addr(text: str) -> int | str | None:
    """An argument as an address (``0x...``, or 8 to 16 hex digits), or as a symbol (``name+0x12``); None if neither."""
    if _HEX.fullmatch(text):
        return int(text, 16)
    return text if _SYMBOL.fullmatch(text) else None


def resolve_addrs(placer: Placer, words: list[str], *, stated: bool) -> tuple[list[str], list[Finding]]:
    """``name+0x12/0x340 file:line`` of each address or ``name+0x12``, and what is wrong with them.

    ``stated``: the user said where the kernel was; without that, addresses are taken as those of the link, which a
    finding says unless the kernel cannot move. What has no name is spelled as the kernel spells it, ``0x...``.
    UsageError for a symbol that does not exist.
    """
    placed = placer.at_link_addresses()
    if placed.table is None:
        return [*words], list(placed.findings)
    symbolizer = Symbolizer(placed.table, placer.abi)
    out = []
    unknown = 0
    named = False
    for word in words:
        addr = parse_addr(word)
        numeric = isinstance(addr, int)
        if isinstance(addr, str):
            match = _SYMBOL.fullmatch(addr)
            start = placed.table.addr(match[1]) if match else None
            if match is None or start is None:
                raise UsageError(f"{word!r} is no address, no symbol of the image and no file")
            addr = start + int(match[2] or "0", 0)
        if addr is None:
            raise UsageError(f"{word!r} is no address, no symbol of the image and no file")
        found = symbolizer.lookup(addr) is not None
        unknown += not found
        named |= found and numeric
        line = placed.line_of(addr)
        out.append(f"{symbolizer.pS[addr]} {line}" if line else symbolizer.pS[addr])
    findings = [finding for finding in placed.findings if finding.severity is Severity.ERROR]
    if named and not stated and placed.table.names.of_movable_kernel:
        message = (
            "the addresses are taken as link-time addresses, as if KASLR had not moved the kernel;"
            " --text-addr says where it was"
        )
        findings.append(Finding(Severity.WARNING, "link-time-addresses", message))
    if unknown:
        message = (
            f"{unknown} of {len(words)} addresses are not in the kernel where it is taken to have been;"
            " --text-addr gives the address of _text in the boot that they are of"
        )
        findings.append(Finding(Severity.WARNING, "address-unknown", message))
    return out, findings
