"""Copies folders to another store: what is there already stays, and manifests come last."""

from __future__ import annotations

from collections.abc import Callable

import fsspec

from pipelines.core.contract import MANIFEST_NAME
from pipelines.stores.attempts import ATTEMPTS
from pipelines.stores.object_store import file_system

Progress = Callable[[str], None]
EVERY = 200  # files between two lines of progress


def copy_folder(source: str, target: str, progress: Progress) -> int:
    """Copy the files below a URI to another; returns how many were copied.

    A file that is there in the same size is not copied again: on an object store it is there whole or not at
    all. `nightshift verify` compares digests afterwards.
    """
    there, root = file_system(source)
    other, base = file_system(target)
    root, base = root.rstrip("/"), base.rstrip("/")
    if not there.exists(root):
        return 0
    known = _sizes(other, base)
    wanted = [name for name, size in _sizes(there, root).items() if known.get(name) != size]
    for number, name in enumerate(sorted(wanted, key=lambda one: (_is_manifest(one), one)), start=1):
        _copy(there, f"{root}/{name}", other, f"{base}/{name}")
        if number % EVERY == 0:
            progress(f"{number} of {len(wanted)} files")
    return len(wanted)


def _copy(there: fsspec.AbstractFileSystem, path: str, other: fsspec.AbstractFileSystem, target: str) -> None:
    other.makedirs(target.rpartition("/")[0], exist_ok=True)
    with there.open(path, "rb") as file, other.open(target, "wb") as copy:
        while block := file.read(1 << 22):
            copy.write(block)


def _sizes(fs: fsspec.AbstractFileSystem, root: str) -> dict[str, int]:
    """Size in bytes of every file below a folder, by its relative path.

    Hidden files are half-written, and so are those of a step's attempt that was killed.
    """
    if not fs.exists(root):
        return {}
    found = fs.find(root, detail=True)
    names = {path: path.removeprefix(root).lstrip("/") for path in found}
    return {
        name: int(found[path]["size"] or 0)
        for path, name in names.items()
        if not any(part.startswith(".") or part == ATTEMPTS for part in name.split("/"))
    }


def _is_manifest(name: str) -> bool:
    return name.rpartition("/")[2] == MANIFEST_NAME
