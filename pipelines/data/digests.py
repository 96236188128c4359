"""sha256 of a lake's files whose names do not carry it, kept between steps until a file changes.

A file's state tells whether it changed: size, inode, and the times of its last write and of its last change
(which no program can set), or what an object store says of it. A file that was written a moment ago may be
written again within the same tick of the clock, so its digest is not kept yet (as git does with its index).
`verify` never reads this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipelines.core.files import sha256_of_stream, write_atomically

SETTLED_S = 2.0


class FileDigests:
    """Digests of files in an fsspec file system, kept in the file `kept`; None keeps none."""

    def __init__(self, fs: Any, kept: Path | None) -> None:
        self._fs, self._kept = fs, kept

    def of(self, paths: Sequence[str], versions: Mapping[str, str] | None = None) -> dict[str, str]:
        """sha256 (hex) of each file. `versions`: what a listing of an object store said of them."""
        known, fresh, found = self._read(), False, {}
        for path in paths:
            state = (versions or {}).get(path) or self._state(path)
            if not state or known.get(path, ("", ""))[0] != state:
                known[path], fresh = (state, sha256_at(self._fs, path)), True
            found[path] = known[path][1]
        if fresh and self._kept:  # of two steps at once the later one's stay; the others are computed again
            settled = {path: kept for path, kept in known.items() if kept[0]}
            write_atomically(self._kept, json.dumps(settled).encode())
        return found

    def _state(self, path: str) -> str:
        """A text that is another one after a change; empty where the file is too new to tell."""
        if not isinstance(self._fs, LocalFileSystem):
            return str(self._fs.ukey(path))
        found = Path(path).stat()
        if time.time() - max(found.st_mtime, found.st_ctime) < SETTLED_S:
            return ""
        return f"{found.st_size} {found.st_ino} {found.st_dev} {found.st_mtime_ns} {found.st_ctime_ns}"

    def _read(self) -> dict[str, tuple[str, str]]:
        if self._kept is None or not self._kept.exists():
            return {}
        return {path: (state, sha) for path, (state, sha) in json.loads(self._kept.read_bytes()).items()}


def sha256_at(fs: Any, path: str) -> str:
    """sha256 (hex) of a file in an fsspec file system."""
    with fs.open(path, "rb") as file:
        return sha256_of_stream(file)
