"""The interface between the gateway and an engine: requests, pieces of an answer, errors, the protocol.

Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pipelines.core.errors import NightshiftError
from pipelines.core.probes import Token
from pipelines.core.tools import Call
from pipelines.core.traffic_split import Adapter

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class CompletionRequest:
    """What to answer. With `choices` the answer is one of them (guided choice), chosen greedily.

    Tools that are offered are a turn of the messages (`pipelines.core.tools`).
    """

    messages: Sequence[Mapping[str, str]]
    max_tokens: int = 64
    temperature: float = 0.0  # 0 is greedy
    seed: int | None = None  # of the sampling; None: another one each time
    choices: Sequence[str] | None = None
    json_schema: str | None = None  # JSON text: the answer follows it. Not with `choices`
    must_call: bool = False  # the answer calls tools that are offered
    only_tool: str | None = None  # then only this one, once
    parallel_calls: bool = True  # whether an answer may have several calls
    stop: Sequence[str] = ()  # the answer ends before the first of these texts
    background: bool = False  # a shadow's request, worked on only while no user waits
    logprobs: bool = False  # whether the log-probability of each token is told. Not with `choices`
    top_logprobs: int = 0  # then, of each token, so many of the likeliest; at most 20


@dataclass(frozen=True)
class Piece:
    """A part of the answer, in order; the texts joined are its text. The last has a `finish_reason`."""

    text: str
    finish_reason: FinishReason | None = None
    tokens_in: int = 0  # set on the last piece, like tokens_out
    tokens_out: int = 0
    dropped_turns: int = 0  # the oldest turns that did not fit into the prompt; set on every piece
    calls: tuple[Call, ...] = ()  # of tools, on the last piece
    tokens: tuple[Token, ...] = ()  # all of the answer's, on the last piece, if their logprobs were asked for


class EngineError(NightshiftError):
    """The engine could not answer. Another adapter may be able to."""


class AdapterMissing(EngineError):
    """The adapter is not loaded in the engine."""


class Busy(EngineError):
    """The engine's queue is full. Try again after `retry_after_s` seconds."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            f"The engine's queue is full: {waiting} requests wait.",
            f"Try again in {retry_after_s:.0f} s, or raise serving.queue.",
        )
        self.waiting, self.retry_after_s = waiting, retry_after_s


class RequestRefused(Exception):
    """The request is wrong in itself, so no adapter could answer it. Its sender gets `status` and `message`.

    It is no failure of the engine: nothing falls back, no circuit opens, the journal gets no row.
    """

    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class ServingEngine(Protocol):
    """One base model with any number of loaded adapters. `adapter` None is the bare base model.

    Methods may be called concurrently and never block the event loop.
    """

    restarts: int  # how often its own loop failed and went on
    reloads: int  # how often it loaded an adapter again by itself, as the server behind it had lost it

    async def load(self, adapter: Adapter, folder: Path) -> None:
        """Load an adapter from its files. Does nothing if it is loaded."""

    async def unload(self, adapter: Adapter) -> None:
        """Refuse new requests for the adapter, wait for those under way, then free its memory."""

    async def warm(self, adapter: Adapter | None) -> None:
        """Answer something short, so that the first user does not wait for a cold start."""

    def complete(self, request: CompletionRequest, adapter: Adapter | None) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Closing the iterator (`aclose`) cancels the request.

        Raises RequestRefused if the request is wrong in itself, Busy if the queue is full, AdapterMissing if
        the adapter is not loaded, EngineError for any other failure: before the first piece, or later if the
        answer breaks off.
        """
        ...

    async def close(self) -> None:
        """Stop. Requests under way end with an EngineError."""
