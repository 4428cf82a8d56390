# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rbdump.kernel.cache import ImageCache


def test_gives_back_what_was_stored(tmp_path: Path) -> None:
    cache = ImageCache("ab" * 32, root=tmp_path)
    assert cache.load("formats") is None
    cache.store("formats", b"one")
    cache.store("formats", b"two")
    cache.store("empty", b"")
    assert ImageCache("ab" * 32, root=tmp_path).load("formats") == b"two"
    assert cache.load("empty") == b""
    assert ImageCache("cd" * 32, root=tmp_path).load("formats") is None


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b[:-1] + b"?"])
def test_damaged_files_count_as_absent(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    cache = ImageCache("ab" * 32, root=tmp_path)
    cache.store("formats", b"something")
    (path,) = tmp_path.rglob("formats")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("formats") is None


def test_two_writers_at_once(tmp_path: Path) -> None:
    bodies = [bytes([n]) * 100_000 for n in range(4)]

    def write(body: bytes) -> None:
        for _ in range(20):
            ImageCache("ab" * 32, root=tmp_path).store("symbols", body)

    threads = [threading.Thread(target=write, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    seen = [ImageCache("ab" * 32, root=tmp_path).load("symbols") for _ in range(50)]
    for thread in threads:
        thread.join()
    assert all(body is None or body in bodies for body in seen)
    assert ImageCache("ab" * 32, root=tmp_path).load("symbols") in bodies
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["symbols"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ImageCache("ab" * 32, root=tmp_path / "file")
    cache.store("formats", b"x")
    assert cache.load("formats") is None


def test_disabled(tmp_path: Path) -> None:
    cache = ImageCache("ab" * 32, enabled=False, root=tmp_path)
    cache.store("formats", b"x")
    assert cache.load("formats") is None
    assert not list(tmp_path.iterdir())


def test_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    ImageCache("ab" * 32).store("formats", b"x")
    assert list((tmp_path / "xdg" / "rbdump").rglob("formats"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ImageCache("ab" * 32).store("formats", b"x")
    assert list((tmp_path / "home" / ".cache" / "rbdump").rglob("formats"))


def test_old_images_go(tmp_path: Path) -> None:
    for n in range(40):
        ImageCache(f"{n:064x}", root=tmp_path).store("formats", b"x")
    left = sorted(path.parent.name for path in tmp_path.rglob("formats"))
    assert len(left) <= 25
    assert f"{39:064x}" in left
