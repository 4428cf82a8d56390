# SPDX-License-Identifier: Apache-2.0
"""Formats of real images against the kernel's own: every event of a copy of tracefs that the image holds."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from pathlib import Path

import pytest

from rbdump.abi import Abi
from rbdump.errors import SourceError
from rbdump.kernel.cache import ImageCache
from rbdump.kernel.events.formats import CACHE_NAME, ImageFormats, image_formats, read_formats
from rbdump.kernel.image import KernelImage, load_image
from rbdump.kernel.types.imagetypes import image_types
from rbdump.kernel.types.inferred import InferredTypes
from tests.conftest import SHARED
from tests.eventwriter import EventWriter, FakeImage
from tests.kernel.types.test_inferred import kernel

KERNELS = [
    ("6.12.43-amd64", "6.12.43/sched", 1546, 1548),
    ("7.3.4-amd64", "7.3.4/sched", 1663, 1666),
    ("6.12.107-s390x", "s390x-6.12.107/sched", 1305, 1307),
]


def load_shared(kernel: str) -> KernelImage:
    path = SHARED / "kernels" / f"vmlinuz-{kernel}"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    return load_image(str(path), cache=False)


def kernel_texts(sample: str) -> tuple[dict[tuple[str, str], str], str]:
    """``(system, name)`` -> format file, and printk_formats, of a sample's copy of tracefs."""
    archive = next((SHARED / "samples" / sample).glob("tracefs.tar*"), None)
    if archive is None:
        pytest.skip(f"sample {sample} is not beside this checkout")
    data = archive.read_bytes()
    texts: dict[tuple[str, str], str] = {}
    printk = ""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(data) if archive.suffix == ".xz" else data)) as tar:
        for member in tar:
            parts = member.name.split("/")
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None and parts[-1] == "format" and "events" in parts:
                texts[parts[-3], parts[-2]] = file.read().decode("utf-8", "replace")
            elif file is not None and parts[-1] == "printk_formats":
                printk = file.read().decode("utf-8", "replace")
    return texts, printk


@pytest.mark.parametrize(("kernel", "sample", "count", "next_id"), KERNELS)
def test_every_event_of_the_kernel_to_the_byte(kernel: str, sample: str, count: int, next_id: int) -> None:
    formats = image_formats(load_shared(kernel))
    texts, printk = kernel_texts(sample)
    ours = {(event.system, event.name): event.text for event in formats.events}
    assert len(ours) == len(formats.events) == count
    different = [key for key, text in ours.items() if texts.get(key) != text]
    assert different == []
    assert [key for key in texts if key not in ours] == []
    assert formats.next_id == next_id
    assert formats.findings == []
    theirs = dict(re.findall(r'^0x([0-9a-f]+) : "(.*)"$', printk, re.MULTILINE))
    assert list(theirs.values()) == list(formats.printk_formats.values())
    assert len({int(addr, 16) - link for addr, link in zip(theirs, formats.printk_formats, strict=True)}) == 1


class CachedImage(FakeImage):
    """An image that a cache remembers."""

    cache: ImageCache
    vmlinux = None


def cached_image(tmp_path: Path, *, btf: bool = True) -> CachedImage:
    out = EventWriter()
    out.event("sched", "sched_switch", [("int", "pid", 4, 4, True, 0)], '"%d", REC->pid')
    built = out.build(btf=btf)
    image = CachedImage(built.memory, built.symbols, built.btf, built.abi, built.machine)
    image.cache = ImageCache("0" * 64, root=tmp_path)
    return image


def test_the_second_run_reads_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = image_formats(cached_image(tmp_path))  # type: ignore[arg-type]
    monkeypatch.setattr("rbdump.kernel.events.formats.read_formats", None)
    second = image_formats(cached_image(tmp_path))  # type: ignore[arg-type]
    assert second == first
    assert [event.name for event in second.events] == ["sched_switch"]


def test_a_broken_cache_is_not_believed(tmp_path: Path) -> None:
    image = cached_image(tmp_path)
    image.cache.store(CACHE_NAME, b'{"events": 1}')
    formats = image_formats(image)  # type: ignore[arg-type]
    assert len(formats.events) == 1
    stored = image.cache.load(CACHE_NAME)
    assert stored is not None
    assert ImageFormats.from_bytes(stored) == formats


def test_an_image_without_types_that_shows_too_little_says_what_would_help(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither BTF nor DWARF.*debug information.*copy of tracefs"):
        image_types(cached_image(tmp_path, btf=False))  # type: ignore[arg-type]


def test_what_was_inferred_without_types_is_said(tmp_path: Path) -> None:
    built = kernel(Abi("little", 8)).build(btf=False)
    image = CachedImage(built.memory, built.symbols, None, built.abi, built.machine)
    image.cache = ImageCache("0" * 64, root=tmp_path)
    formats = image_formats(image)  # type: ignore[arg-type]
    assert [finding.code for finding in formats.findings] == ["layouts-inferred"]
    assert image_formats(image) == formats  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "count"), [(row[0], row[2]) for row in KERNELS[1:]])
def test_tables_show_what_btf_says(name: str, count: int) -> None:
    image = load_shared(name)
    shown = read_formats(image, InferredTypes(image), image.machine)
    described = read_formats(image, image_types(image), image.machine)
    assert len(shown.events) == count
    assert shown.events == described.events
    assert shown.next_id == described.next_id
