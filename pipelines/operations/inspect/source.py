"""Which file to look at: the one that was named, or the first log of a folder or pattern."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath

from pipelines.core.errors import InputError
from pipelines.data import delivery
from pipelines.data.delivery import Delivered
from pipelines.data.reader.files import form_of
from pipelines.data.reader.unpack import plain_name
from pipelines.operations.inspect.printable import printable

LOGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pq")


def file_of(path: Path) -> tuple[Path, str, int]:
    """(a file, what `ingest.source` reads, how many files). Raises InputError where there is none."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The name {printable(str(path))} is not UTF-8, so a profile cannot hold it.", "Rename it."
        ) from None
    if path.is_file():
        if not path.stat().st_size:
            raise InputError(f"{printable(str(path))} is empty.", "Pass a file with at least one row.")
        return path, _literal(path.resolve()), 1
    return _first_of(path)


def _literal(path: Path) -> str:
    """The path for `ingest.source`, in which {home} and {night} would be filled."""
    text = str(path)
    return glob.escape(text).replace("{", "[{]") if "{home}" in text or "{night}" in text else text


def _first_of(path: Path) -> tuple[Path, str, int]:
    files = delivery.find(str(path.resolve()))[1]
    logs = [one for one in files if _ending(one.name) in LOGS and _is_log(Path(one.path))]
    if not logs:
        said = printable(str(path))
        raise InputError(
            f"{said} names no file that is a log." if files or path.exists() else f"There is no file {said}.",
            "Pass JSON lines, JSON, CSV or Parquet, a folder with some, or a pattern in quotes.",
        )
    alike = [one for one in logs if _ending(one.name) == _ending(logs[0].name)]
    is_folder = path.is_dir() and len(alike) < len(files)
    source = _pattern(path, alike) if is_folder else str(path.resolve())
    return Path(logs[0].path), source, len(alike if is_folder else files)


def _pattern(folder: Path, alike: list[Delivered]) -> str:
    """What names these files of a folder, and not the others."""
    below = "**/" if any("/" in one.name for one in alike) else ""
    packed = "" if all(plain_name(one.name) == one.name for one in alike) else "*"
    return f"{folder.resolve()}/{below}*{_ending(alike[0].name)}{packed}"


def _ending(name: str) -> str:
    return PurePosixPath(plain_name(name)).suffix.lower()


def _is_log(file: Path) -> bool:
    try:
        return file.stat().st_size > 0 and bool(form_of(file, file.name))
    except (InputError, OSError):
        return False
