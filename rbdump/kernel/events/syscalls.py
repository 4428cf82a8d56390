# SPDX-License-Identifier: Apache-2.0
"""System calls of an image: which of them exist, and the formats of their two events.

Mirrors kernel/trace/trace_syscalls.c: at boot `init_ftrace_syscalls` looks up the name of every function of
``sys_call_table`` and gives the ``struct syscall_metadata`` of that name its number; events of a system call
without a number are never registered and consume no id. The fields and print fmts are generated, not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rbdump.abi import Abi
from rbdump.kernel.events.sysargs import UserArgs, open_flags, user_args
from rbdump.kernel.types.structs import Memory, StructReader, layout_of, pointer_table
from rbdump.kernel.types.typeinfo import TypeSource

__all__ = ["Syscall", "Syscalls", "metadata_names", "read_syscalls"]

MAX_ARGS = 6
MAX_SYSCALLS = 8192
"""MIPS, whose tables begin at 4000 or 5000, has the highest numbers."""
EXIT_PRINT_FMT = '"0x%lx", REC->ret'


@dataclass(frozen=True, slots=True)
class Syscall:
    """One ``struct syscall_metadata``."""

    name: str
    """``sys_openat``"""
    types: tuple[str, ...]
    args: tuple[str, ...]
    enter_call: int
    """Address of the trace_event_call of ``sys_enter_*``."""
    exit_call: int
    user: UserArgs | None = None
    """What the kernel copies from user space into the enter event; None: nothing."""

    def enter_fields(self, abi: Abi, offset: int) -> Iterator[tuple[str, str, int, int]]:
        """``(type, name, offset, size)`` of the fields behind ``__syscall_nr``, from `syscall_enter_define_fields`.

        :param offset: of ``args`` in struct syscall_trace_enter.
        """
        for type_name, arg in zip(self.types, self.args, strict=True):
            yield type_name, arg, offset, abi.long_size
            offset += abi.long_size
        for index in self.user.indices if self.user else ():
            yield "__data_loc char[]", f"__{self.args[index]}_val", offset, 4
            offset += 4

    def enter_print_fmt(self, abi: Abi, machine: str) -> str:
        """The print fmt of the enter event (`__set_enter_print_fmt`)."""
        if self.user and self.name == "sys_openat":
            return _openat_print_fmt(machine)
        texts, values = [], []
        for index, arg in enumerate(self.args):
            text = f"{arg}: 0x%0{abi.long_size}lx"
            values.append(f", ((unsigned long)(REC->{arg}))")
            if self.user and index in self.user.indices:
                text += ' \\"%s\\"' if self.user.is_string else " (%s)"
                helper = f"__get_str(__{arg}_val)" if self.user.is_string else f"__print_dynamic_array(__{arg}_val, 1)"
                values.append(f", {helper}")
            texts.append(text)
        return f'"{", ".join(texts)}"{"".join(values)}'


def _openat_print_fmt(machine: str) -> str:
    """openat has a format of its own, with its flags by name, in kernels whose events hold user strings."""
    flags = ", ".join(f'{{ {value:#x}, "{name}" }}' for name, value in open_flags(machine))
    return (
        '"dfd: 0x%08lx, filename: 0x%08lx \\"%s\\", flags: %s%s, mode: 0%03o", ((unsigned long)(REC->dfd)), '
        "((unsigned long)(REC->filename)), __get_str(__filename_val), "
        '(REC->flags & ~3) && !(REC->flags & 3) ? "O_RDONLY|" : "",  '
        f'REC->flags ? __print_flags(REC->flags, "|", {flags}) : "O_RDONLY",  ((unsigned long)(REC->mode))'
    )


class Syscalls:
    """The system calls of an image by their event calls."""

    __slots__ = ("by_call",)

    def __init__(self, entries: list[Syscall], by_number: dict[int, Syscall]) -> None:
        mapped = set(map(id, by_number.values()))
        self.by_call: dict[int, tuple[Syscall, bool]] = {}
        """Address of an event call -> its system call and whether that has a number."""
        for entry in entries:
            for call in (entry.enter_call, entry.exit_call):
                self.by_call[call] = (entry, id(entry) in mapped)


def metadata_names(symbol: str, machine: str) -> tuple[str, ...]:
    """The metadata names that a function of sys_call_table stands for, from each arch_syscall_match_sym_name()."""
    if machine in ("x86-64", "i386"):
        # Compared behind "sys" only, after the prefixes that the syscall wrappers put in front.
        return tuple(
            f"sys{symbol[skip:]}"
            for prefix, skip in (("__x64_", 9), ("__ia32_", 10), ("__do_sys", 8), ("", 3))
            if symbol.startswith(prefix)
        )
    if machine in ("aarch64", "riscv"):
        return (symbol[8:],)
    if machine == "s390x":
        return symbol[7:], symbol[8:]
    if machine == "arm":
        special = {
            "sys_mmap2": "sys_mmap_pgoff",
            "sys_statfs64_wrapper": "sys_statfs64",
            "sys_fstatfs64_wrapper": "sys_fstatfs64",
            "sys_arm_fadvise64_64": "sys_fadvise64_64",
        }
        return (special.get(symbol, symbol.lower()),)
    if machine.startswith(("ppc", "powerpc")):
        bare = symbol.removeprefix(".")
        for prefix in ("ppc_", "ppc32_", "ppc64_"):
            if bare.startswith(prefix):
                return bare, f"sys_{bare.removeprefix(prefix)}"
        return (bare[5:] if bare.startswith("__se_sys") else bare,)
    if machine.startswith("mips") and symbol.startswith("__sys_"):
        return symbol, symbol[2:]
    return (f"sys{symbol[3:]}",)


def read_syscalls(memory: Memory, types: TypeSource, machine: str) -> Syscalls:
    """The system calls of an image; none when it was built without CONFIG_FTRACE_SYSCALLS.

    :raises SourceError: the tables are there and make no sense.
    """
    pointers = pointer_table(memory, "__start_syscalls_metadata", "__stop_syscalls_metadata")
    if not pointers:
        return Syscalls([], {})
    wanted = ("name", "nb_args", "types", "args", "enter_event", "exit_event")
    reader = StructReader(memory, layout_of(types, "syscall_metadata", wanted))
    # Kernels that copy user memory into the events keep a mask of the pointer arguments; it is filled at boot.
    with_user_args = "user_mask" in reader.layout.members
    entries = [entry for addr in pointers if (entry := _metadata(memory, reader, addr))]
    numbers = _numbers(memory, machine, {entry.name for entry in entries})
    if with_user_args:
        masks = user_args(set(numbers.values()), memory.abi)
        entries = [_with_user(entry, masks.get(entry.name)) for entry in entries]
    named: dict[str, Syscall] = {}
    for entry in entries:
        named.setdefault(entry.name, entry)
    return Syscalls(entries, {number: named[name] for number, name in numbers.items()})


def _with_user(entry: Syscall, user: UserArgs | None) -> Syscall:
    if user is None or max(user.indices) >= len(entry.args):
        return entry
    return Syscall(entry.name, entry.types, entry.args, entry.enter_call, entry.exit_call, user)


def _metadata(memory: Memory, reader: StructReader, addr: int) -> Syscall | None:
    data = reader.fetch(addr)
    if data is None:
        return None
    count = reader.value(data, "nb_args")
    name = memory.cstring(reader.value(data, "name"))
    if name is None or count > MAX_ARGS:
        return None
    types = _strings(memory, reader.value(data, "types"), count)
    args = _strings(memory, reader.value(data, "args"), count)
    if types is None or args is None:
        return None
    return Syscall(name, types, args, reader.value(data, "enter_event"), reader.value(data, "exit_event"))


def _strings(memory: Memory, addr: int, count: int) -> tuple[str, ...] | None:
    if not count:
        return ()
    pointers = memory.array(addr, count, memory.abi.long_size).tolist()
    texts = tuple(text for pointer in pointers if (text := memory.cstring(pointer)) is not None)
    return texts if len(texts) == count else None


def _numbers(memory: Memory, machine: str, names: set[str]) -> dict[int, str]:
    """Number -> metadata name for every slot of sys_call_table whose function has metadata.

    NR_syscalls is a constant of the code: the table ends at the latest where the next symbol begins.
    """
    symbols = memory.symbols
    begin = memory.addr("sys_call_table")
    if begin is None:
        return {}
    word = memory.abi.long_size
    behind = symbols.addrs[symbols.addrs > begin]
    count = min(MAX_SYSCALLS, (int(behind[0]) - begin) // word if len(behind) else MAX_SYSCALLS)
    numbers: dict[int, str] = {}
    memo: dict[int, str | None] = {}
    for number, addr in enumerate(memory.array(begin, count, word).tolist()):
        if addr not in memo:
            memo[addr] = _metadata_name(symbols.names_at(addr), machine, names) if addr else None
        if name := memo[addr]:
            numbers[number] = name
    return numbers


def _metadata_name(aliases: list[str], machine: str, names: set[str]) -> str | None:
    """The metadata that one of the names of a function stands for; sys_ni_syscall is no system call.

    kallsyms gives the kernel one of the aliases only. Unused slots share the address of sys_ni_syscall with the weak
    names of all calls that are not built in, and the strong name is the one that it gives.
    """
    candidates = [name for alias in aliases for name in metadata_names(alias, machine)]
    if "sys_ni_syscall" in candidates:
        return None
    return next((name for name in candidates if name in names), None)
