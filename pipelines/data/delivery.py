"""A night's delivery: the files that a URI names, their digest, and local copies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
from botocore.exceptions import BotoCoreError
from fsspec.implementations.local import LocalFileSystem

from pipelines.core.contract import digest_of
from pipelines.core.errors import InputError
from pipelines.data.lake import sha256_at


def find(source: str) -> tuple[Any, list[str]]:
    """The file system, and the sorted paths that a URI, a folder or a glob names. There may be none."""
    fs, path = fsspec.core.url_to_fs(source)
    fs.invalidate_cache()
    try:
        found = fs.glob(path) if any(sign in path for sign in "*?[") else fs.find(path)
    except (PermissionError, BotoCoreError) as error:
        raise InputError(
            f"The delivery at {source} cannot be listed ({type(error).__name__}: {error}).",
            "Check the address, the bucket and the credentials.",
        ) from error
    return fs, sorted(p for p in found if fs.isfile(p))


def digest(source: str) -> str:
    """sha256 over the names and bytes of a delivery, also of one without files."""
    fs, paths = find(source)
    return digest_of({path.rsplit("/", 1)[-1]: sha256_at(fs, path) for path in paths})


def names(source: str) -> list[str]:
    """File names of a delivery, in reading order."""
    return [path.rsplit("/", 1)[-1] for path in find(source)[1]]


def fetch(source: str, folder: Path) -> list[Path]:
    """Local paths of a delivery's files. Files that are not on a local disk are copied into `folder`."""
    fs, paths = find(source)
    if isinstance(fs, LocalFileSystem):
        return [Path(path) for path in paths]
    copies = [folder / f"{number:04d}-{path.rsplit('/', 1)[-1]}" for number, path in enumerate(paths)]
    for path, copy in zip(paths, copies, strict=True):
        fs.get_file(path, str(copy))
    return copies
