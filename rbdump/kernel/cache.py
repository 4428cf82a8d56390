# SPDX-License-Identifier: Apache-2.0
"""What was derived from an image, kept for the next run under the XDG cache folder.

Files are replaced in one step and carry a checksum, so that two runs at once, a full disk or a killed run do no harm:
what cannot be read back whole counts as absent. Nothing that is executed or unpickled is ever stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zlib
from pathlib import Path

__all__ = ["ImageCache"]

_FORMAT = 4
"""Raise it when anything that is stored changes its meaning, or was wrong."""
_MAGIC = b"rbdump\x00\x01"
_HEADER = len(_MAGIC) + 12
_MAX_IMAGES = 24


class ImageCache:
    """Named blobs for one image."""

    def __init__(self, key: str, *, enabled: bool = True, root: Path | None = None) -> None:
        """``key`` is the SHA-256 of the image file in hex. A disabled cache is always empty."""
        self._folder: Path | None = None
        if enabled and (root := root or _default_root()) is not None:
            self._folder = root / f"images-{_FORMAT}" / key

    def load(self, name: str) -> bytes | None:
        """What was stored under ``name`` for this image; None when there is nothing whole."""
        if self._folder is None:
            return None
        try:
            blob = (self._folder / name).read_bytes()
        except OSError:
            return None
        body = blob[_HEADER:]
        size, crc = len(body).to_bytes(8, "little"), zlib.crc32(body).to_bytes(4, "little")
        return body if blob[:_HEADER] == _MAGIC + size + crc else None

    def store(self, name: str, body: bytes) -> None:
        """Keep ``body``; silently does nothing where the folder cannot be written."""
        if self._folder is None:
            return
        header = _MAGIC + len(body).to_bytes(8, "little") + zlib.crc32(body).to_bytes(4, "little")
        with contextlib.suppress(OSError):
            new = not self._folder.exists()
            self._folder.mkdir(parents=True, exist_ok=True)
            if new:
                _drop_oldest(self._folder.parent)
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(header)
                    file.write(body)
                os.replace(temporary, self._folder / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise


def _default_root() -> Path | None:
    """$XDG_CACHE_HOME/rbdump, by default ~/.cache/rbdump; None for a user without a home."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(configured):  # the XDG specification: relative paths are invalid and ignored
        return Path(configured) / "rbdump"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "rbdump" if os.path.isabs(home) else None


def _drop_oldest(folder: Path) -> None:
    """Keep the number of images in bounds; the least recently created ones go first."""
    images = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in images[:-_MAX_IMAGES]:
        shutil.rmtree(old, ignore_errors=True)
