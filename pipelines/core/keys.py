"""Keys: files of a folder that only the owner reads, the setting `keys`.

On one machine they are made on first use. Several machines share them: they are made once, with
`nightshift prepare`, and mounted read-only.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from pipelines.core.errors import InputError
from pipelines.core.files import write_once

KEY_BYTES = 32


def key_in(folder: Path, name: str) -> bytes:
    """The key in a file of a folder, made where there is none.

    Raises InputError where there is none and none can be made.
    """
    file = folder / name
    if not file.exists():
        make_once(file, secrets.token_bytes(KEY_BYTES))
    return file.read_bytes()


def make_once(file: Path, content: bytes) -> None:
    """Write a key where there is none. Raises InputError where the folder cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_once(file, content)
    except OSError as error:
        raise InputError(
            f"There is no key {file}, and it cannot be made: {error.strerror}.",
            "Make the keys once with `nightshift prepare`, and mount their folder where `keys` says.",
        ) from error
