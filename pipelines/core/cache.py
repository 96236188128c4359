"""Copies of what lies elsewhere, kept on this machine by digest: whole, checked at each use, fetched once.

`{home}/cache/<kind>/<key>` is a folder. Processes share it. Whoever uses an entry holds it until its process
ends, and `trim_cache` removes none that is held.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

UNUSED_S = 86_400.0  # a copy that was used within this time is not removed
OUTPUTS = (
    "outputs"  # copies of runs' outputs: they may hold people's texts, so an unused one goes in any case
)
GIB = 1 << 30
log = logging.getLogger("nightshift")
_held: dict[Path, int] = {}  # entry -> the descriptor that holds it


def cached(folder: Path, key: str, fetch: Callable[[Path], object], is_whole: Callable[[Path], bool]) -> Path:
    """The entry `key` of a cache folder. Where there is none, or one that changed, `fetch` fills a new one.

    `fetch` raises an error where what comes is not what was asked for; then nothing is kept.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    entry = folder / key
    if _hold(entry) and is_whole(entry):
        return entry
    with FileLock(folder / f".{key}.lock"):
        if _hold(entry):  # another process was faster
            if is_whole(entry):
                return entry
            log.warning("the copy %s was changed on this machine: it is fetched again", entry)
            discard(entry)
        partial = folder / f".{key}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(mode=0o700)
        try:
            fetch(partial)
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _hold(entry)
    return entry


def discard(entry: Path) -> None:
    """Remove an entry. Nobody sees half of it, and whoever has its files open may read on."""
    if (held := _held.pop(entry, None)) is not None:
        os.close(held)
    going = entry.with_name(f".{entry.name}.{secrets.token_hex(4)}.going")
    try:
        entry.rename(going)
    except FileNotFoundError:  # another process removed it
        return
    if going.is_dir() and not going.is_symlink():
        shutil.rmtree(going, ignore_errors=True)
    else:
        going.unlink(missing_ok=True)


def trim_cache(home: str | Path, most_gib: float) -> list[Path]:
    """Remove the longest unused entries until the rest fits; those in use, or used within a day, stay.

    Copies of runs' outputs go after a day without use, however few they are.
    """
    entries = sorted(_entries(Path(home) / "cache"))
    total, removed = sum(size for _, _, size in entries), []
    for used_at, entry, size in entries:
        if time.time() - used_at < UNUSED_S:
            break
        if (entry.parent.name == OUTPUTS or total > most_gib * GIB) and _discard_unused(entry):
            total -= size
            removed.append(entry)
    return removed


def _hold(entry: Path) -> bool:
    """Whether there is such an entry. If so it counts as used, and is held until this process ends."""
    try:
        held = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        return False
    fcntl.flock(held, fcntl.LOCK_SH)
    try:
        os.utime(entry)
        is_there = os.fstat(held).st_ino == entry.stat().st_ino
    except FileNotFoundError:  # it was removed meanwhile
        is_there = False
    if not is_there or entry in _held:
        os.close(held)
        return is_there
    _held[entry] = held
    return True


def _discard_unused(entry: Path) -> bool:
    """Remove an entry unless a process holds it. Whoever asks for it meanwhile fetches it again."""
    try:
        descriptor = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        discard(entry)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _entries(cache: Path) -> Iterator[tuple[float, Path, int]]:
    """(when it was last used, the entry, its bytes), also of fetches that were killed."""
    for entry in cache.glob("*/*"):
        if entry.parent.name == "tmp" or entry.suffix == ".lock":
            continue
        with suppress(FileNotFoundError):  # another process removes it
            yield entry.lstat().st_mtime, entry, _size(entry)


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(file.lstat().st_size for file in files)
