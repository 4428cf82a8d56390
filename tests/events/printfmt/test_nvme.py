# SPDX-License-Identifier: Apache-2.0
"""NVMe commands of hosts and targets; each list is written in the order of the kernel's functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rbdump.events.printfmt import nvme
from tests.events.printfmt.rendering import ALL, Event, render

HEX = "01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 15 16 17 18"
RAW = bytes.fromhex(HEX)
Decoder = Callable[[int, bytes], str]

ADMIN = {
    0x00: "sqid=513",
    0x01: "sqid=513, qsize=1027, sq_flags=0x605, cqid=2055",
    0x04: "cqid=513",
    0x05: "cqid=513, qsize=1027, cq_flags=0x605, irq_vector=2055",
    0x06: "cns=1, ctrlid=1027",
    0x09: "fid=0x1, sv=0x0, cdw11=0x8070605",
    0x0A: "fid=0x1, sel=0x2, cdw11=0x8070605",
    0x86: "slba=0x807060504030201, mndw=0xc0b0a09, rl=0xe0d, atype=16",
    0x80: "lbaf=1, mset=0, pi=0, pil=0, ses=1",
}
TARGET_ADMIN = {opcode: ADMIN[opcode] for opcode in (0x06, 0x09, 0x0A, 0x86)}
READ_WRITE = "slba=578437695752307201, len=2569, ctrl=0xc0b, dsmgmt=269422093, reftag=336794129"
TARGET_IO = {
    **dict.fromkeys((0x01, 0x02, 0x08, 0x7D), READ_WRITE),
    0x09: "nr=67305985, attributes=134678021",
    0x79: "slba=578437695752307201, zsa=13:reserved, all=14",
    0x7A: "slba=578437695752307201, numd=202050057, zra=13, zrasf=14:reserved, pr=15",
}
IO_WITHOUT_NAMES = {
    **TARGET_IO,
    0x0D: "rrega=1, iekey=0, ptpl=0",
    0x0E: "numd=67305985, eds=1",
    0x11: "racqa=1, iekey=0, rtype=2",
    0x15: "rrela=1, iekey=0, rtype=2",
}
IO = {
    **IO_WITHOUT_NAMES,
    0x0D: "rrega=1:unregister, iekey=0, ptpl=0",
    0x11: "racqa=1:preempt, iekey=0, rtype=2:exclusive access",
    0x15: "rrela=1:clear, iekey=0, rtype=2:exclusive access",
}
FABRICS = {
    0x00: "attrib=1, ofst=0x8070605, value=0x100f0e0d0c0b0a09",
    0x01: "recfmt=513, qid=1027, sqsize=1541, cattr=7, kato=202050057",
    0x04: "attrib=1, ofst=0x8070605",
    0x05: "spsp0=02, spsp1=03, secp=04, tl=134678021",
    0x06: "spsp0=02, spsp1=03, secp=04, al=134678021",
}


@pytest.mark.parametrize(
    ("decoder", "known", "rest"),
    [
        (nvme.admin, ADMIN, "cdw10"),
        (nvme.target_admin, TARGET_ADMIN, "cdw10"),
        (nvme.io, IO, "cdw10"),
        (nvme.io_without_names, IO_WITHOUT_NAMES, "cdw10"),
        (nvme.target_io_without_reservations, TARGET_IO, "cdw10"),
        (nvme.fabrics, FABRICS, "specific"),
    ],
)
def test_every_opcode(decoder: Decoder, known: dict[int, str], rest: str) -> None:
    for opcode in range(256):
        assert decoder(opcode, RAW) == known.get(opcode, f"{rest}={HEX}")
    assert decoder(-1, b"") == f"{rest}={bytes(24).hex(' ')}"


def command(*places: tuple[int, int]) -> bytes:
    raw = bytearray(24)
    for at, value in places:
        raw[at] = value
    return bytes(raw)


def test_bit_fields() -> None:
    assert nvme.admin(0x80, command((0, 0xF2), (1, 0x3B))) == "lbaf=50, mset=1, pi=7, pil=1, ses=5"
    assert nvme.admin(0x09, command((3, 0xFF))) == "fid=0x0, sv=0x8, cdw11=0x0"
    assert nvme.admin(0x0A, command((1, 0xFF))) == "fid=0x0, sel=0x7, cdw11=0x0"
    assert nvme.io(0x0D, command((0, 0xFA), (3, 0xFF))) == "rrega=2:replace, iekey=1, ptpl=3"
    assert nvme.io(0x0E, command((4, 0xFE))) == "numd=0, eds=0"


ZONE_SEND = [(1, "close"), (2, "finish"), (3, "open"), (4, "reset"), (5, "offline")]
ZONE_RECEIVE = {
    9: "list the zones that have the zone attribute",
    7: "list the zones in the ZSO: Offline state",
    6: "list the zones in the ZSRO: Read Only state",
    5: "list the zones in the ZSF: Full state",
    4: "list the zones in the ZSC: Closed state",
    3: "list the zones in the ZSEO: Explicitly Opened state",
    2: "list the zones in the ZSIO: Implicitly Opened state",
    1: "list the zones in the ZSE: Empty state",
    0: "list all zones",
}
TYPES = [
    "reserved", "write exclusive", "exclusive access", "write exclusive registrants only",
    "exclusive access registrants only", "write exclusive all registrants", "exclusive access all registrants",
]  # fmt: skip


def test_actions() -> None:
    sent = {number: f"{name} zone" for number, name in ZONE_SEND} | {16: "set zone descriptor extension"}
    for number in range(256):
        name = sent.get(number, "reserved")
        assert nvme.io(0x79, command((12, number))) == f"slba=0, zsa={number}:{name}, all=0"
        name = ZONE_RECEIVE.get(number, "reserved")
        assert nvme.io(0x7A, command((13, number))) == f"slba=0, numd=0, zra=0, zrasf={number}:{name}, pr=0"
        name = TYPES[number] if number < len(TYPES) else "reserved"
        assert nvme.io(0x15, command((1, number))) == f"rrela=0:release, iekey=0, rtype={number}:{name}"
    for opcode, names in (
        (0x0D, "rrega=register unregister replace"),
        (0x11, "racqa=acquire preempt preempt_and_abort"),
        (0x15, "rrela=release clear"),
    ):
        what, _, words = names.partition("=")
        known = [word.replace("_", " ") for word in words.split()]
        for number in range(8):
            name = known[number] if number < len(known) else "reserved"
            assert nvme.io(opcode, command((0, number))).startswith(f"{what}={number}:{name}, iekey=0, ")


HOST = (
    '"%s", ((REC->opcode) == nvme_fabrics_command ? nvme_trace_parse_fabrics_cmd(p, REC->fctype, REC->cdw10) : '
    "((REC->qid) ? nvme_trace_parse_nvm_cmd(p, REC->opcode, REC->cdw10) : "
    "nvme_trace_parse_admin_cmd(p, REC->opcode, REC->cdw10)))"
)
TARGET = (
    '"nvmet%s: %s%s", nvmet_trace_ctrl_id(p, REC->ctrl_id), nvmet_trace_disk_name(p, REC->disk), '
    + HOST.replace("nvme_trace", "nvmet_trace").partition(", ")[2]
)


def test_print_fmts_of_hosts() -> None:
    fields = {"int qid": 0, "u8 opcode": 0x06, "u8 fctype": 0, "u8 cdw10[24]": RAW}
    for abi in ALL:
        assert render(HOST, fields, abi=abi) == ADMIN[0x06]
    assert render(HOST, {**fields, "int qid": 1, "u8 opcode": 0x02}) == READ_WRITE
    assert render(HOST, {**fields, "u8 opcode": 0x7F, "u8 fctype": 1}) == FABRICS[1]


def test_print_fmts_of_targets() -> None:
    fields = {"u16 ctrl_id": 0, "char disk[32]": b"", "int qid": 0, "u8 opcode": 0x7F, "u8 fctype": 4}
    event = {**fields, "u8 cdw10[24]": RAW}
    assert render(TARGET, event) == f"nvmet_: {FABRICS[4]}"
    event |= {"u16 ctrl_id": 65535, "char disk[32]": b"/dev/loop0", "u8 opcode": 0x00}
    assert render(TARGET, event) == f"nvmet65535: disk=/dev/loop0, cdw10={HEX}"


def test_reservations_are_named_since_an_enumerator_is_known() -> None:
    fields = {"int qid": 1, "u8 opcode": 0x11, "u8 fctype": 0, "u8 cdw10[24]": RAW}
    before = {"nvme_cmd_read": 2, "nvme_fabrics_command": 0x7F}
    since = {**before, "NVME_NS_VWC_NOT_PRESENT": 0x20}
    assert render(HOST, fields, constant=lambda name, event: before.get(name)) == IO_WITHOUT_NAMES[0x11]
    assert render(HOST, fields, constant=lambda name, event: since.get(name)) == IO[0x11]
    later = HOST.replace("REC->fctype,", "0 * nvme_cmd_io_mgmt_recv,")
    assert render(later, fields) == IO[0x11]
    target = {"u16 ctrl_id": 0, "char disk[32]": b"", **fields}
    assert render(TARGET, target, constant=lambda name, event: since.get(name)) == f"nvmet_: {IO[0x11]}"
    assert render(TARGET, target, constant=lambda name, event: before.get(name)) == f"nvmet_: cdw10={HEX}"


def test_what_cannot_be_known_of_reservations_is_said() -> None:
    from rbdump.events.printfmt import compile_print_fmt

    fields = {"int qid": 1, "u8 opcode": 0x02, "u8 fctype": 0, "u8 cdw10[24]": RAW}
    event = Event(HOST, fields)
    compiled = compile_print_fmt(event.format, event.facts())
    assert list(compiled(event.rows([fields])))
    assert [note for note in compiled.notes if "reservations" in note]
