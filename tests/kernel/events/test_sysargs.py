# SPDX-License-Identifier: Apache-2.0
"""What system calls copy from user space, against the formats of kernels that copy it."""

from __future__ import annotations

import re

import pytest

from rbdump.abi import Abi
from rbdump.events.format import EventFormat
from rbdump.events.tracefs import load_tracefs
from rbdump.kernel.events.sysargs import UserArgs, open_flags, user_args
from tests.conftest import SAMPLES

KERNELS = [
    ("7.3.4-dynamic", "x86-64"),
    ("arm64-16k-7.2.12-sched", "aarch64"),
    ("ppc64-64k-7.2.11-sched", "ppc64le"),
]


def enter_events(sample: str) -> dict[str, EventFormat]:
    """The formats of sys_enter events by the name of the system call."""
    formats = load_tracefs(str(SAMPLES / sample / "tracefs.tar.xz")).formats
    named = [formats[event_id] for event_id in formats if formats.name_of(event_id)[1].startswith("sys_enter_")]
    return {fmt.name.replace("sys_enter_", "sys_"): fmt for fmt in named}


@pytest.mark.parametrize(("sample", "machine"), KERNELS)
def test_the_arguments_that_are_copied(sample: str, machine: str) -> None:
    copied = {}
    events = enter_events(sample)
    for name, fmt in events.items():
        arguments = [field.name for field in fmt.fields[1:] if not field.is_dynamic]
        texts = [field.name.removeprefix("__").removesuffix("_val") for field in fmt.fields if field.is_dynamic]
        if texts:
            indices = tuple(arguments.index(text) for text in texts)
            copied[name] = UserArgs(indices, is_string="__print_dynamic_array" not in fmt.print_fmt)
    assert len(copied) > 70
    assert user_args(events, Abi("little", 8)) == copied


@pytest.mark.parametrize(("sample", "machine"), KERNELS)
def test_the_flags_of_openat(sample: str, machine: str) -> None:
    text = enter_events(sample)["sys_openat"].print_fmt
    listed = [(name, int(value, 16)) for value, name in re.findall(r'\{ (0x\w+), "(O_\w+)" \}', text)]
    assert open_flags(machine) == listed
