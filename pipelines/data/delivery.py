"""A night's delivery: the files that a URI, a folder or a glob names, their digest, and local copies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from pipelines.core.contract import digest_of
from pipelines.core.errors import InputError
from pipelines.data.digests import sha256_at
from pipelines.stores.object_store import file_system, told

SETTING = "[ingest]"  # where a delivery's address stands
MAGIC = frozenset("*?[")
TABLES = ("_delta_log", ".hoodie", "metadata/version-hint.text")  # Delta Lake, Hudi, Iceberg


@dataclass(frozen=True)
class Delivered:
    """One file. `name` is its path below the fixed part of the source: two folders may hold a `part-0`."""

    name: str
    path: str


def find(source: str) -> tuple[Any, list[Delivered]]:
    """The file system, and the files of a source in the order of their paths. There may be none.

    Marker files and hidden files (`_SUCCESS`, `.part.crc`) are no data. A folder that is there with `[` in
    its name is that folder, not a pattern.
    """
    fs, path = file_system(source)
    fs.invalidate_cache()
    try:
        with told(source, SETTING):
            root, pattern = _split(fs, path)
            paths = _matching(fs, root, pattern)
            _refuse_tables(fs, root, source)
    except PermissionError as error:
        raise InputError(
            f"The delivery at {source} cannot be listed ({type(error).__name__}: {error}).",
            "Check the address and the permissions of its folders.",
        ) from error
    return fs, [Delivered(_below(root, one), one) for one in sorted(paths)]


def digest(source: str) -> str:
    """sha256 over the names and bytes of a delivery, also of one without files."""
    fs, files = find(source)
    with told(source, SETTING):
        return digest_of({file.name: sha256_at(fs, file.path) for file in files})


def names(source: str) -> list[str]:
    """File names of a delivery, in reading order."""
    return [file.name for file in find(source)[1]]


def fetch(source: str, folder: Path) -> list[tuple[str, Path]]:
    """(name, local path) of a delivery's files. Those that are not on a local disk are copied to `folder`."""
    fs, files = find(source)
    if isinstance(fs, LocalFileSystem):
        return [(file.name, Path(file.path)) for file in files]
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / f"{number:04d}-{PurePosixPath(file.path).name}" for number, file in enumerate(files)]
    with told(source, SETTING):
        for file, copy in zip(files, copies, strict=True):
            fs.get_file(file.path, str(copy))
    return [(file.name, copy) for file, copy in zip(files, copies, strict=True)]


def _split(fs: Any, path: str) -> tuple[str, str]:
    """The fixed part of a path, and the pattern below it; "" for a path without one."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        here = "/".join(parts[: place + 1])
        if MAGIC & set(part) and not fs.exists(here):
            return "/".join(parts[:place]), "/".join(parts[place:])
    return path.rstrip("/"), ""


def _matching(fs: Any, root: str, pattern: str) -> list[str]:
    if not pattern:
        found = [root] if fs.isfile(root) else fs.find(root)
        return [one for one in found if _is_data(_below(root, one))]
    depth = None if "**" in pattern else pattern.count("/") + 1
    wanted = re.compile(glob_translate(pattern))
    below = ((_below(root, one), one) for one in fs.find(root or "/", maxdepth=depth))
    return [one for name, one in below if wanted.fullmatch(name) and _is_data(name)]


def _refuse_tables(fs: Any, root: str, source: str) -> None:
    """A table with a log of its own: its folder also holds files whose rows were deleted."""
    folder = PurePosixPath(root)
    for place in (folder, *folder.parents[:2]):
        if mark := next((name for name in TABLES if fs.exists(f"{place}/{name}")), None):
            raise InputError(
                f"{source} lies in a table with a log of its own ({place.name}/{mark}): its files also "
                "hold deleted rows.",
                "Export a snapshot of the table, as Parquet files in a folder of their own.",
            )


def _below(root: str, path: str) -> str:
    inner = path.removeprefix(root).lstrip("/")
    return inner or PurePosixPath(path).name


def _is_data(name: str) -> bool:
    """Whether no part of a path begins as a marker's or a hidden file's name does."""
    return not any(part.startswith(("_", ".")) for part in name.split("/"))
