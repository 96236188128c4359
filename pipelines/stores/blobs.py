"""Files under any fsspec URI: a local folder, S3, or memory in tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipelines.core.files import sha256_of_stream, write_atomically, write_once
from pipelines.stores.object_store import NOT_SO, code_of, file_system, is_s3, told


@dataclass(frozen=True)
class Stored:
    """What a listing says of a file."""

    size_bytes: int
    modified_at: float  # seconds since 1970
    version: str  # another text after a change; empty where the store has none


class Folder:
    """A folder at a URI, in the file system `fs`. `setting` is where the URI stands, which errors name."""

    def __init__(self, uri: str, setting: str = "runs_root") -> None:
        self.uri, self.setting = uri.rstrip("/"), setting
        self.fs, root = file_system(self.uri)
        self._root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def at(self, relative: str) -> str:
        """A path in the file system."""
        return f"{self._root}/{relative}" if relative else self._root

    def path(self, relative: str) -> Path:
        """Where a file lies on the local disk."""
        assert self.is_local, self.uri
        return Path(self.at(relative))

    def exists(self, relative: str) -> bool:
        with told(self.uri, self.setting):
            return self.fs.exists(self.at(relative))

    def stored(self, relative: str) -> Stored | None:
        """What the store says of one file; None where there is none."""
        with told(self.uri, self.setting):
            try:
                info = self.fs.info(self.at(relative))
            except FileNotFoundError as error:
                if not _is_missing(error):
                    raise
                return None
        return _stored(info) if info["type"] == "file" else None

    def read_bytes(self, relative: str) -> bytes:
        """Raises FileNotFoundError where there is no such file."""
        with told(self.uri, self.setting):
            return self.fs.cat_file(self.at(relative), **self._whole)

    def read_many(self, relatives: Iterable[str]) -> dict[str, bytes]:
        """The files that are there, read at once where the store can do that."""
        if self.is_local:
            paths = {relative: self.path(relative) for relative in relatives}
            return {relative: path.read_bytes() for relative, path in paths.items() if path.is_file()}
        wanted, found = {self.at(relative): relative for relative in relatives}, {}
        with told(self.uri, self.setting):
            read = self.fs.cat(list(wanted), on_error="return", **self._whole) if wanted else {}
        for path, content in read.items():
            if isinstance(content, bytes):
                found[wanted[path]] = content
            elif not _is_missing(content):
                with told(self.uri, self.setting):
                    raise content
        return found

    @property
    def _whole(self) -> dict[str, Any]:
        """One request a file on S3, which would ask for the size first."""
        return {"max_concurrency": 1} if is_s3(self.uri) else {}

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Write all or nothing: a reader sees the old bytes or the new ones, also after a crash."""
        if self.is_local:
            write_atomically(self.path(relative), data)
            return
        with told(self.uri, self.setting):
            self.fs.pipe_file(self.at(relative), data)

    def create(self, relative: str, data: bytes) -> bool:
        """Write a file where there is none. False, and nothing is changed, where there is one."""
        if self.is_local:
            return write_once(self.path(relative), data)
        return self._put_if(relative, data, mode="create")

    def replace(self, relative: str, data: bytes, version: str) -> bool:
        """Write a file over the version that was read. False, and nothing is changed, where it is another.

        On S3 only: no other file system of fsspec can do it.
        """
        assert is_s3(self.uri), self.uri
        return self._put_if(relative, data, IfMatch=version)

    def _put_if(self, relative: str, data: bytes, **condition: str) -> bool:
        with told(self.uri, self.setting):
            try:
                self.fs.pipe_file(self.at(relative), data, **condition)
            except FileExistsError:
                return False
            except OSError as error:
                if is_s3(self.uri) and code_of(error) in NOT_SO:
                    return False
                raise
        return True

    def version(self, relative: str) -> str:
        """The version of a file on S3, for `replace`; empty where there is none."""
        with told(self.uri, self.setting):
            try:
                return str(self.fs.info(self.at(relative))["ETag"])
            except FileNotFoundError:
                return ""

    def remove(self, relative: str) -> None:
        """Remove a file or a folder; one that is not there is removed already."""
        with told(self.uri, self.setting):
            try:
                self.fs.rm(self.at(relative), recursive=True)
            except FileNotFoundError:
                return

    def folders(self) -> list[str]:
        """Names of the folders directly inside, sorted."""
        with told(self.uri, self.setting):
            try:
                entries = self.fs.ls(self._root, detail=True)
            except FileNotFoundError as error:
                if not _is_missing(error):
                    raise
                return []
        return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")

    def files(self, below: str = "") -> dict[str, Stored]:
        """Every file below a folder, by its path in this one, but for those whose names begin with a dot."""
        with told(self.uri, self.setting):
            try:
                found = self.fs.find(self.at(below), detail=True)
            except FileNotFoundError as error:
                if not _is_missing(error):
                    raise
                return {}
        inside = {path: info for path, info in found.items() if path.startswith(f"{self.at(below)}/")}
        paths = ((path.removeprefix(f"{self._root}/"), info) for path, info in sorted(inside.items()))
        return {path: _stored(info) for path, info in paths if not path.rsplit("/", 1)[-1].startswith(".")}

    def upload(self, folder: Path, relative: str) -> None:
        """Copy a local folder's files to a folder here."""
        with told(self.uri, self.setting):
            self.fs.put(f"{folder}/", f"{self.at(relative)}/", recursive=True)

    def listed(self) -> Any:
        """A file system that knows the files of this moment by one listing, for readers that ask often.

        DuckDB asks S3 some twenty times for the size of a file that it reads.
        """
        if not is_s3(self.uri):
            return self.fs
        fs, root = file_system(self.uri, keep_listings=True)
        fs.invalidate_cache()
        fs.find(root)
        return fs

    def put_file(self, path: Path, relative: str) -> None:
        """Move a finished local file to its place, where it appears whole. Locally both share a disk."""
        if self.is_local:
            self.path(relative).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, self.path(relative))
            return
        with told(self.uri, self.setting):
            self.fs.put_file(str(path), self.at(relative))
        path.unlink()

    def download(self, relatives: Mapping[str, Path]) -> None:
        """Copy files to local paths. Raises FileNotFoundError where one is not there."""
        for path in relatives.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        with told(self.uri, self.setting):
            self.fs.get([self.at(relative) for relative in relatives], [str(p) for p in relatives.values()])

    def sha256(self, relative: str) -> str:
        """sha256 (hex) of a file's bytes as they lie there. Raises FileNotFoundError where there is none."""
        with told(self.uri, self.setting), self.fs.open(self.at(relative), "rb") as file:
            return sha256_of_stream(file)


def _is_missing(error: BaseException) -> bool:
    """Whether a file or folder is not there, and its bucket is."""
    return isinstance(error, FileNotFoundError) and code_of(error) in ("", "NoSuchKey", "404")


def _stored(info: Mapping[str, Any]) -> Stored:
    modified = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
    at = modified if isinstance(modified, int | float) else modified.timestamp()
    return Stored(int(info["size"] or 0), float(at), str(info.get("ETag") or info.get("etag") or ""))
