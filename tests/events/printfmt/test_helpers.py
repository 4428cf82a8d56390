# SPDX-License-Identifier: Apache-2.0
"""Helper macros of print fmts, dynamic arrays (trusted never), dynamic events, and strings behind pointers."""

from __future__ import annotations

from typing import Any

import pytest

from rbdump.abi import Abi
from rbdump.events.format import parse_format
from rbdump.events.printfmt import compile_print_fmt
from rbdump.events.printfmt.text import hex_dump
from tests.events.printfmt.rendering import ALL, LE32, Event, render
from tests.events.records import COMMON, Rec, pack

FLAGS = '{ 1, "A" }, { 2, "B" }, { 12, "CD" }, { 0, "ZERO" }'


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, ""), (1, "A"), (3, "A|B"), (12, "CD"), (13, "A|CD"), (4, "ZERO|0x4"), (0x101, "A|ZERO|0x100")],
)
def test_print_flags(value: int, expected: str) -> None:
    text = f'"%s", __print_flags(REC->f, "|", {FLAGS})'
    for abi in ALL:
        assert render(text, {"unsigned long f": value}, abi=abi) == expected


def test_print_flags_is_unsigned_long_and_u64_is_not() -> None:
    fields = {"u64 f": 1 << 40 | 1}
    assert render(f'"%s", __print_flags(REC->f, "", {FLAGS})', fields, abi=LE32) == "A"
    assert render(f'"%s", __print_flags_u64(REC->f, ",", {FLAGS})', fields, abi=LE32) == "A,ZERO,0x10000000000"
    assert render('"%s", __print_flags(REC->f, "|", { 1, "A" })', {"int f": -2}) == "0xfffffffffffffffe"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_untrusted_strings(abi: Abi) -> None:
    text = '"%s", __trace_print_untrusted_str(p, __get_str(d), __get_dynamic_array_len(d) - 1)'

    def printed(string: bytes) -> str:
        return render(text, {"__data_loc char[] d": string + b"\0"}, abi=abi)

    assert printed(b"/usr/<a>~b.txt:x") == "/usr/<a>~b.txt:x"
    assert printed(b"a\0< ='\x7f") == r"a\000<\040\075\047\177"
    assert printed(b'\n\r\t\v\f\a\x1b"\\') == r"\n\r\t\v\f\a\e\"\\"
    assert printed("\u2026".encode()) == r"\342\200\246"
    size = 6117 if abi.long_size == 8 else 6129
    assert printed(b"a" * (size - 1)) == "a" * (size - 1)
    assert printed(b"a" * (size - 7) + b" bbbbb") == "a" * (size - 7) + "\u2026"
    assert printed(b"a" * (size - 8) + b" bbbb") == "a" * (size - 8) + r"\040" + "\u2026"
    assert printed(b"a" * (size - 4) + b" ") == "a" * (size - 4) + "\u2026"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_landlock_layers(abi: Abi) -> None:
    text = (
        '"%s", ({ static const struct trace_print_flags names[] = { { (1ULL << 0), "exec" }, { (1ULL << 2), "read" } };'
        " __trace_landlock_print_layers( p, __get_dynamic_array(d), __get_dynamic_array_len(d) / sizeof(access_mask_t),"
        " names, (sizeof(names) / sizeof((names)[0]))); })"
    )
    for grants, expected in (((5, 0, 1), "{exec|read,,exec}"), ((0x80000002,), "{}"), ((4,), "{read}"), ((), "{}")):
        dynamic = b"".join(mask.to_bytes(4, abi.byteorder) for mask in grants)
        fields: dict[str, Any] = {"access_mask_t asked": 5, "__data_loc access_mask_t[] d": dynamic}
        assert render(text, fields, abi=abi) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(1, "one"), (-1, "minus"), (7, "0x7"), (2, "0x2"), (-2, "0xfffffffffffffffe")]
)
def test_print_symbolic(value: int, expected: str) -> None:
    text = '"%s", __print_symbolic(REC->v, { 1, "one" }, { 1, "uno" }, { -1, "minus" }, { 2, "" })'
    assert render(text, {"int v": value}) == expected
    assert render(text.replace("symbolic", "symbolic_u64"), {"int v": value}) == expected


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_arrays_and_hex(abi: Abi) -> None:
    order = abi.byteorder
    dynamic = b"".join(v.to_bytes(2, order) for v in (1, 0x203))
    fields: dict[str, Any] = {"__data_loc u16[] d": dynamic, "u8 b[20]": bytes(range(20)), "u8 n": 3}
    spaced = bytes(range(20)).hex(" ")
    for text, expected in (
        ('__print_hex(REC->b, sizeof(REC->b))', spaced),
        ('__print_hex(REC->b, REC->n)', "00 01 02"),
        ('__print_hex_str(REC->b, 4)', "00010203"),
        ('__print_hex(__get_dynamic_array(d), __get_dynamic_array_len(d))', dynamic.hex(" ")),
        ('__print_array(__get_dynamic_array(d), __get_dynamic_array_len(d) / 2, 2)', "{0x1,0x203}"),
        ('__print_array(REC->b, REC->n, sizeof(u8))', "{0x0,0x1,0x2}"),
        ('__print_array(REC->b, 0, 1)', "{}"),
        ('__print_dynamic_array(d, 2)', "{0x1,0x203}"),
        ('__print_hex_dump("p: ", 2, 16, 1, REC->b, 20, 1)',
         "\np: 00000000: " + bytes(range(16)).hex(" ") + "  ................\n"
         "p: 00000010: 10 11 12 13" + " " * 38 + "....\n"),
    ):  # fmt: skip
        assert render(f'"%s", {text}', fields, abi=abi) == expected, text
    assert render('"%d", __get_dynamic_array_len(d)', fields, abi=abi) == "4"
    assert render('"%u", ((u16 *)__get_dynamic_array(d))[1]', fields, abi=abi) == str(0x203)


def test_rows_of_a_hex_dump_are_grouped_one_by_one() -> None:
    dump = hex_dump(bytes(range(22)), "", False, 16, 4, True, "little")
    assert dump == (
        "\n03020100 07060504 0b0a0908 0f0e0d0c  ................\n"
        "10 11 12 13 14 15" + " " * 32 + "......\n"
    )  # fmt: skip


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_masks_and_stacks(abi: Abi) -> None:
    size, order = abi.long_size, abi.byteorder
    mask = (5).to_bytes(size, order)
    stack = b"".join(v.to_bytes(size, order) for v in (0x10, 0x20))
    fields = {"__data_loc cpumask_t c": mask, "__data_loc unsigned long[] s": stack}
    expected = "00000000,00000005" if size == 8 else "00000005"
    assert render('"%s", __get_cpumask(c)', fields, abi=abi) == expected
    assert render('"%s", __get_bitmask(c)', fields, abi=abi) == expected
    assert render('"%s", __get_stacktrace(s)', fields, abi=abi) == "=> 0x10\n=> 0x20"


def test_times_and_irqs() -> None:
    fields = {"u64 t": 5_000_000_123}
    assert render('"%llu.%09u", __print_ns_to_secs(REC->t), __print_ns_without_secs(REC->t)', fields) == "5.000000123"
    assert render('"%u %d", jiffies_to_msecs(REC->t), HZ', {"unsigned long t": 10}, hz=250) == "40 250"
    age = '"%lu", (jiffies - REC->t) / 250'
    assert render(age, {"unsigned long t": 10}, variables={"jiffies": 1010}) == "4"
    late = '"%lld %lld %lld", ktime_to_us(REC->k), ktime_to_ms(REC->k), ktime_to_ns(REC->k)'
    assert render(late, {"s64 k": -1_500_999}) == "-1500 -1 -1500999"
    assert render('"%d", __event_in_hardirq() ? 1 : 0', flags=0x08) == "1"
    assert render('"%d%d", !!__event_in_softirq(), !!__event_in_irq()', flags=0x08) == "01"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_dynamic_strings(abi: Abi) -> None:
    fields = {"__data_loc char[] a": b"first\0", "__rel_loc char[] b": b"second\0", "u8 n": 1}
    assert render('"%s,%s,%u", __get_str(a), __get_rel_str(b), REC->n', fields, abi=abi) == "first,second,1"
    assert render('"%.*s", __get_dynamic_array_len(a) - 3, __get_str(a)', fields, abi=abi) == "fir"
    assert render('"%s", __get_str(a)[0] ? "x" : "-"', fields, abi=abi) == "x"
    assert render('"%s", REC->n ? __get_str(a) : "none"', fields, abi=abi) == "first"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_a_bad_data_loc_costs_only_its_row(abi: Abi) -> None:
    event = Event('"%s %d", __get_str(a), REC->n', {"__data_loc char[] a": b"", "int n": 0}, abi=abi)
    good = {"__data_loc char[] a": b"ok\0", "int n": 1}
    bad = [{"__data_loc char[] a": word, "int n": 2} for word in (0xFFFF0010, 0x0004FFFF, 0xFFFFFFFF, 0x00010100)]
    assert event.render([good, *bad, good]) == ["ok 1", *["(bad __data_loc) 2"] * 4, "ok 1"]
    array = Event('"%s %d %d", __print_array(__get_dynamic_array(a), __get_dynamic_array_len(a), 1), '
                  '__get_dynamic_array_len(a), *(u8 *)__get_dynamic_array(a)',
                  {"__data_loc char[] a": b"", "int n": 0}, abi=abi)  # fmt: skip
    assert array.render([bad[0], good]) == ["(bad __data_loc) 0 0", "{0x6f,0x6b,0x0} 3 111"]


def test_a_length_from_the_record_never_reads_behind_it() -> None:
    fields = {"u8 b[4]": b"\1\2\3\4", "u32 n": 0xFFFFFFF0}
    assert render('"%s", __print_hex(REC->b, REC->n)', fields) == "(bad __data_loc)"
    assert render('"%s", __print_array(REC->b, REC->n, 8)', fields) == "(bad __data_loc)"
    assert render('"%*ph", REC->n, REC->b', fields) == "(bad __data_loc)"
    assert render('"%d", REC->b[REC->n]', fields) == "0"


def test_zero_data_loc_is_an_empty_string() -> None:
    assert render('"<%s>", __get_str(a)', {"__data_loc char[] a": 0}) == "<>"


def test_trap_13_padding_of_the_record_is_no_part_of_its_strings() -> None:
    # the record is padded to 4 bytes; a string ends at its own length
    assert render('"%s|", __get_str(a)', {"__data_loc char[] a": b"abcde"}) == "abcde|"


@pytest.mark.parametrize("abi", ALL, ids=str)
def test_trap_14_strings_behind_pointers(abi: Abi) -> None:
    strings = {0x1000: "mas_store", 0x2000: ""}
    fields = {"const char * fn": 0x1000}
    event = Event('"%s|%4s|%.3s", REC->fn, REC->fn, REC->fn', fields, abi=abi)
    records = [{"const char * fn": addr} for addr in (0x1000, 0x2000, 0, 0x3000)]
    assert event.render(records, string_at=strings.get) == [
        "mas_store|mas_store|mas", "|    |", "(null)|(null)|(nu", "(0x3000)|(0x3000)|(0x"
    ]  # fmt: skip


def test_fields_of_the_same_name_and_arrays_that_files_misplace() -> None:
    fields = {"__data_loc char[] type": b"cache\0", "int type": 3}
    assert render('"%s %d", __get_str(type), REC->type', fields) == "cache 3"
    head = "name: ev\nID: 1\nformat:\n" + COMMON + "\tfield:u32 first;\toffset:8;\tsize:4;\tsigned:0;\n"
    text = '\nprint fmt: "%u %u %u %u %d", REC->first, REC->nid[0], REC->nid[1], REC->nid[2], REC->depth\n'
    event = Event('""', {"u32 a[5]": [1, 2, 3, 4, 5]})
    rows = event.rows([{"u32 a[5]": [1, 2, 3, 4, 5]}])
    lines = "\tfield:u32 nid[3];\toffset:12;\tsize:4;\tsigned:0;\n\tfield:int depth;\toffset:16;\tsize:4;\tsigned:1;\n"
    assert compile_print_fmt(parse_format(head + lines + text), event.facts())(rows) == ["ev: 1 2 3 4 5\n"]


def test_a_record_too_short_for_its_fields_says_so() -> None:
    event = Event('"%d", REC->b', {"int a": 0, "int b": 0})
    short = Event('""', {"int a": 7}).pack({"int a": 7})
    long = event.pack({"int a": 7, "int b": 8})
    entries, memory = pack([Rec(100, 1, long), Rec(100, 1, short)])
    render_ = compile_print_fmt(event.format, event.facts())
    assert render_(entries.rows(memory)) == ["ev: 8\n", "ev: (record too short)\n"]


def test_quotes_in_a_template_are_not_escaped() -> None:
    fields = {"char s[4]": b"x", "int n": 1}
    assert render('""%s" (%d)", REC->s, REC->n', fields) == '"x" (1)'
    assert render('"a="%s", b="%s", n=%d", REC->s, REC->n ? "q\\", " : "", REC->n', fields) == 'a="x", b="q", ", n=1'
    assert render('"n="%d"", REC->n', fields) == 'n="1"'


def test_arrays_of_the_kernel_that_are_protocol() -> None:
    text = (
        '"%s", (((REC->cmd) >> 0) & ((1 << 8)-1)) < (sizeof(binder_return_strings) / sizeof((binder_return_strings)[0])'
        " + (sizeof(struct { int:-!!(__builtin_types_compatible_p(typeof((binder_return_strings)), "
        "typeof(&(binder_return_strings)[0]))); }))) ? binder_return_strings[(((REC->cmd) >> 0) & ((1 << 8)-1))]"
        ' : "unknown"'
    )
    event = Event(text, {"u32 cmd": 0})
    assert event.render([{"u32 cmd": v} for v in (0x7202, 0x720C, 0x72FF)]) == ["BR_TRANSACTION", "BR_NOOP", "unknown"]


def test_small_decoders() -> None:
    assert render('"%s", mc_event_error_type(REC->e)', {"u32 e": 1}) == "Uncorrected"
    assert render('"%s", xen_hypercall_name(REC->o)', {"u32 o": 1}) == "(mmu_update)"
    text = '"%llx", (unsigned long long)pte_val(native_make_pte(REC->v))'
    assert render(text, {"u64 v": 0x8000000000000063}) == "8000000000000063"


def test_block_operations_are_numbered_as_the_types_of_the_kernel_say() -> None:
    known = {"REQ_OP_READ": 0, "REQ_OP_ZONE_RESET": 17, "REQ_OP_LAST": 36, "BLK_ZONE_COND_FULL": 14}
    print_fmt = '"%s%s %-4s|", nullb_trace_disk_name(p, REC->disk), blk_op_str(REC->op), blk_zone_cond_str(REC->cond)'

    def line(disk: bytes, op: int, cond: int) -> str:
        fields = {"char disk[8]": disk, "int op": op, "int cond": cond}
        return render(print_fmt, fields, constant=lambda name, event: known.get(name))

    assert line(b"nullb0\0\0", 17, 14) == "disk=nullb0, ZONE_RESET FULL|"
    assert line(bytes(8), 36, -1) == "UNKNOWN UNKNOWN|"
