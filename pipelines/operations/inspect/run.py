"""Inspect a log, print what was found, and write the profile."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pipelines.core.config import load_config
from pipelines.core.errors import InputError
from pipelines.core.files import write_atomically
from pipelines.operations.inspect.profile import profile_of
from pipelines.operations.inspect.show import show, show_profile
from pipelines.operations.inspect.weigh import inspect_log


def inspect(file: Path, feedback: Path | None, target: Path | None, as_json: bool) -> int:
    """The command's exit status. Raises InputError for what is no log, or a profile that is there already."""
    if target and target.exists():
        raise InputError(f"{target} exists.", "Name another file, or remove it.")
    found = inspect_log(file, feedback)
    found.profile = profile_of(found, file, target.stem if target else "mine")
    if target:
        write_atomically(target, found.profile.encode())
        load_config(target, ".")  # a profile that Nightshift itself refuses would be a bug
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1, default=str))
        return 0
    show(found)
    show_profile(found.profile, target, found.looked_at.file, found.night)
    return 0
