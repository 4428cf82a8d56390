# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from rbdump.abi import Abi
from rbdump.kernel.events.formats import ImageFormats, read_formats
from rbdump.kernel.events.sysargs import user_args
from rbdump.kernel.events.syscalls import metadata_names
from rbdump.kernel.symboldata import Names, SymbolData
from rbdump.kernel.types.btf import Btf
from tests.eventwriter import EventWriter

LE64 = Abi("little", 8)


def formats_of(out: EventWriter) -> ImageFormats:
    image = out.build()
    assert image.btf is not None
    return read_formats(image, Btf(image.btf), image.machine)


def text_of(formats: ImageFormats, name: str) -> str:
    return next(event.text for event in formats.events if event.name == name)


@pytest.mark.parametrize(
    ("machine", "symbol", "name"),
    [
        ("x86-64", "__x64_sys_read", "sys_read"),
        ("x86-64", "__ia32_sys_read", "sys_read"),
        ("x86-64", "__do_sys_read", "sys_read"),
        ("i386", "sys_read", "sys_read"),
        ("aarch64", "__arm64_sys_read", "sys_read"),
        ("riscv", "__riscv_sys_read", "sys_read"),
        ("s390x", "__s390x_sys_read", "sys_read"),
        ("s390x", "__s390_sys_read", "sys_read"),
        ("arm", "sys_mmap2", "sys_mmap_pgoff"),
        ("arm", "SyS_read", "sys_read"),
        ("ppc64", "ppc_fadvise64_64", "sys_fadvise64_64"),
        ("ppc64le", "__se_sys_read", "sys_read"),
        ("ppc64", ".sys_read", "sys_read"),
        ("mips", "__sys_fork", "sys_fork"),
        ("loongarch", "sys_read", "sys_read"),
    ],
)
def test_functions_are_matched_as_each_architecture_does(machine: str, symbol: str, name: str) -> None:
    assert name in metadata_names(symbol, machine)
    assert name.replace("_", "__", 1) not in metadata_names(symbol, machine)


def test_a_system_call_without_a_number_has_no_events_and_takes_no_id() -> None:
    out = EventWriter()
    out.syscall("sys_compat_only", [], None)
    out.syscall("sys_read", [("unsigned int", "fd")], "__x64_sys_read")
    out.syscall("sys_gone", [], "__x64_sys_ni_syscall")
    formats = formats_of(out)
    assert [(event.name, event.id) for event in formats.events] == [("sys_enter_read", 21), ("sys_exit_read", 22)]


def test_a_slot_that_shares_the_address_of_ni_syscall_is_unused() -> None:
    out = EventWriter()
    out.syscall("sys_kexec", [], "__x64_sys_kexec")
    out.event("sched", "behind")
    image = out.build()
    shared = image.symbols.addr("__x64_sys_kexec")
    assert shared is not None
    row = image.symbols.find("__x64_sys_kexec")[0]
    names = list(image.symbols.names)
    names.insert(row, "__x64_sys_ni_syscall")
    image.symbols = SymbolData(
        np.insert(image.symbols.addrs, row, np.uint64(shared)), Names.from_list(names), image.symbols.types, "symtab"
    )
    assert image.btf is not None
    formats = read_formats(image, Btf(image.btf), image.machine)
    assert [(event.name, event.id) for event in formats.events] == [("behind", 21)]


@pytest.mark.parametrize("word", [4, 8])
def test_enter_and_exit_formats(word: int) -> None:
    out = EventWriter(Abi("big", 8) if word == 8 else Abi("little", 4), "s390x" if word == 8 else "arm")
    out.syscall(
        "sys_read", [("unsigned int", "fd"), ("char *", "buf")], "__s390x_sys_read" if word == 8 else "sys_read"
    )
    formats = formats_of(out)
    first = 16 if word == 8 else 12
    assert text_of(formats, "sys_enter_read").endswith(
        "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n"
        f"\tfield:unsigned int fd;\toffset:{first};\tsize:{word};\tsigned:0;\n"
        f"\tfield:char * buf;\toffset:{first + word};\tsize:{word};\tsigned:0;\n\n"
        f'print fmt: "fd: 0x%0{word}lx, buf: 0x%0{word}lx", '
        "((unsigned long)(REC->fd)), ((unsigned long)(REC->buf))\n"
    )
    assert text_of(formats, "sys_exit_read").endswith(
        f'\tfield:long ret;\toffset:{first};\tsize:{word};\tsigned:1;\n\nprint fmt: "0x%lx", REC->ret\n'
    )
    assert not formats.findings


@pytest.mark.parametrize("order", ["little", "big"])
def test_user_memory_is_in_the_formats_of_kernels_that_copy_it(order: str) -> None:
    out = EventWriter(Abi("little" if order == "little" else "big", 8), "x86-64", user_args=True)
    out.syscall("sys_write", [("int", "fd"), ("const char *", "buf"), ("size_t", "count")], "__x64_sys_write")
    out.syscall("sys_rename", [("char *", "old"), ("char *", "new")], "__x64_sys_rename")
    out.syscall("sys_openat", [("int", "dfd"), ("char *", "filename"), ("int", "flags"), ("umode_t", "mode")],
                "__x64_sys_openat")  # fmt: skip
    formats = formats_of(out)
    write = text_of(formats, "sys_enter_write")
    assert "\tfield:__data_loc char[] __buf_val;\toffset:40;\tsize:4;\tsigned:0;\n" in write
    assert "buf: 0x%08lx (%s), count" in write
    assert "__print_dynamic_array(__buf_val, 1), ((unsigned long)(REC->count))" in write
    rename = text_of(formats, "sys_enter_rename")
    assert 'print fmt: "old: 0x%08lx \\"%s\\", new: 0x%08lx \\"%s\\"", ((unsigned long)(REC->old)), ' in rename
    assert "__new_val;\toffset:36;" in rename
    assert '{ 0x8000, "O_LARGEFILE" }' in text_of(formats, "sys_enter_openat")


def test_the_types_tell_where_the_arguments_are() -> None:
    out = EventWriter()
    out.syscall("sys_read", [("unsigned int", "fd")], "__x64_sys_read")
    types = out.types()
    types.struct("syscall_trace_enter", 32, [("args", types.int("unsigned long", 8), 24)])
    image = out.build()
    formats = read_formats(image, Btf(types.build()), image.machine)
    assert "\tfield:unsigned int fd;\toffset:24;" in text_of(formats, "sys_enter_read")
    assert "\tfield:unsigned int fd;\toffset:16;" in text_of(formats_of(out), "sys_enter_read")


def test_older_kernels_copy_nothing() -> None:
    out = EventWriter()
    out.syscall("sys_write", [("int", "fd"), ("const char *", "buf"), ("size_t", "count")], "__x64_sys_write")
    assert "__buf_val" not in text_of(formats_of(out), "sys_enter_write")


def test_on_32_bit_machines_old_numbers_lead_to_old_functions() -> None:
    mapped = {"sys_chown16", "sys_chown", "sys_utimensat_time32", "sys_utimensat", "sys_umount", "sys_read"}
    assert {name: args.indices for name, args in user_args(mapped, Abi("little", 4)).items()} == {
        "sys_chown16": (0,),
        "sys_utimensat_time32": (1,),
        "sys_umount": (0,),
    }
    assert set(user_args(mapped, LE64)) == {"sys_chown", "sys_utimensat", "sys_umount"}


def test_a_metadata_entry_with_wild_counts_is_no_system_call() -> None:
    out = EventWriter()
    out.syscall("sys_read", [("int", "fd")] * 7, "__x64_sys_read")
    out.event("sched", "behind")
    assert not [event for event in formats_of(out).events if event.name.startswith("sys_e") and "fd" in event.text]
