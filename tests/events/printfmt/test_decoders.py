# SPDX-License-Identifier: Apache-2.0
"""Names that functions and arrays of the kernel give to numbers, each table as a whole.

Each list is written in the order and notation of the kernel's header, not in that of the table it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from rbdump.events.printfmt import decoders
from tests.events.printfmt.rendering import render


def named(function: Callable[[int], str], numbers: Iterable[int], unknown: str) -> dict[int, str]:
    """All numbers that a function has a name for."""
    return {number: name for number in numbers if (name := function(number)) != unknown}


DWC3_ENDPOINT_COMMANDS = """
SETEPCONFIG 0x01 Set Endpoint Configuration
SETTRANSFRESOURCE 0x02 Set Endpoint Transfer Resource
GETEPSTATE 0x03 Get Endpoint State
SETSTALL 0x04 Set Stall
CLEARSTALL 0x05 Clear Stall
STARTTRANSFER 0x06 Start Transfer
UPDATETRANSFER 0x07 Update Transfer
ENDTRANSFER 0x08 End Transfer
DEPSTARTCFG 0x09 Start New Configuration
"""
DWC3_GENERIC_COMMANDS = """
SET_LMP 0x01 Set LMP
SET_PERIODIC_PAR 0x02 Set Periodic Parameters
XMIT_FUNCTION 0x03 Transmit Function Wake Device Notification
SET_SCRATCHPAD_ADDR_LO 0x04 Set Scratchpad Buffer Array Address Lo
SET_SCRATCHPAD_ADDR_HI 0x05 Set Scratchpad Buffer Array Address Hi
SELECTED_FIFO_FLUSH 0x09 Selected FIFO Flush
ALL_FIFO_FLUSH 0x0a All FIFO Flush
SET_ENDPOINT_NRDY 0x0c Set Endpoint NRDY
SET_ENDPOINT_PRIME 0x0d Set Endpoint Prime
RUN_SOC_BUS_LOOPBACK 0x10 Run SoC Bus Loopback Test
DEV_NOTIFICATION 0x07 Device Notification
"""
"""Macros of drivers/usb/dwc3/core.h, and what drivers/usb/dwc3/debug.h calls them."""


def defined(text: str) -> dict[int, str]:
    rows = [line.split(" ", 2) for line in text.strip().splitlines()]
    return {int(number, 0): name for _, number, name in rows}


def test_dwc3() -> None:
    everything = range(-4096, 4096)
    endpoint, generic = defined(DWC3_ENDPOINT_COMMANDS), defined(DWC3_GENERIC_COMMANDS)
    assert named(decoders.dwc3_ep_command, range(256), "UNKNOWN command") == endpoint
    assert named(decoders.dwc3_generic_command, range(256), "UNKNOWN") == generic
    assert decoders.dwc3_ep_command(0xF0406) == "Start Transfer"  # with its flags: the function takes a u8
    assert decoders.dwc3_generic_command(0x50A) == "All FIFO Flush"
    assert named(decoders.dwc3_ep_command_status, everything, "UNKNOWN") == {
        -110: "Timed Out", 0: "Successful", 1: "No Resource", 2: "Bus Expiry",
    }  # fmt: skip
    assert named(decoders.dwc3_generic_command_status, everything, "UNKNOWN") == {
        -110: "Timed Out", 0: "Successful", 1: "Error",
    }  # fmt: skip
    types = ["normal", "setup", "status2", "status3", "data", "isoc-first", "isoc", "link"]
    assert named(decoders.dwc3_trb_type, everything, "UNKNOWN") == {n << 4: name for n, name in enumerate(types, 1)}


def test_the_status_of_a_dwc3_command_is_a_signed_field() -> None:
    text = '"%s|%s", dwc3_gadget_ep_cmd_string(REC->cmd), dwc3_ep_cmd_status_string(REC->cmd_status)'
    assert render(text, {"unsigned int cmd": 0x30406, "int cmd_status": -110}) == "Start Transfer|Timed Out"
    assert render(text, {"unsigned int cmd": 0x16, "int cmd_status": -22}) == "UNKNOWN command|UNKNOWN"


@pytest.mark.parametrize(
    ("function", "unknown", "names"),
    [
        (decoders.xhci_ring_type, "UNKNOWN", ["CTRL", "ISOC", "BULK", "INTR", "STREAM", "CMD", "EVENT"]),
        (decoders.mc_event_error_type, "Info", ["Corrected", "Uncorrected", "Deferred", "Fatal"]),
    ],
)
def test_enumerations_from_zero_on(function: Callable[[int], str], unknown: str, names: list[str]) -> None:
    assert named(function, range(-100, 100), unknown) == dict(enumerate(names))
