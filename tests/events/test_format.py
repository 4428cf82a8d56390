# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbdump.events.format import Field, FormatError, parse_format, parse_header_event, parse_header_page
from tests.conftest import SHARED
from tests.events.records import format_text

SWITCH = """name: sched_switch
ID: 316
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:char prev_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t prev_pid;	offset:24;	size:4;	signed:1;
	field:__data_loc unsigned long[] stack;	offset:28;	size:4;	signed:0;
	field:__rel_loc char[] text;	offset:32;	size:4;	signed:0;
	field:unsigned long caller[8];	offset:40;	size:64;	signed:0;
	field:const char * fmt;	offset:104;	size:8;	signed:0;
	field:u32 buf[];	offset:112;	size:0;	signed:0;

print fmt: "prev_comm=%s prev_pid=%d", REC->prev_comm, REC->prev_pid
"""
HEADER = SWITCH[: SWITCH.index("\tfield:char prev_comm")]


def field_of(declaration: str, size: int) -> tuple[str, str, int | None, int]:
    text = f'{HEADER}\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:0;\n\nprint fmt: ""\n'
    (field,) = parse_format(text).fields
    return field.type, field.name, field.array_length, field.element_size


def test_a_format_file() -> None:
    fmt = parse_format(SWITCH, "sched", "events/sched/sched_switch/format")
    assert (fmt.system, fmt.name, fmt.id) == ("sched", "sched_switch", 316)
    assert [f.name for f in fmt.common_fields] == ["common_type", "common_flags", "common_preempt_count", "common_pid"]
    assert [(f.name, f.type, f.offset, f.size, f.signed, f.array_length, f.element_size) for f in fmt.fields] == [
        ("prev_comm", "char[16]", 8, 16, False, 16, 1),
        ("prev_pid", "pid_t", 24, 4, True, None, 4),
        ("stack", "__data_loc unsigned long[]", 28, 4, False, None, 8),
        ("text", "__rel_loc char[]", 32, 4, False, None, 1),
        ("caller", "unsigned long[8]", 40, 64, False, 8, 8),
        ("fmt", "const char *", 104, 8, False, None, 8),
        ("buf", "u32[]", 112, 0, False, None, 4),
    ]
    assert fmt.print_fmt == '"prev_comm=%s prev_pid=%d", REC->prev_comm, REC->prev_pid'
    assert [f.is_string for f in fmt.fields] == [True, False, False, True, False, False, False]
    assert [f.is_data_loc for f in fmt.fields].index(True) == 2
    assert [f.is_rel_loc for f in fmt.fields].index(True) == 3


def test_the_folder_names_the_event() -> None:
    assert parse_format(SWITCH, "alpha", name="beta").name == "beta"


@pytest.mark.parametrize(
    ("declaration", "size", "expected"),
    [
        ("char ssid[32 + 1]", 33, ("char[32 + 1]", "ssid", 33, 1)),
        ("u8 ht_capa[(int)sizeof(struct x)]", 26, ("u8[(int)sizeof(struct x)]", "ht_capa", 26, 1)),
        ("int rate[NUM_BANDS]", 20, ("int[NUM_BANDS]", "rate", 5, 4)),
        ("u32 dscp[16 * 2]", 128, ("u32[16 * 2]", "dscp", 32, 4)),
        ("nid_t nid[3]", 4, ("nid_t[3]", "nid", 1, 4)),
        ("nid_t nid[3]", 12, ("nid_t[3]", "nid", 3, 4)),
        ("struct foo bar[3]", 24, ("struct foo[3]", "bar", 3, 8)),
        ("void * p[2]", 16, ("void *[2]", "p", 2, 8)),
        ("struct   thing  *  p", 8, ("struct thing *", "p", None, 8)),
        ("__data_loc cpumask_t mask", 4, ("__data_loc cpumask_t", "mask", None, 8)),
        ("__data_loc struct x *[] list", 4, ("__data_loc struct x *[]", "list", None, 8)),
        ("__data_loc struct odd[] list", 4, ("__data_loc struct odd[]", "list", None, 1)),
        ("__data_loc char[] who", 8, ("__data_loc char[]", "who", None, 1)),
        ("u8 none[0]", 0, ("u8[0]", "none", None, 1)),
        ("enum state s", 4, ("enum state", "s", None, 4)),
    ],
)
def test_declarations(declaration: str, size: int, expected: tuple[str, str, int | None, int]) -> None:
    assert field_of(declaration, size) == expected


def test_the_word_size_decides_dynamic_longs() -> None:
    fmt = parse_format(SWITCH, long_size=4)
    assert fmt.fields[2].element_size == 4


def test_blanks_instead_of_tabs_old_fields_and_several_lines_of_print_fmt() -> None:
    text = (
        SWITCH.replace("\t", "       ").replace("       signed:1;", "").replace('"prev_comm=%s', '"a\nb" "prev_comm=%s')
    )
    fmt = parse_format(text)
    assert fmt.fields[1].signed is False
    assert fmt.print_fmt.startswith('"a\nb" "prev_comm')


def test_an_event_without_print_fmt() -> None:
    fmt = parse_format(HEADER)
    assert fmt.fields == ()
    assert fmt.print_fmt == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with the lines"),
        ("name: x\nID: y\nformat:\n", "begins with the lines"),
        ("name: x\nID: 99999\nformat:\n", "does not fit the 16 bits"),
        ('name: x\nID: 3\nformat:\n\nprint fmt: ""\n', "no common field"),
        (SWITCH.replace("offset:24;", "offset:x;"), "line 10: this is no field line"),
        (SWITCH.replace("offset:24;", "offset:" + "9" * 5000 + ";"), "this is no field line"),
        (SWITCH[: SWITCH.index("prev_pid;")], "ends in the middle of a line"),
        (
            SWITCH.replace("text;	offset:32;	size:4;", "text;	offset:32;	size:2;"),
            "dynamic field text has 2 bytes",
        ),
        ("x" * 2_000_000, "too many"),
    ],
)
def test_broken_files_give_one_sentence(text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words) as error:
        parse_format(text, "sched", "copy.tar: events/sched/sched_switch/format")
    assert str(error.value).startswith("copy.tar: events/sched/sched_switch/format")
    assert "\n" not in str(error.value)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_files_parse_or_give_format_error(data: st.DataObject) -> None:
    text = bytearray(SWITCH.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 40)))
        text[begin:end] = data.draw(st.binary(max_size=8))
    mutated = text.decode("utf-8", "surrogateescape")
    try:
        fmt = parse_format(mutated, "sched")
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most mutations still parse
        return
    assert 0 <= fmt.id <= 0xFFFF
    assert all(f.size >= 0 and f.offset >= 0 and f.element_size >= 0 for f in fmt.fields)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=2000))
def test_any_text_is_survived(text: str) -> None:
    for parse in (parse_format, parse_header_page, parse_header_event):
        with pytest.raises(FormatError):
            parse(text)


HEADER_PAGE = """	field: u64 timestamp;	offset:0;	size:8;	signed:0;
	field: local_t commit;	offset:8;	size:{word};	signed:1;
	field: int overwrite;	offset:8;	size:1;	signed:1;
	field: char data;	offset:{data};	size:{size};	signed:0;
"""


@pytest.mark.parametrize(("word", "subbuf"), [(4, 4096), (8, 4096), (8, 65536)])
def test_header_page(word: int, subbuf: int) -> None:
    page = parse_header_page(HEADER_PAGE.format(word=word, data=8 + word, size=subbuf - 8 - word))
    assert page.long_size == word
    assert page.data_offset + page.data_size == subbuf
    with pytest.raises(FormatError, match="neither 4 nor 8"):
        parse_header_page(HEADER_PAGE.format(word=2, data=12, size=100))
    with pytest.raises(FormatError, match="not all there"):
        parse_header_page("".join(HEADER_PAGE.splitlines(True)[:2]).format(word=8))


@pytest.mark.parametrize("count", [2, 3, 64])
def test_a_probe_may_have_arrays_of_strings(count: int) -> None:
    def fields(size: int) -> tuple[Field, ...]:
        declared = (f"__data_loc char[][{count}] a", 8, size, 1)
        return parse_format(format_text("p", 9, declared), "kprobes").fields

    (found,) = fields(4 * count)
    assert (found.array_length, found.element_size, found.is_string, found.is_dynamic) == (count, 1, True, True)
    with pytest.raises(FormatError, match="neither 4 nor 8"):
        fields(4 * count + 4)


def test_header_event() -> None:
    text = (
        "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\tarray       :   32 bits\n\n"
        "\tpadding     : type == 29\n\ttime_extend : type == 30\n"
        "\ttime_stamp : type == 31\n\tdata max type_len  == 28\n"
    )
    assert parse_header_event(text) == {
        "type_len": 5,
        "time_delta": 27,
        "array": 32,
        "padding": 29,
        "time_extend": 30,
        "time_stamp": 31,
        "data max type_len": 28,
    }
    with pytest.raises(FormatError, match="no line of a header_event"):
        parse_header_event(text + "nonsense\n")


def test_every_format_file_of_real_devices_parses() -> None:
    corpus = SHARED / "peerdata" / "perfetto.tar.xz"
    if not corpus.exists():
        pytest.skip("the corpus of format files (../shared/peerdata) is not there")
    parsed = headers = 0
    with tarfile.open(corpus) as archive:
        for member in archive:
            parts = member.name.split("/")
            file = archive.extractfile(member)
            if file is None:
                continue
            text = io.TextIOWrapper(file, "utf-8", "surrogateescape").read()
            if parts[-1] == "format" and parts[-4] == "events":
                fmt = parse_format(text, parts[-3], member.name)
                assert fmt.name == parts[-2]
                parsed += 1
            elif parts[-1] == "header_page":
                assert parse_header_page(text).data_size in (4080, 4084)
                headers += 1
            elif parts[-1] == "header_event":
                assert parse_header_event(text)["padding"] == 29
                headers += 1
    assert parsed == 4770
    assert headers >= 15
