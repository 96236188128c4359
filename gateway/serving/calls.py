"""One call of a client: what was asked, who answered it, and the answer as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry import trace

from gateway.engines.base import CompletionRequest, EngineError, Piece
from gateway.logs import without_texts
from gateway.serving.backends import Backend
from gateway.serving.quotas import Reservation, estimate_tokens
from pipelines.core.refusal_phrases import sounds_refused
from pipelines.core.tools import answer_text
from pipelines.stores.journal.tables import Interaction

MOST_WORDS = 500  # of an engine's, in the log


@dataclass(frozen=True)
class Question:
    """What a client asks for, and on behalf of whom. `subject` is the person, as a pseudonym."""

    tenant: str
    subject: str
    request: CompletionRequest
    locale: str
    channel: str
    opt_out: bool


def texts_of(request: CompletionRequest) -> list[str]:
    """All that a conversation says: its turns, the tools that it offers, the calls of them."""
    turns = request.messages
    return [*(turn["content"] or "" for turn in turns), *(turn.get("tool_calls") or "" for turn in turns)]


def size_of(request: CompletionRequest) -> int:
    """The bytes of a conversation."""
    return sum(len(text.encode(errors="replace")) for text in texts_of(request))


@dataclass(frozen=True)
class Call:
    """An admitted question. `started` and `deadline` are event loop times in seconds."""

    question: Question
    reservation: Reservation
    request_id: str
    at: datetime
    started: float
    deadline: float
    span: trace.Span

    def for_log(self, words: str) -> str:
        """What an engine says, without what it repeats of the conversation."""
        return without_texts(words[:MOST_WORDS], texts_of(self.question.request))


@dataclass
class AnsweredBy:
    """Which adapter answers a call, as the client is told. Filled before the first piece."""

    adapter: str = ""
    route: str = "production"
    fallback: bool = False
    cached: bool = False
    dropped_turns: int = 0  # the oldest turns that did not fit into the model's prompt
    used_tokens: int = 0  # what the call costs its tenant, once it has ended


@dataclass
class Progress:
    """The answer of one backend so far."""

    backend: Backend
    texts: list[str] = field(default_factory=list)
    first_at: float | None = None
    last: Piece | None = None  # the piece with the finish reason
    made: int = 0  # pieces that the engine made, delivered or not
    is_cached: bool = False

    def add(self, piece: Piece) -> None:
        """Append the next piece."""
        if self.first_at is None:
            self.first_at = asyncio.get_running_loop().time()
        self.texts.append(piece.text)
        if piece.finish_reason:
            self.last = piece

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return "".join(self.texts)

    @property
    def answer(self) -> str:
        """The answer so far with its calls of tools, as one text."""
        return answer_text(self.text, self.last.calls if self.last else ())

    def used_tokens(self, request: CompletionRequest) -> int:
        """Tokens of prompt and answer. Of an answer that broke off: about as many as the engine worked on."""
        if self.is_cached or not (self.last or self.made):
            return 0
        if self.last:
            return self.last.tokens_in + self.last.tokens_out
        return estimate_tokens(size_of(request), self.made)

    def row(self, call: Call, route: str, started: float, request_id: str, **flags: object) -> Interaction:
        """The journal's row as things stand now. Latencies count from `started`."""
        question, now = call.question, asyncio.get_running_loop().time()
        return Interaction(
            request_id=request_id,
            ts=call.at,
            tenant=question.tenant,
            subject_id=question.subject,
            messages=question.request.messages,
            completion=self.answer,
            adapter=self.backend.name,
            digest=self.backend.digest,
            route=route,
            locale=question.locale,
            channel=question.channel,
            tokens_in=self.last.tokens_in if self.last else 0,
            tokens_out=self.last.tokens_out if self.last else self.made,
            latency_ms=round((now - started) * 1000, 3),
            first_token_ms=round((self.first_at - started) * 1000, 3) if self.first_at else None,
            opt_out=question.opt_out,
            refused=not question.request.choices and sounds_refused(self.text),
            **flags,  # type: ignore[arg-type]
        )


class Stream:
    """An answer that a task of its own reads, so that a slow client does not occupy the engine."""

    def __init__(self, pieces: AsyncIterator[Piece], progress: Progress) -> None:
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._progress = progress
        self._task = asyncio.create_task(self._read(pieces))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _read(self, pieces: AsyncIterator[Piece]) -> None:
        try:
            async for piece in pieces:
                self._progress.made += 1
                self._pieces.put_nowait(piece)
        finally:
            self._pieces.put_nowait(None)

    async def next(self) -> Piece | BaseException:
        """The next piece, or the error that ended the answer. Not for use after the last piece."""
        piece = await self._pieces.get()
        if piece is not None:
            return piece
        await asyncio.wait([self._task])
        ended = EngineError("The engine's answer ended without a last piece.", "Look at the engine's log.")
        return self._task.exception() or ended

    def cancel(self) -> None:
        """Stop reading; the engine stops working on the answer."""
        self._task.cancel()
