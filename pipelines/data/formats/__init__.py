"""Logs in the forms that other products export. Each module turns a row of theirs into our names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.data.formats import langfuse, litellm, openai, sharegpt

Row = Mapping[str, Any]
_CONVERTERS: dict[str, Callable[[Row], Row]] = {
    "openai": openai.convert,
    "sharegpt": sharegpt.convert,
    "langfuse": langfuse.convert,
    "litellm": litellm.convert,
}


def converter_of(name: str) -> Callable[[Row], Row]:
    """The function for `ingest.format`; our own names stay as they are."""
    return _CONVERTERS.get(name, lambda row: row)
