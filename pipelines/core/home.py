"""A home holds personal data: it is for its owner only, and a process leaves no temporary files behind."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.core.cache import trim_cache
from pipelines.core.locks import holding

OTHERS = 0o077  # permissions of the group and of everybody else
MARKS = ("ledger.db", "gateway", "locks")  # what tells a home from any other folder
log = logging.getLogger("nightshift")


@contextmanager
def using_home(home: str | Path, cache_gib: float) -> Iterator[None]:
    """What every process does with its home: files for the owner only, and temporary files inside the home.

    Temporary files are removed at the end, and those of a killed process when the next one starts. A folder
    that is no home yet stays as it is.
    """
    os.umask(OTHERS)
    if not any((Path(home) / mark).exists() for mark in MARKS):
        yield
        return
    if opened := close_to_others(Path(home)):
        log.warning("%d files of %s could be read by other users: mended", len(opened), home)
    trim_cache(home, cache_gib)
    before, tempfile.tempdir = tempfile.tempdir, None
    try:
        with _temporary_folder(home) as folder:
            tempfile.tempdir = str(folder)
            yield
    finally:
        tempfile.tempdir = before


def private_folder(path: Path) -> Path:
    """The folder, created where it is missing, that only its owner may enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & OTHERS:
        path.chmod(path.stat().st_mode & ~OTHERS)
    return path


def close_to_others(home: Path) -> list[Path]:
    """Take all permissions from other users; returns what they could use. Links are not followed."""
    opened = []
    for path in (home, *home.rglob("*")):
        try:
            mode = path.lstat().st_mode
            if mode & OTHERS and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & ~OTHERS)
                opened.append(path)
        except FileNotFoundError:  # another process removed it meanwhile
            continue
        except PermissionError:
            log.warning("%s belongs to another user and can be read by others", path)
    return opened


def cache_folder(home: str | Path, kind: str) -> Path:
    """`{home}/cache/<kind>`: copies of what lies elsewhere, one entry each, which can be made again."""
    return private_folder(Path(home) / "cache" / kind)


@contextmanager
def _temporary_folder(home: str | Path) -> Iterator[Path]:
    """A folder of this process. Its lock tells the others that the process lives."""
    parent = cache_folder(home, "tmp")
    folder = parent / secrets.token_hex(4)
    with holding(home, "cache"):
        _remove_abandoned(parent)
        lock = FileLock(folder.with_suffix(".lock"))
        lock.acquire(timeout=0)
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders whose process has ended."""
    for lock_file in parent.glob("*.lock"):
        lock = FileLock(lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
        lock_file.unlink(missing_ok=True)
        lock.release()
        log.info("removed the temporary files of a process that was killed")
