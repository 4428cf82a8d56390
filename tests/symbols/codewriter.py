# SPDX-License-Identifier: Apache-2.0
"""Writes the text of a small x86-64 kernel: functions with patch sites and calls, and the symbols of all that."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

import numpy as np

from rbdump.abi import Abi
from rbdump.kernel.symboldata import Names, SymbolData
from tests.eventwriter import FakeImage
from tests.imagewriter import ALLOC, BANNER, EXEC, PROGBITS, STRTAB, SYMTAB, ElfSection, Symbol, write_elf, write_symtab

BASE = 0xFFFF_FFFF_8100_0000


@dataclass
class Kernel:
    """A text at its link address and where things are in it."""

    symbols: SymbolData
    text: bytes
    functions: list[int] = field(default_factory=list)
    patch_sites: list[int] = field(default_factory=list)
    call_sites: list[int] = field(default_factory=list)

    def recorded(self, delta: int, count: int = 30) -> np.ndarray:
        """Distinct run-time addresses as events record them, sorted."""
        picks = random.Random(7)
        chosen = [
            *picks.sample(self.functions, count),
            *picks.sample(self.patch_sites, count),
            *picks.sample(self.call_sites, count),
        ]
        return np.unique(np.array([(addr + delta) % 2**64 for addr in chosen], np.uint64))


def write_kernel(
    functions: int = 600, *, seed: int = 1, grow: tuple[int, int] = (0, 0), extra: dict[str, int] | None = None
) -> Kernel:
    """A kernel of ``functions`` functions; the same seed gives the same code.

    ``grow=(n, size)`` makes function n larger by ``size`` bytes, as another build would. ``extra`` adds symbols,
    name to offset from ``_text``.
    """
    random_ = random.Random(seed)
    text = bytearray(b"\xcc" * 16)
    kernel = Kernel(SymbolData(np.empty(0, np.uint64), Names.from_list([]), np.empty(0, np.uint8), ""), b"")
    symbols: list[tuple[int, str, str]] = [(BASE, "_text", "T"), (BASE, "_stext", "T")]
    for index in range(functions):
        start = BASE + len(text)
        symbols.append((start - 16, f"__pfx_function_{index}", "t"))
        symbols.append((start, f"function_{index}", "T" if index % 3 else "t"))
        kernel.functions.append(start)
        text += b"\xf3\x0f\x1e\xfa"
        kernel.patch_sites.append(BASE + len(text))
        text += b"\xe8" + struct.pack("<i", 0x1000)
        for _ in range(random_.randrange(1, 6)):
            text += bytes(random_.choices(b"\x48\x89\x8b\x0f\x31\xc0\x41\x74", k=random_.randrange(3, 40)))
            text += b"\xe8" + struct.pack("<i", random_.randrange(1 << 20))
            kernel.call_sites.append(BASE + len(text))
        if index == grow[0]:
            text += b"\x90" * grow[1]
        text += b"\xc3"
        text += b"\xcc" * (16 + -len(text) % 16)
    symbols.append((BASE + len(text), "_etext", "T"))
    symbols.append((BASE + 0x20_0100, "kaslr_regions", "d"))
    symbols.extend((BASE + offset, name, "d") for name, offset in (extra or {}).items())
    symbols.sort(key=lambda symbol: symbol[0])
    kernel.text = bytes(text)
    kernel.symbols = SymbolData(
        np.array([addr for addr, _, _ in symbols], np.uint64),
        Names.from_list([name for _, name, _ in symbols]),
        np.frombuffer("".join(kind for _, _, kind in symbols).encode(), np.uint8),
        "test",
    )
    return kernel


def write_vmlinux(kernel: Kernel, debug: dict[str, bytes] | None = None, events: FakeImage | None = None) -> bytes:
    """The kernel as an x86-64 vmlinux with .symtab, with these debug sections, and with the memory of these events."""
    abi = Abi("little", 8)
    data = kernel.symbols
    symbols = [
        Symbol(addr, chr(kind), name)
        for addr, kind, name in zip(data.addrs.tolist(), data.types.tolist(), data.names, strict=True)
    ]
    more = []
    if events is not None:
        listed = zip(events.symbols.addrs.tolist(), events.symbols.names, strict=True)
        symbols = sorted(
            [*symbols, *(Symbol(addr, "d", name) for addr, name in listed)], key=lambda symbol: symbol.addr
        )
        (memory,) = events.memory.segments
        more = [ElfSection(".data", PROGBITS, ALLOC, memory.addr, memory.data.tobytes())]
        if events.btf is not None:
            more.append(ElfSection(".BTF", PROGBITS, 0, 0, events.btf))
    table, strings = write_symtab(symbols, abi, {"t": 1, "d": 2})
    sections = [
        ElfSection(".text", PROGBITS, ALLOC | EXEC, BASE, kernel.text),
        ElfSection(".rodata", PROGBITS, ALLOC, BASE + 0x200000, BANNER),
        ElfSection(".symtab", SYMTAB, 0, 0, table, link=4, entry_size=24),
        ElfSection(".strtab", STRTAB, 0, 0, strings),
        *more,
        *(ElfSection(name, PROGBITS, 0, 0, content) for name, content in (debug or {}).items()),
    ]
    return write_elf(sections, abi, "x86-64")
