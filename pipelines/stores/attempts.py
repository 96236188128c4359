"""A step's attempts in a run's folder. The outputs appear with the manifest, which is written last and once.

On a local disk an attempt is a folder, `attempts/<step>.<name>`, that takes the step's place as a whole. On
an object store its outputs lie in `<step>/<name>/`, and the manifest names that folder. Of two processes that
work on one step, say because one of them was paused for an hour, the first to finish wins; the other changes
nothing.

S3 compares and writes in one request (If-None-Match, If-Match). Other object stores create conditionally
only: there the manifest of earlier work is removed before it is done again.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.contract import FAULT_NAME, MANIFEST_NAME, Manifest
from pipelines.core.errors import InputError
from pipelines.core.files import write_atomically
from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import is_s3

PREFIX = "attempt-"  # of an attempt's name
ATTEMPTS = "attempts"  # a folder of a local run
WITHDRAWN = b'"withdrawn"\n'  # in the place of a manifest whose step is done again
log = logging.getLogger("nightshift")


@dataclass(frozen=True)
class Attempt:
    """One process's work on a step. `out` is an empty local folder for its outputs."""

    folder: Folder
    step: str
    name: str
    out: Path
    replaces: str = ""  # the version of what stands in the manifest's place; "" for nothing

    @property
    def place(self) -> str:
        """The manifest's `attempt`: where the outputs will lie inside the step's folder."""
        return "" if self.folder.is_local else self.name

    def publish(self, manifest: Manifest) -> bool:
        """Show the outputs and the manifest. False, and nothing changes, where another attempt was faster."""
        data = manifest.model_dump_json(indent=1).encode()
        if self.folder.is_local:
            write_atomically(self.out / MANIFEST_NAME, data)
            return _take_place(self.folder.path(self.step), self.out)
        self.folder.upload(self.out, f"{self.step}/{self.name}")
        path = f"{self.step}/{MANIFEST_NAME}"
        if self.replaces:
            written = self.folder.replace(path, data, self.replaces)
        else:
            written = self.folder.create(path, data)
        # A request that was answered and asked again, since the answer got lost, finds its own manifest.
        return written or self.folder.read_bytes(path) == data

    def give_up(self) -> None:
        """Remove what was written and is shown nowhere."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.folder.is_local:
            with suppress(OSError):  # another attempt is there
                self.out.parent.rmdir()


def begin(folder: Folder, step: str, seen: bytes | None) -> Attempt:
    """Begin work on a step in whose manifest's place `seen` was read; that manifest no longer counts.

    Raises InputError where another process wrote a manifest since.
    """
    name = PREFIX + secrets.token_hex(4)
    if folder.is_local:
        _withdraw_locally(folder.path(step), seen)
        out = folder.path(f"{ATTEMPTS}/{step}.{name}")
        out.mkdir(parents=True)
        return Attempt(folder, step, name, out)
    replaces = _withdraw(folder, step, seen)
    folder.remove(f"{step}/{FAULT_NAME}")
    return Attempt(folder, step, name, Path(tempfile.mkdtemp(prefix="nightshift-")), replaces)


def overtaken(step: str) -> InputError:
    """What is said to a process that was slower than another one with other inputs or settings."""
    return InputError(
        f"Another process finished {step} of this run meanwhile, with other inputs or settings.",
        f"Nothing of this attempt is kept. To do the work again, run {step} with --rerun.",
    )


def _withdraw(folder: Folder, step: str, seen: bytes | None) -> str:
    """Take back the manifest that was read; returns the version of what then stands in its place."""
    path = f"{step}/{MANIFEST_NAME}"
    if seen is None:
        return ""
    if not is_s3(folder.uri):
        folder.remove(path)
        return ""
    version = folder.version(path)
    if folder.read_bytes(path) != seen:
        raise overtaken(step)
    if seen == WITHDRAWN:
        return version
    if not folder.replace(path, WITHDRAWN, version):
        raise overtaken(step)
    return folder.version(path)


def _withdraw_locally(place: Path, seen: bytes | None) -> None:
    def is_as_read(moved: Path) -> bool:
        manifest = moved / MANIFEST_NAME
        return (manifest.read_bytes() if manifest.exists() else None) == seen

    if not _clear(place, is_as_read):
        raise overtaken(place.name)


def _take_place(place: Path, out: Path) -> bool:
    """Rename a finished attempt to the step's folder, unless a finished one is there."""
    for _ in range(3):
        try:
            out.rename(place)
        except OSError:  # the folder is not empty: it may hold a fault only
            if not _clear(place, lambda moved: not (moved / MANIFEST_NAME).exists()):
                return False
            continue
        with suppress(OSError):  # other attempts are there
            out.parent.rmdir()
        return True
    return False


def _clear(place: Path, may_go: Callable[[Path], bool]) -> bool:
    """Remove a step's folder. One that may not go is put back, and False is returned."""
    going = place.parent / ATTEMPTS / f"{place.name}.{secrets.token_hex(4)}"
    going.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.rename(going)  # in one go: whoever reads it sees all of it or nothing
    except FileNotFoundError:
        return may_go(place)
    if may_go(going):
        shutil.rmtree(going)
        return True
    with suppress(OSError):  # yet another attempt took the place meanwhile
        going.rename(place)
    return False
