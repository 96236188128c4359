"""Who answers what evaluation asks: the engine in this process, or a server (`pipelines.models.served`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pipelines.models.base import Messages
from pipelines.models.engine import Engine
from pipelines.models.json_answers import generate_json


class Answering(Protocol):
    """One model that answers greedily."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What its answers depend on besides the model's files and settings."""

    def choose(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]:
        """One of the labels for each conversation."""

    def generate(self, conversations: Sequence[Messages], max_new_tokens: int) -> list[str]:
        """A free text for each conversation, without white space at its ends."""

    def documents(self, conversations: Sequence[Messages], schema: str, max_new_tokens: int) -> list[str]:
        """A JSON text by the schema (JSON text) for each; what is cut at `max_new_tokens` is no whole one."""


class Embedded:
    """The engine. `use` returns it as it answers for the model."""

    identity = ()

    def __init__(self, use: Callable[[], Engine]) -> None:
        self._use = use

    def choose(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]:
        return self._use().choose(conversations, labels)

    def generate(self, conversations: Sequence[Messages], max_new_tokens: int) -> list[str]:
        return self._use().generate(conversations, max_new_tokens)

    def documents(self, conversations: Sequence[Messages], schema: str, max_new_tokens: int) -> list[str]:
        return generate_json(self._use(), conversations, schema, max_new_tokens)
