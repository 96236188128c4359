"""Files: digests, writes that happen completely or not at all, and secrets."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.core.errors import InputError


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return sha256_of_stream(file)


def sha256_of_stream(file: BinaryIO) -> str:
    """sha256 (hex) of what is left of an open binary file, read in blocks of 1 MiB."""
    sha = hashlib.sha256()
    while block := file.read(1 << 20):
        sha.update(block)
    return sha.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, also after a crash."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. What lies there takes the place of `path` when the block ends without
    an error, and is removed after one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> bool:
    """Create a file for its owner only. Returns False, and changes nothing, where there is one.

    Two processes at once: one wins, and both then read the same whole content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # fails where there is one, and never shows half a file
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _beside(path: Path) -> Path:
    """A hidden name of its own, so that two writers never share one."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line; empty lines are left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_key(file: str, setting: str) -> str:
    """The bearer token in a file; "" where the setting names none. Raises InputError."""
    if not file:
        return ""
    try:
        key = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(
            f"The key in {file} cannot be read ({reason}).",
            f"Let {setting} name a file that holds the key alone.",
        ) from None
    if not (key and key.isascii() and key.isprintable()):
        raise InputError(
            f"{file} holds no key: it is empty, or has more than one line.",
            f"Write the key alone into the file of {setting}.",
        )
    return key
