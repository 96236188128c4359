"""What the gateway asks of an engine: one base model, adapters beside it, answers in pieces.

Dataclasses, errors and the protocol only; nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pipelines.core.errors import NightshiftError
from pipelines.core.traffic_split import Adapter

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Completion:
    """One request. With `choices` the answer is one of them (guided choice), always greedy."""

    messages: Sequence[Mapping[str, str]]
    max_tokens: int = 64
    temperature: float = 0.0  # 0 is greedy
    seed: int | None = None  # of the sampling; None draws another one each time
    choices: Sequence[str] | None = None
    stop: Sequence[str] = ()  # the answer ends before the first of these texts
    background: bool = False  # a shadow's request: worked on only while no user waits for a token


@dataclass(frozen=True)
class Piece:
    """A part of the answer, in order; the texts joined are the answer. The last has a `finish_reason`."""

    text: str
    finish_reason: FinishReason | None = None
    tokens_in: int = 0  # set with the finish reason, as is tokens_out
    tokens_out: int = 0


class EngineError(NightshiftError):
    """The engine could not answer. The request may be sent to another adapter or engine."""


class AdapterMissing(EngineError):
    """The adapter is not loaded in the engine."""


class Busy(EngineError):
    """The engine's queue is full. Try again after `retry_after_s` seconds."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            "room in the engine's queue",
            f"{waiting} requests waiting",
            f"Try again in {retry_after_s:.0f} s, or raise serving.queue.",
        )
        self.waiting, self.retry_after_s = waiting, retry_after_s


class Engine(Protocol):
    """One base model with any number of loaded adapters. `adapter` None means the bare base.

    All methods may be called at the same time and never block the event loop.
    """

    async def load(self, adapter: Adapter, folder: Path) -> None:
        """Put an adapter's files beside the base. Loading what is loaded changes nothing."""

    async def unload(self, adapter: Adapter) -> None:
        """Refuse new requests for the adapter, let those in flight end, then free it."""

    async def warm(self, adapter: Adapter | None) -> None:
        """Answer something short, so that the first user's request is not a slow one."""

    def complete(self, request: Completion, adapter: Adapter | None) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Closing the iterator (`aclose`) cancels the request.

        Errors come with the first piece, or later where an answer breaks off: Busy when the queue is full,
        AdapterMissing, EngineError for anything else that failed.
        """
        ...

    async def close(self) -> None:
        """Stop: requests in flight end with an EngineError."""
