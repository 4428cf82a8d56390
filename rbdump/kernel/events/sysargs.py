# SPDX-License-Identifier: Apache-2.0
"""Which arguments of system calls the kernel copies from user space into ``sys_enter_*`` events.

Facts of `check_faultable_syscall` in kernel/trace/trace_syscalls.c (since 6.19): a switch over numbers, so it is in
no table of the image. The flags of openat are those of each architecture's uapi/asm/fcntl.h.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rbdump.abi import Abi

__all__ = ["UserArgs", "open_flags", "user_args"]


@dataclass(frozen=True, slots=True)
class UserArgs:
    """The user memory in an enter event."""

    indices: tuple[int, ...]
    """Indices of the pointer arguments whose memory is copied, ascending."""
    is_string: bool = True
    """False: a buffer whose length is another argument."""


_BUFFER = "write mq_timedsend pwrite64"
_STRINGS: dict[tuple[int, ...], str] = {
    (0,): "setdomainname sethostname access acct chdir chown chmod chroot creat delete_module execve fsopen lchown "
    "open memfd_create mkdir mknod mq_open mq_unlink readlink rmdir shmdt statfs swapon swapoff truncate unlink "
    "umount2 utime utimes",
    (1,): "execveat faccessat faccessat2 finit_module fchmodat fchmodat2 fchownat fgetxattr flistxattr fsetxattr "
    "fspick fremovexattr futimesat inotify_add_watch mkdirat mknodat mount_setattr name_to_handle_at newfstatat openat "
    "openat2 open_tree open_tree_attr readlinkat quotactl syslog statx unlinkat utimensat",
    (2,): "init_module fsconfig",
    (4,): "kexec_file_load fanotify_mark",
    (0, 1): "add_key getxattr lgetxattr lremovexattr link listxattr llistxattr lsetxattr pivot_root removexattr rename "
    "request_key setxattr symlink",
    (0, 2): "symlinkat",
    (1, 3): "getxattrat linkat listxattrat move_mount renameat renameat2 removexattrat setxattrat",
    (0, 1, 2): "mount",
}
# A number's name and the function behind it differ here and there.
_FUNCTIONS = {"umount2": ("umount",)}
# On 32-bit machines the old numbers lead to functions with 32-bit times or 16-bit user ids.
_VARIANTS = ("_time32", "32", "16", "")


def user_args(mapped: Collection[str], abi: Abi) -> dict[str, UserArgs]:
    """What is copied for each of the ``mapped`` system calls, by metadata name (``sys_write``)."""
    table = {number: UserArgs((1,), is_string=False) for number in _BUFFER.split()}
    for indices, numbers in _STRINGS.items():
        table.update({number: UserArgs(indices) for number in numbers.split()})
    found: dict[str, UserArgs] = {}
    for number, args in table.items():
        variants = _VARIANTS if abi.long_size == 4 else ("",)
        functions = [f"sys_{base}{variant}" for base in _FUNCTIONS.get(number, (number,)) for variant in variants]
        if function := next((name for name in functions if name in mapped), None):
            found[function] = args
    return found


def open_flags(machine: str) -> list[tuple[str, int]]:
    """The O_* flags in the order in which openat's format names them."""
    direct, largefile, directory, nofollow = 0x4000, 0x8000, 0x10000, 0x20000
    if machine in ("arm", "aarch64"):
        direct, largefile, directory, nofollow = 0x10000, 0x20000, 0x4000, 0x8000
    elif machine.startswith(("ppc", "powerpc")):
        direct, largefile, directory, nofollow = 0x20000, 0x10000, 0x4000, 0x8000
    return [
        ("O_WRONLY", 0x1),
        ("O_RDWR", 0x2),
        ("O_CREAT", 0x40),
        ("O_EXCL", 0x80),
        ("O_NOCTTY", 0x100),
        ("O_TRUNC", 0x200),
        ("O_APPEND", 0x400),
        ("O_NONBLOCK", 0x800),
        ("O_DSYNC", 0x1000),
        ("O_DIRECT", direct),
        ("O_LARGEFILE", largefile),
        ("O_DIRECTORY", directory),
        ("O_NOFOLLOW", nofollow),
        ("O_NOATIME", 0x40000),
        ("O_CLOEXEC", 0x80000),
    ]
