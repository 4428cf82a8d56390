# SPDX-License-Identifier: Apache-2.0
"""Own renderings of kernel functions that print fmts call: facts of SCSI, DWC3, EDAC and Xen.

Spellings follow drivers/scsi/scsi_trace.c, drivers/usb/dwc3/debug.h, include/linux/edac.h and
arch/x86/xen (hypercall numbers of the Xen ABI).
"""

from __future__ import annotations

__all__ = [
    "dwc3_ep_command",
    "dwc3_ep_command_status",
    "dwc3_event",
    "dwc3_generic_command",
    "dwc3_generic_command_status",
    "dwc3_mode",
    "dwc3_trb_type",
    "mc_event_error_type",
    "scsi_cdb",
    "xen_hypercall",
]


def mc_event_error_type(kind: int) -> str:
    """The severity of a memory controller event (enum hw_event_mc_err_type)."""
    return {0: "Corrected", 1: "Uncorrected", 2: "Deferred", 3: "Fatal"}.get(kind, "Info")


_XEN = [
    "set_trap_table", "mmu_update", "set_gdt", "stack_switch", "set_callbacks", "fpu_taskswitch", "sched_op_compat",
    "platform_op", "set_debugreg", "get_debugreg", "update_descriptor", ".", "memory_op", "multicall",
    "update_va_mapping", "set_timer_op", "event_channel_op_compat", "xen_version", "console_io", "physdev_op_compat",
    "grant_table_op", "vm_assist", "update_va_mapping_otherdomain", "iret", "vcpu_op", "set_segment_base",
    "mmuext_op", "xsm_op", "nmi_op", "sched_op", "callback_op", "xenoprof_op", "event_channel_op", "physdev_op",
    "hvm_op", "sysctl", "domctl", "kexec_op", "tmem_op", "xc_reserved_op", "xenpmu_op", "dm_op", ".", ".", ".", ".",
    ".", ".", "mca", "arch_1", "arch_2", "arch_3", "arch_4", "arch_5", "arch_6", "arch_7",
]  # fmt: skip


def xen_hypercall(op: int) -> str:
    """``(name)`` of a Xen hypercall, empty for an unknown one."""
    name = _XEN[op] if 0 <= op < len(_XEN) else "."
    return "" if name == "." else f"({name})"


_DWC3_EVENTS = {
    0: "Disconnect:", 1: "Reset", 2: "Connection Done", 3: "Link Change", 4: "WakeUp", 6: "Suspend",
    7: "Start-Of-Frame", 9: "Erratic Error", 10: "Command Complete", 11: "Overflow",
}  # fmt: skip
_DWC3_LINKS = (
    "U0", "U1", "U2", "U3", "SS.Disabled", "RX.Detect", "SS.Inactive", "Polling", "Recovery", "Hot Reset", "Compliance",
    "Loopback", "UNKNOWN link state", "UNKNOWN link state", "Reset", "Resume",
)  # fmt: skip
_DWC3_EP0_STATES = {0: "Unconnected", 1: "Setup Phase", 2: "Data Phase", 3: "Status Phase"}


def dwc3_event(event: int, ep0_state: int) -> str:
    """An event of a DWC3 gadget: the device's where bit 0 is set, an endpoint's otherwise."""
    if event & 1:
        name = _DWC3_EVENTS.get(event >> 8 & 0xF)
        return "UNKNOWN" if name is None else f"{name} [{_DWC3_LINKS[event >> 16 & 0xF]}]"
    endpoint, kind, status, parameters = event >> 1 & 0x1F, event >> 6 & 0xF, event >> 12 & 0xF, event >> 16 & 0xFFFF
    control = endpoint <= 1
    flags = "".join(letter if status & bit else letter.lower() for letter, bit in (("S", 2), ("I", 4)))
    if kind == 1:
        text = f"Transfer Complete ({flags}{'L' if status & 8 else 'l'})"
        if control:
            text += f" [{_DWC3_EP0_STATES.get(ep0_state, 'UNKNOWN')}]"
    elif kind == 2:
        text = f"Transfer In Progress [{parameters:08x}] ({flags}{'M' if status & 8 else 'm'})"
    elif kind == 3:
        text = f"Transfer Not Ready [{parameters:08x}] ({'Active' if status & 8 else 'Not Active'})"
        if control:
            text += {1: " [Data Phase]", 2: " [Status Phase]"}.get(status & 3, "")
    elif kind == 6:
        text = f" Stream {parameters} Found" if status == 1 else " Stream Not Found"
    else:
        text = {4: "FIFO", 7: "Endpoint Command Complete"}.get(kind, "UNKNOWN")
    return f"ep{endpoint >> 1}{'in' if endpoint & 1 else 'out'}: {text}"


def dwc3_mode(mode: int) -> str:
    """The role of a DWC3 controller (GCTL.PrtCapDir)."""
    return {1: "host", 2: "device", 3: "otg"}.get(mode, "UNKNOWN")


def dwc3_trb_type(kind: int) -> str:
    """The TRB control type of a DWC3 transfer request block, at its place in the control word (bits 4 to 9)."""
    names = {
        0x10: "normal", 0x20: "setup", 0x30: "status2", 0x40: "status3", 0x50: "data", 0x60: "isoc-first",
        0x70: "isoc", 0x80: "link",
    }  # fmt: skip
    return names.get(kind, "UNKNOWN")


def dwc3_ep_command(command: int) -> str:
    """A DWC3 endpoint command; the kernel's function takes a u8."""
    names = {
        0x09: "Start New Configuration", 0x08: "End Transfer", 0x07: "Update Transfer", 0x06: "Start Transfer",
        0x05: "Clear Stall", 0x04: "Set Stall", 0x03: "Get Endpoint State", 0x02: "Set Endpoint Transfer Resource",
        0x01: "Set Endpoint Configuration",
    }  # fmt: skip
    return names.get(command & 0xFF, "UNKNOWN command")


def dwc3_generic_command(command: int) -> str:
    """A DWC3 generic gadget command; the kernel's function takes a u8."""
    names = {
        0x01: "Set LMP", 0x02: "Set Periodic Parameters", 0x03: "Transmit Function Wake Device Notification",
        0x04: "Set Scratchpad Buffer Array Address Lo", 0x05: "Set Scratchpad Buffer Array Address Hi",
        0x07: "Device Notification", 0x09: "Selected FIFO Flush", 0x0A: "All FIFO Flush", 0x0C: "Set Endpoint NRDY",
        0x0D: "Set Endpoint Prime", 0x10: "Run SoC Bus Loopback Test",
    }  # fmt: skip
    return names.get(command & 0xFF, "UNKNOWN")


def dwc3_ep_command_status(status: int) -> str:
    """The status of a DWC3 endpoint command: the controller's, or -ETIMEDOUT."""
    return {-110: "Timed Out", 0: "Successful", 1: "No Resource", 2: "Bus Expiry"}.get(status, "UNKNOWN")


def dwc3_generic_command_status(status: int) -> str:
    """The status of a DWC3 generic command."""
    return {-110: "Timed Out", 0: "Successful", 1: "Error"}.get(status, "UNKNOWN")


def _integer(cdb: bytes, at: int, size: int) -> int:
    return int.from_bytes(cdb[at : at + size].ljust(size, b"\0"), "big")


def scsi_cdb(cdb: bytes) -> str:
    """What scsi_trace_parse_cdb() says of a command descriptor block: ``lba=... txlen=...`` where it knows it."""
    if not cdb:
        return "-"
    opcode = cdb[0]
    if opcode in (0x08, 0x0A) and len(cdb) >= 6:
        return f"lba={_integer(cdb, 1, 3) & 0x1FFFFF} txlen={cdb[4] or 256}"
    if opcode in (0x28, 0x2A, 0x2F, 0x41):
        text = f"lba={_integer(cdb, 2, 4)} txlen={_integer(cdb, 7, 2)} protect={_integer(cdb, 1, 1) >> 5}"
        return text + _unmap(cdb, opcode == 0x41)
    if opcode in (0xA8, 0xAA, 0xAF):
        return f"lba={_integer(cdb, 2, 4)} txlen={_integer(cdb, 6, 4)} protect={_integer(cdb, 1, 1) >> 5}"
    if opcode in (0x88, 0x8A, 0x8F, 0x93):
        text = f"lba={_integer(cdb, 2, 8)} txlen={_integer(cdb, 10, 4)} protect={_integer(cdb, 1, 1) >> 5}"
        return text + _unmap(cdb, opcode == 0x93)
    if opcode == 0x42:
        return f"regions={(_integer(cdb, 7, 2) - 8 & 0xFFFFFFFF) // 16}"  # an unsigned int, which wraps
    if opcode == 0x9C:
        return f"lba={_integer(cdb, 2, 8)} txlen={_integer(cdb, 12, 2)} boundary_size={_integer(cdb, 10, 2)}"
    action = _integer(cdb, 1, 1) & 0x1F
    if opcode == 0x9E:
        names = {0x10: "READ_CAPACITY_16", 0x12: "GET_LBA_STATUS"}
        if action not in names:
            return "UNKNOWN"
        return f"{names[action]} lba={_integer(cdb, 2, 8)} alloc_len={_integer(cdb, 10, 4)}"
    if opcode in (0xA3, 0xA4):
        into = {0x05: "REPORT_IDENTIFYING_INFORMATION", 0x0A: "REPORT_TARGET_PORT_GROUPS", 0x0B: "REPORT_ALIASES",
                0x0C: "REPORT_SUPPORTED_OPERATION_CODES", 0x0D: "REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS",
                0x0E: "REPORT_PRIORITY", 0x0F: "REPORT_TIMESTAMP", 0x10: "MANAGEMENT_PROTOCOL_IN"}  # fmt: skip
        out = {0x06: "SET_IDENTIFYING_INFORMATION", 0x0A: "SET_TARGET_PORT_GROUPS", 0x0B: "CHANGE_ALIASES",
               0x0E: "SET_PRIORITY", 0x0F: "SET_TIMESTAMP", 0x10: "MANAGEMENT_PROTOCOL_OUT"}  # fmt: skip
        name = (into if opcode == 0xA3 else out).get(action)
        return "UNKNOWN" if name is None else f"{name} alloc_len={_integer(cdb, 6, 4)}"
    if opcode in (0x94, 0x95):
        names = {0x94: {1: "CLOSE_ZONE", 2: "FINISH_ZONE", 3: "OPEN_ZONE", 4: "RESET_WRITE_POINTER"},
                 0x95: {0: "REPORT_ZONES"}}[opcode]  # fmt: skip
        if action not in names:
            return "UNKNOWN"
        zone = f"{names[action]} zone={_integer(cdb, 2, 8)}"
        if opcode == 0x94:
            return f"{zone} all={_integer(cdb, 14, 1) & 1}"
        option = _integer(cdb, 14, 1)
        return f"{zone} alloc_len={_integer(cdb, 10, 4)} options={option & 0x3F} partial={option >> 7 & 1}"
    if opcode == 0x7F:
        action = _integer(cdb, 8, 2)
        names = {0x09: "READ", 0x0A: "VERIFY", 0x0B: "WRITE", 0x0D: "WRITE_SAME"}
        if action not in names:
            return "-"
        text = f"{names[action]}_32 lba={_integer(cdb, 12, 8)} txlen={_integer(cdb, 28, 4)}"
        text += f" protect={_integer(cdb, 10, 1) >> 5} ei_lbrt={_integer(cdb, 20, 4)}"
        return text + (f" unmap={_integer(cdb, 10, 1) >> 3 & 1}" if action == 0x0D else "")
    return "-"


def _unmap(cdb: bytes, write_same: bool) -> str:
    return f" unmap={_integer(cdb, 1, 1) >> 3 & 1}" if write_same else ""
