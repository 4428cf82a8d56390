# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from rbdump.abi import Abi
from rbdump.events.builtin import builtin_formats
from rbdump.events.catalog import Catalog
from rbdump.events.texts import FormatTexts

COMMON = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"


def text(name: str, event_id: int) -> str:
    return f'name: {name}\nID: {event_id}\nformat:\n{COMMON}\nprint fmt: ""\n'


def source(origin: str, *events: tuple[str, str, int]) -> FormatTexts:
    texts = FormatTexts(origin)
    for system, name, event_id in events:
        assert texts.add(system, name, text(name, event_id))
    return texts


def catalog() -> Catalog:
    tracefs = source("copy.tar", ("sched", "sched_switch", 300), ("sched", "sched_waking", 301), ("irq", "entry", 302))
    image = source("vmlinuz", ("sched", "sched_switch", 310), ("block", "late", 302), ("kmem", "kfree", 330))
    return Catalog([tracefs, image, builtin_formats(Abi("little", 8), 21)], 21)


def test_the_first_source_that_has_an_id_decides() -> None:
    both = catalog()
    switch = both.get(300)
    assert switch is not None
    assert switch.name == "sched_switch"
    entry = both.get(302)
    assert entry is not None
    assert entry.name == "entry"
    assert sorted(both.parsed([300, 330, 331])) == [300, 330]


def test_names() -> None:
    both = catalog()
    for name in ("sched_switch", "sched:sched_switch"):
        found = both.by_name(name)
        assert found is not None
        assert found.id == 300
    assert both.by_name("block:late") is None  # its id is irq:entry by the source before
    assert both.by_name("sched:nothing") is None
    own = both.by_name("ftrace:function")
    assert own is not None
    assert own.id == 1


def test_trap_11_the_same_id_is_another_event_in_another_source() -> None:
    assert ("block", "late") not in catalog().names()


def test_patterns() -> None:
    both = catalog()
    assert both.ids("sched:*") == [300, 301]
    assert both.ids("sched:") == [300, 301]
    assert both.ids("sched") == [300, 301]
    assert both.ids("sched_sw*") == [300]
    assert both.ids("*:sched_w?king") == [301]
    assert both.ids("sched:sched_switch") == [300]
    assert both.ids("ftrace:print") == [5]
    assert both.ids("1548") == [1548]
    assert both.ids("99999") == []
    assert both.ids("nothing") == []
    assert "sched_switch" in both.near("sched_swich")


def test_broken_formats_are_said_once_and_the_next_source_is_asked() -> None:
    first = FormatTexts("first")
    assert first.add("x", "bad", "name: bad\nID: 40\nformat:\n\tgarbage\n")
    assert first.add("x", "worse", "name: worse\nID: 41\nformat:\n\tgarbage\n")
    both = Catalog([first, source("second", ("x", "good", 40))])
    for _ in range(2):
        good = both.get(40)
        assert good is not None
        assert good.name == "good"
        assert both.get(41) is None
    assert [f.code for f in both.findings] == ["broken-format", "broken-format"]
    assert "format of x:worse" in both.why_unknown(41)


def test_why_an_id_is_unknown() -> None:
    own = builtin_formats(Abi("little", 8), 21)
    assert "nothing was given" in Catalog([own]).why_unknown(300)
    both = Catalog([source("copy.tar", ("a", "b", 25), ("a", "c", 30)), own])
    assert "module" in both.why_unknown(31)
    assert both.why_unknown(30) == both.why_unknown(21) == "copy.tar does not list it"
    assert both.why_unknown(27) == "copy.tar does not list it"
    assert "too short" in both.why_unknown(0)
    assert "ftrace's own" in Catalog([own], 22).why_unknown(21)


def test_texts_take_an_id_once() -> None:
    texts = source("x", ("a", "b", 25))
    assert not texts.add("a", "again", text("again", 25))
    assert not texts.add("a", "none", "no id")
    assert texts[25].name == "b"
