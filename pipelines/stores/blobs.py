"""Files under any fsspec URI: a local folder, S3, or memory in tests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipelines.core.errors import InputError
from pipelines.core.files import write_atomically


class Folder:
    """A folder at a URI. On a local disk its files are used in place; elsewhere they are copied."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._fs, root = fsspec.core.url_to_fs(self.uri)
        self._root = root.rstrip("/")
        self.is_local = isinstance(self._fs, LocalFileSystem)
        self._cache: Path | None = None

    def _at(self, relative: str) -> str:
        return f"{self._root}/{relative}" if relative else self._root

    def exists(self, relative: str) -> bool:
        return self._fs.exists(self._at(relative))

    def read_bytes(self, relative: str) -> bytes:
        return self._fs.cat_file(self._at(relative))

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Write all or nothing: a reader sees the old bytes or the new ones, also after a crash."""
        if not self.is_local:
            self._fs.pipe_file(self._at(relative), data)
            return
        write_atomically(Path(self._at(relative)), data)

    def remove(self, relative: str) -> None:
        if self.exists(relative):
            self._fs.rm(self._at(relative), recursive=True)

    def folders(self) -> list[str]:
        """Names of the folders directly inside, sorted."""
        if not self.exists(""):
            return []
        entries = self._fs.ls(self._root, detail=True)
        return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")

    def work_folder(self, relative: str) -> Path:
        """An empty local folder to write into; `publish` makes its content visible at `relative`."""
        self.remove(relative)
        if not self.is_local:
            return Path(tempfile.mkdtemp(prefix="nightshift-"))
        path = Path(self._at(relative))
        path.mkdir(parents=True)
        return path

    def publish(self, work: Path, relative: str) -> None:
        """Copy a `work_folder` to its place. On a local disk it is there already."""
        if not self.is_local:
            self._fs.put(f"{work}/", f"{self._at(relative)}/", recursive=True)
            shutil.rmtree(work)

    def local(self, relative: str) -> Path:
        """A local path with the content of a file or folder, copied once if it is elsewhere.

        Raises InputError where there is none.
        """
        if not self.exists(relative):
            raise InputError(
                f"There is nothing at {self.uri}/{relative}.", "Run the step that writes it again."
            )
        if self.is_local:
            return Path(self._at(relative))
        self._cache = self._cache or Path(tempfile.mkdtemp(prefix="nightshift-cache-"))
        target = self._cache / relative
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            recursive = self._fs.isdir(self._at(relative))
            self._fs.get(
                self._at(relative) + ("/" if recursive else ""),
                f"{target}{'/' if recursive else ''}",
                recursive=recursive,
            )
        return target
