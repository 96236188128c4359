"""Inspect a log, print what was found, and write the profile."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from pipelines.core.config import load_config
from pipelines.core.config.columns import known_encoding
from pipelines.core.errors import ConfigError, InputError
from pipelines.core.files import write_atomically
from pipelines.operations.inspect.printable import as_json, printable
from pipelines.operations.inspect.profile import profile_of
from pipelines.operations.inspect.show import show, show_profile
from pipelines.operations.inspect.weigh import inspect_log


def inspect(file: Path, feedback: Path | None, encoding: str, target: Path | None, is_json: bool) -> int:
    """The command's exit status. Raises InputError for what is no log, or a profile that is there already."""
    try:
        known_encoding(encoding)
    except ValueError as error:
        raise InputError(f"{printable(str(error))}.", "Pass a name that Python knows, or none.") from error
    if target and target.exists():
        raise InputError(f"{printable(str(target))} exists.", "Name another file, or remove it.")
    found = inspect_log(file, feedback, encoding)
    found.profile = profile_of(found, target.stem if target else "mine")
    _check(found.profile)
    if target:
        write_atomically(target, found.profile.encode())
    if is_json:
        print(as_json(asdict(found)))
        return 0
    show(found)
    show_profile(found, target)
    return 0


def _check(profile: str) -> None:
    """Load the profile before it is written anywhere. Raises InputError for one that would be refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.toml"
        path.write_text(profile, encoding="utf-8")
        try:
            load_config(path, ".")
        except ConfigError as error:
            raise InputError(
                f"No profile can be written for this log: {printable(str(error))}",
                "This is a fault of nightshift inspect: report it, and write the profile by hand.",
            ) from error
