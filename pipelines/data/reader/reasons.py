"""Why a value is refused, in words that many rows share."""

from __future__ import annotations

from pipelines.core.interactions import Kind
from pipelines.data.reader.cells import Unfit

WORDS: dict[Kind, str] = {
    "id": "not text",
    "text": "not text",
    "time": "not a time",
    "tools": "not a list of tools",
    "int32": "not a whole number",
    "float64": "not a finite number",
    "bool": "not true or false",
}


def reason_of(name: str, kind: Kind, unfit: Unfit) -> str:
    """Why a value is refused, in words that many rows share."""
    return (
        f"{name} is not in the scale of ingest.rating"
        if kind == "rating"
        else f"{name} is {WORDS[kind]}, but {unfit.what}"
    )
