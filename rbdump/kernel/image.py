# SPDX-License-Identifier: Apache-2.0
"""A kernel image: whatever file people have in /boot, as symbols, memory by link address, and BTF.

All addresses are link-time addresses: what the image was built for, before KASLR. What was derived from an image is
kept in a cache by the hash of the file, so that a second run need not even decompress it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rbdump.abi import Abi
from rbdump.errors import NotASourceError, SourceError
from rbdump.inputs import map_source
from rbdump.kernel.cache import ImageCache
from rbdump.kernel.files.containers import Payload, unpack
from rbdump.kernel.files.elf import Vmlinux, open_vmlinux
from rbdump.kernel.memory import ImageMemory, Segment, find_bytes
from rbdump.kernel.placement import addresses, place_raw, relocate_raw
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.kernel.symtabs.kallsyms import Encoding, decode_names, find_tables
from rbdump.kernel.symtabs.symtab import symtab_symbols

__all__ = ["KernelImage", "load_image"]

Octets = npt.NDArray[np.uint8]

_RELEASE = re.compile(r"Linux version (\S+)")
_BTF_MAGIC = {"little": b"\x9f\xeb\x01\x00", "big": b"\xeb\x9f\x01\x00"}
_FACTS = {"byteorder", "long_size", "machine", "release", "text_base", "has_symtab", "base"}
_BIG_ENDIAN = ("s390x",)
_NARROW = ("arm", "i386")


class KernelImage:
    """One kernel image. Everything that needs its contents is read when it is asked for."""

    def __init__(self, path: str, raw: Octets, cache: ImageCache) -> None:
        self.path = path
        self.cache = cache
        """For what else is derived from this image: ``load(name)`` and ``store(name, bytes)``."""
        self._raw: Octets | None = raw
        self._vmlinux: Vmlinux | None = None
        self._memory: ImageMemory | None = None
        self._btf: bytes | None = None
        self._btf_known = False
        self._facts: dict[str, Any] = {}
        self._symbols: SymbolData
        if not self._restore():
            self._open()
            self._save()

    @property
    def abi(self) -> Abi:
        """Byte order and word size."""
        return Abi(self._facts["byteorder"], self._facts["long_size"])

    @property
    def machine(self) -> str:
        """``x86-64``, ``aarch64``, ``s390x``, ``arm``, ``ppc64le``, ``i386``, ``riscv``, ...; ``unknown``."""
        return str(self._facts["machine"])

    @property
    def release(self) -> str | None:
        """``6.12.43+deb12-cloud-amd64``, from linux_banner; None when the image has none."""
        release = self._facts["release"]
        return None if release is None else str(release)

    @property
    def text_base(self) -> int:
        """Link address of ``_text`` (of ``_stext`` where nothing tells it)."""
        return int(self._facts["text_base"])

    @property
    def symbols(self) -> SymbolData:
        """The symbols that the kernel itself would print: its kallsyms tables; .symtab where it has none."""
        return self._symbols

    @property
    def vmlinux(self) -> Vmlinux | None:
        """The ELF file inside, with its sections (.symtab, DWARF); None for a raw image."""
        self._contents()
        return self._vmlinux

    def addr(self, name: str) -> int | None:
        """The link address of a symbol; None when the image does not name it. .symtab is asked last."""
        addr = self._symbols.addr(name)
        if addr is None and self._facts["has_symtab"] and self._symbols.origin != "symtab":
            addr = self._symtab.addr(name) if self._symtab is not None else None
        return addr

    @cached_property
    def _symtab(self) -> SymbolData | None:
        return symtab_symbols(self.vmlinux) if self.vmlinux is not None else None

    def read(self, addr: int, size: int) -> bytes:
        """Up to ``size`` bytes at a link address; fewer, or none, where the image ends."""
        return self._contents().read(addr, size)

    def cstring(self, addr: int) -> str | None:
        """The NUL-terminated string at a link address; None when there is none."""
        return self._contents().cstring(addr)

    def array(self, addr: int, count: int, size: int) -> npt.NDArray[Any]:
        """``count`` unsigned integers of ``size`` bytes in native order; fewer where the image ends."""
        return self._contents().array(addr, count, size)

    @property
    def btf(self) -> bytes | None:
        """The raw .BTF blob; None when the image has none."""
        if not self._btf_known:
            self._btf = self._find_btf()
            self._btf_known = True
        return self._btf

    def _contents(self) -> ImageMemory:
        if self._memory is None:
            self._open()
        assert self._memory is not None
        return self._memory

    def _open(self) -> None:
        """Unwrap the file; learn the symbols too unless the cache had them."""
        assert self._raw is not None
        payload = unpack(self._raw, self.path)
        if payload.is_elf:
            vmlinux = open_vmlinux(payload.data, self.path)
            self._vmlinux = vmlinux
            self._memory = ImageMemory(vmlinux.segments, vmlinux.abi)
            machine = vmlinux.machine
            symbols = _embedded_symbols(vmlinux.segments, (vmlinux.abi,)) if not self._facts else None
        elif self._facts:
            segment = relocate_raw(payload.data, self._facts["base"], self.abi, self.machine)
            self._memory = ImageMemory([segment], self.abi)
        else:
            machine, segment, symbols = _open_raw(payload, self.path)
            self._memory = ImageMemory([segment], symbols[1])
        if self._facts:
            return
        self._learn(payload, machine, symbols[0] if symbols else None)

    def _learn(self, payload: Payload, machine: str, symbols: SymbolData | None) -> None:
        assert self._memory is not None
        has_symtab = self._vmlinux is not None and self._vmlinux.section(".symtab") is not None
        if symbols is None:
            symbols = self._symtab
        if symbols is None:
            raise SourceError(
                f"{self.path}: has no symbols: neither .symtab nor kallsyms tables were found; give the vmlinux of "
                "the same build, its debug package, or System.map or /proc/kallsyms (--kallsyms)"
            )
        text = self._text_addr(symbols)
        if text is None:
            raise NotASourceError(
                f"{self.path}: is no kernel: its symbols have neither _text nor _stext; give vmlinux or the file "
                "from /boot"
            )
        self._symbols = symbols
        self._facts = {
            "byteorder": self._memory.abi.byteorder,
            "long_size": self._memory.abi.long_size,
            "machine": machine,
            "release": self._find_release(payload.data),
            "text_base": text,
            "has_symtab": has_symtab,
            "base": self._memory.segments[0].addr if self._memory.segments else 0,
        }

    def _text_addr(self, symbols: SymbolData) -> int | None:
        """_text begins a raw image. Without CONFIG_KALLSYMS_ALL the kernel's own tables may leave it out."""
        text = symbols.addr("_text")
        if text is None and self._symtab is not None and symbols.origin != "symtab":
            text = self._symtab.addr("_text")
        elif text is None and self._vmlinux is None and self._memory is not None and symbols.addr("_stext") is not None:
            text = self._memory.segments[0].addr
        return symbols.addr("_stext") if text is None else text

    def _find_release(self, data: Octets) -> str | None:
        assert self._memory is not None
        banner = self._symbols.addr("linux_banner")
        text = self._memory.cstring(banner) if banner is not None else None
        match = _RELEASE.match(text or "")
        if match is None:
            at = find_bytes(data, b"Linux version ")
            match = _RELEASE.match(data[at : at + 256].tobytes().decode("ascii", "replace")) if at >= 0 else None
        return match[1] if match else None

    def _find_btf(self) -> bytes | None:
        memory = self._contents()
        if self._vmlinux is not None and (section := self._vmlinux.section(".BTF")) is not None:
            return self._vmlinux.contents(section).tobytes()
        start, stop = self.addr("__start_BTF"), self.addr("__stop_BTF")
        if start is not None and stop is not None and 24 < stop - start < 1 << 28:
            blob = memory.read(start, stop - start)
            if blob.startswith(_BTF_MAGIC[self.abi.byteorder]):
                return blob
        for segment in memory.segments:
            found = _scan_for_btf(segment.data, self.abi)
            if found is not None:
                return found
        return None

    def _restore(self) -> bool:
        facts, columns = self.cache.load("facts.json"), self.cache.load("symbols.npz")
        if facts is None or columns is None:
            return False
        try:
            loaded = np.load(io.BytesIO(columns), allow_pickle=False)
            absolute = loaded["absolute"]
            self._symbols = SymbolData(
                loaded["addrs"],
                Names(loaded["blob"].tobytes(), loaded["starts"], loaded["ends"]),
                loaded["types"],
                str(loaded["origin"]),
                absolute if len(absolute) else None,
            )
            known = json.loads(facts)
        except (ValueError, KeyError, OSError, EOFError):
            return False
        if not isinstance(known, dict) or known.keys() != _FACTS:
            return False
        self._facts = known
        return True

    def _save(self) -> None:
        symbols = self._symbols
        buffer = io.BytesIO()
        np.savez(
            buffer,
            addrs=symbols.addrs,
            blob=np.frombuffer(symbols.names.blob, np.uint8),
            starts=symbols.names.starts,
            ends=symbols.names.ends,
            types=symbols.types,
            origin=np.array(symbols.origin),
            absolute=np.empty(0, np.bool_) if symbols.absolute is None else symbols.absolute,
        )
        self.cache.store("symbols.npz", buffer.getvalue())
        self.cache.store("facts.json", json.dumps(self._facts).encode())


def load_image(path: str, *, cache: bool = True) -> KernelImage:
    """Open any kernel image: vmlinux, vmlinuz, bzImage, zImage, Image, each of them compressed or not.

    SourceError, one sentence, when the file is no kernel, is cut off, or has no symbols.
    """
    raw = map_source(path)
    digest = hashlib.sha256(raw.data).hexdigest()
    return KernelImage(path, raw, ImageCache(digest, enabled=cache))


def _embedded_symbols(segments: tuple[Segment, ...], abis: tuple[Abi, ...]) -> tuple[SymbolData, Abi] | None:
    for segment in segments:
        tables = find_tables(segment.data, abis)
        if tables is None:
            continue
        decoded = decode_names(segment.data, tables)
        if decoded is None:
            continue
        names, types = decoded
        return _symbol_data(addresses(tables, segment.data, segment.addr), names, types, tables.encoding), tables.abi
    return None


def _symbol_data(
    addrs: npt.NDArray[np.uint64], names: Names, types: npt.NDArray[np.uint8], encoding: Encoding
) -> SymbolData:
    absolute = None
    zero_based = encoding is Encoding.POINTERS and int(addrs[-1]) >= 1 << 63 and int(addrs[0]) < 1 << 31
    if zero_based or encoding is Encoding.ABSOLUTE_PERCPU:
        absolute = addrs < np.uint64(1 << 31)
    return SymbolData(addrs, names, types, "kallsyms", absolute)


def _open_raw(payload: Payload, path: str) -> tuple[str, Segment, tuple[SymbolData, Abi]]:
    """Machine, placed contents and symbols of an image that is not ELF."""
    machine = payload.machine or "unknown"
    order = ("big", "little") if machine in _BIG_ENDIAN else ("little", "big")
    sizes = (4, 8) if machine in _NARROW else (8, 4)
    abis = tuple(Abi(byteorder, size) for byteorder in order for size in sizes)  # type: ignore[arg-type]
    tables = find_tables(payload.data, abis)
    decoded = decode_names(payload.data, tables) if tables is not None else None
    if tables is None or decoded is None:
        raise SourceError(
            f"{path}: is a kernel without section headers and without kallsyms tables (CONFIG_KALLSYMS is off, or "
            "they are damaged); give the vmlinux of the same build or its debug package"
        )
    names, types = decoded
    base = place_raw(payload.data, tables, names, machine)
    if base is None:
        raise SourceError(
            f"{path}: cannot tell at which address this raw image is linked; give the vmlinux of the same build"
        )
    segment = relocate_raw(payload.data, base, tables.abi, machine)
    addrs = addresses(tables, segment.data, base)
    return machine, segment, (_symbol_data(addrs, names, types, tables.encoding), tables.abi)


def _scan_for_btf(data: Octets, abi: Abi) -> bytes | None:
    """A BTF blob by its header: magic, version, flags, hdr_len and four counts that add up."""
    magic = _BTF_MAGIC[abi.byteorder]
    begin = find_bytes(data, magic)
    while begin >= 0:
        head = data[begin : begin + 24]
        if len(head) == 24:
            size, types_at, types, strings_at, strings = (int(v) for v in head[4:].view(abi.dtype(4)))
            total = size + strings_at + strings
            if size >= 24 and types_at == 0 and strings_at >= types > 0 and strings and begin + total <= len(data):
                return data[begin : begin + total].tobytes()
        begin = find_bytes(data, magic, begin + 4)
    return None
