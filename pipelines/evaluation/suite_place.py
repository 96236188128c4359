"""Where the suite lies: a file of this machine, or any URI, of which this machine keeps a copy."""

from __future__ import annotations

from pathlib import Path

from pipelines.core.cache import cached
from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.files import sha256_of, write_atomically
from pipelines.core.home import cache_folder
from pipelines.core.locks import holding
from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import is_s3

SETTING = "evaluate.suite"
DIGEST = ".sha256"  # in a copy: of the file when it came


def is_shared(place: str) -> bool:
    """Whether a suite lies behind a URI, so that all machines read the same."""
    return "://" in place


def suite_file(config: Config) -> Path:
    """The suite as a file of this machine. A file that changed behind its URI is copied again.

    Raises InputError where there is none.
    """
    return file_of_items(config, config.evaluate.suite)


def file_of_items(config: Config, setting: str) -> Path:
    """The same for the value of another setting, such as `evaluate.pool`."""
    place = config.path(setting)
    if is_shared(place):
        return _copied(config, place)
    if not Path(place).is_file():
        raise _missing(config, place)
    return Path(place)


def suite_exists(place: str) -> bool:
    """Whether there is a file at a path or URI."""
    if not is_shared(place):
        return Path(place).exists()
    folder, name = _split(place)
    return folder.exists(name)


def write_suite(place: str, data: bytes) -> None:
    """Write a suite to a path or URI. Raises InputError where another process wrote one meanwhile."""
    if not is_shared(place):
        write_atomically(Path(place), data)
        return
    folder, name = _split(place)
    if not folder.create(name, data):
        raise InputError(f"There is a suite at {place} already.", "Read that one, or name another place.")


def suite_version(place: str) -> str:
    """Another text after each change of the suite; empty where there is none. For `replace_suite`."""
    folder, name = _split(place)
    if folder.is_local:
        return sha256_of(folder.path(name)) if folder.exists(name) else ""
    stored = folder.stored(name)
    return (stored.version or str(stored.modified_at)) if stored else ""


def replace_suite(config: Config, place: str, data: bytes, version: str) -> None:
    """Write a suite over the version that was read, or where there was none.

    Raises InputError, and changes nothing, where it is another one by now, and where the store cannot tell.
    """
    folder, name = _split(place)
    if folder.is_local:
        with holding(config.home, "suite"):
            if done := suite_version(place) == version:
                write_atomically(folder.path(name), data)
    elif not version:
        done = folder.create(name, data)
    elif is_s3(place):
        done = folder.replace(name, data, version)
    else:
        raise InputError(
            f"The suite lies at {place}, where a file cannot be replaced safely.",
            "Put it into a folder or into S3, and name that as evaluate.suite.",
        )
    if not done:
        raise InputError(
            f"The suite at {place} was changed meanwhile, so it was left as it is.",
            "Run the same command again.",
        )


def _copied(config: Config, place: str) -> Path:
    folder, name = _split(place)
    stored = folder.stored(name)
    if stored is None:
        raise _missing(config, place)

    def fetch(copy: Path) -> None:
        folder.download({name: copy / name})
        if (copy / name).stat().st_size != stored.size_bytes:
            raise IntegrityError(
                f"The evaluation suite came with {(copy / name).stat().st_size} of {stored.size_bytes} bytes"
                f" from {place}.",
                "Run the same command again.",
            )
        (copy / DIGEST).write_text(sha256_of(copy / name))

    def is_whole(copy: Path) -> bool:
        kept, file = copy / DIGEST, copy / name
        return kept.is_file() and file.is_file() and kept.read_text() == sha256_of(file)

    key = digest_of([place, stored.size_bytes, stored.version or stored.modified_at])[:16]
    return cached(cache_folder(config.home, "suites"), key, fetch, is_whole) / name


def _split(place: str) -> tuple[Folder, str]:
    above, _, name = place.rpartition("/")
    return Folder(above or ".", SETTING), name


def _missing(config: Config, place: str) -> InputError:
    if place == config.path(config.evaluate.pool):
        return InputError(
            f"There is no pool of evaluation items at {place}.",
            "Draw one with `nightshift suite propose --pool`, or point evaluate.pool to your own file.",
        )
    return InputError(
        f"There is no evaluation suite at {place}.",
        "Run `nightshift prepare` for the sample's, or point evaluate.suite to your own file of items."
        if config.ingest.kind == "sample"
        else "Draw one from a log with `nightshift suite propose`, or let evaluate.suite name a file.",
    )
