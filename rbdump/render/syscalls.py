# SPDX-License-Identifier: Apache-2.0
"""System calls: ``sys_dup2(oldfd: a, newfd: 1)`` and ``sys_dup2 -> 0x1``.

Mirrors print_syscall_enter() and print_syscall_exit() (kernel/trace/trace_syscalls.c), which know the arguments from
syscall_metadata and not from the print fmt. The format names the same arguments: one word each, then one __data_loc
for each argument whose user memory was copied into the record.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rbdump.events.format import EventFormat, Field
from rbdump.events.rows import Rows
from rbdump.events.strings import dynamic_bytes, text_of
from rbdump.memo import Memo
from rbdump.render.group import Group, Renderer, column
from rbdump.render.style import Syscalls

__all__ = ["syscall_renderer"]

_ENTER, _EXIT = "sys_enter_", "sys_exit_"
_FLAG = re.compile(r'\{ *0x([0-9a-f]+), *"(O_\w+)" *\}')
_O_ACCMODE, _TMPFILE_BIT = 3, 0o20000000
_U64 = 0xFFFF_FFFF_FFFF_FFFF


def syscall_renderer(fmt: EventFormat, style: Syscalls) -> Renderer | None:
    """Renders an event of the system ``syscalls``; None when the format is not that of a system call."""
    if fmt.name.startswith(_EXIT) and any(field.name == "ret" for field in fmt.fields):
        return _exit_renderer(fmt)
    if not fmt.name.startswith(_ENTER) or not fmt.fields or fmt.fields[0].name != "__syscall_nr":
        return None
    args = [field for field in fmt.fields[1:] if not field.is_data_loc]
    copies = {field.name: field for field in fmt.fields[1:] if field.is_data_loc}
    name = "sys_" + fmt.name.removeprefix(_ENTER)
    if not copies:
        return _plain_renderer(name, args, style)
    if name == "sys_openat" and _FLAG.search(fmt.print_fmt):
        return _openat_renderer(fmt, args, copies)
    return _copying_renderer(fmt, name, args, copies)


def _exit_renderer(fmt: EventFormat) -> Renderer:
    ret = next(field for field in fmt.fields if field.name == "ret")
    name = "sys_" + fmt.name.removeprefix(_EXIT)
    texts = Memo(lambda value: f"{name} -> {value:#x}\n")

    def render(group: Group) -> list[str]:
        values = group.rows.integers(ret.offset, ret.size, signed=False).tolist()
        return list(map(texts.__getitem__, values))

    return render


def _value(value: int) -> str:
    return str(value) if value < 10 else f"{value:#x}"


def _plain_renderer(name: str, args: list[Field], style: Syscalls) -> Renderer:
    if style is Syscalls.HEX:
        template = f"{name}({', '.join(f'{arg.name}: %x' for arg in args)})\n"
        spell: Callable[[int], int | str] = int
    else:
        template = f"{name}({', '.join(f'{arg.name}: %s' for arg in args)})\n"
        spell = _value

    def render(group: Group) -> list[str]:
        if not args:
            return [template] * len(group)
        columns = [group.rows.integers(arg.offset, arg.size, signed=False).tolist() for arg in args]
        if spell is not int:
            columns = [map(spell, values) for values in columns]
        return [template % values for values in zip(*columns, strict=True)]

    return render


def _copied(rows: Rows, field: Field) -> list[bytes]:
    """The user memory that a __data_loc field tells; nothing where it leaves the record."""
    return [raw or b"" for raw in dynamic_bytes(rows, field)]


def _quoted(raw: bytes) -> str:
    return ' "' + text_of(raw) + '"'


def _buffer(raw: bytes, wanted: int) -> str:
    """Bytes of a buffer that the call writes, and its text when some of it prints."""
    wanted = (wanted & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000  # the kernel keeps it in an int
    more = len(raw) < wanted
    text = f" ({raw.hex(':')}{', ...' if more else ''})"
    if any(0x20 <= byte < 0x7F for byte in raw):
        ascii_text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in raw)
        text += f' "{ascii_text}"{"..." if more else ""}'
    return text


def _copying_renderer(fmt: EventFormat, name: str, args: list[Field], copies: dict[str, Field]) -> Renderer:
    names = [arg.name for arg in args]

    def is_buffer(arg: str) -> bool:
        return f"__print_dynamic_array(__{arg}_val," in fmt.print_fmt

    def render(group: Group) -> list[str]:
        rows = group.rows
        columns = [rows.integers(arg.offset, arg.size, signed=False).tolist() for arg in args]
        parts: list[list[str]] = []
        for at, arg in enumerate(names):
            texts = [f"{arg}: {_value(value)}" for value in columns[at]]
            copy = copies.get(f"__{arg}_val")
            if copy is not None:
                raws = _copied(rows, copy)
                if is_buffer(arg):  # the size is the next argument of every such call
                    sizes = columns[at + 1] if at + 1 < len(columns) else [0] * len(group)
                    texts = [text + _buffer(raw, size) for text, raw, size in zip(texts, raws, sizes, strict=True)]
                else:
                    texts = [text + _quoted(raw) for text, raw in zip(texts, raws, strict=True)]
            parts.append(texts)
        return [f"{name}({', '.join(values)})\n" for values in zip(*parts, strict=True)]

    return render


def _openat_renderer(fmt: EventFormat, args: list[Field], copies: dict[str, Field]) -> Renderer:
    """sys_enter_openat_print(): flags by name, the mode only where a file may be created."""
    flags = [(int(mask, 16), name) for mask, name in _FLAG.findall(fmt.print_fmt)]
    masks = {name: mask for mask, name in flags}
    tmpfile = _TMPFILE_BIT | masks.get("O_DIRECTORY", 0)
    flags.insert(0, (tmpfile, "O_TMPFILE"))
    creates = masks.get("O_CREAT", 0) | tmpfile

    def spell(value: int) -> tuple[str, bool]:
        bits = (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000
        if not bits:
            return "flags: O_RDONLY", False
        rest = bits & _U64
        words = []
        for mask, name in flags:
            if rest and rest & mask == mask:
                words.append(name)
                rest &= ~mask
        if rest:
            words.append(f"{rest:#x}")
        head = "" if bits & _O_ACCMODE else "O_RDONLY|"
        return f"flags: {head}{'|'.join(words)}", bool(bits & creates)

    def render(group: Group) -> list[str]:
        rows = group.rows
        columns = [column(rows, arg) for arg in args]
        keys = [f"__{arg.name}_val" for arg in args]
        strings = {at: _copied(rows, copies[key]) for at, key in enumerate(keys) if key in copies}
        texts = []
        for row, values in enumerate(zip(*columns, strict=True)):
            parts = []
            for at, value in enumerate(values):
                if at == 2:
                    text, has_mode = spell(value)
                    parts.append(text)
                    if not has_mode:
                        break
                elif at == 3:
                    parts.append(f"{args[at].name}: 0{value & 0xFFFF_FFFF:03o}")
                else:
                    copied = _quoted(strings[at][row]) if at in strings else ""
                    parts.append(f"{args[at].name}: {value}{copied}")
            texts.append(f"sys_openat({', '.join(parts)})\n")
        return texts

    return render
