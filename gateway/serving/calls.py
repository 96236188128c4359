"""One call of a user, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry import trace

from gateway.engines.base import Completion, EngineError, Piece
from gateway.http.auth import Caller
from gateway.serving.backends import Backend
from pipelines.policy.night.safety import REFUSAL
from pipelines.stores.journal.writer import Interaction


@dataclass(frozen=True)
class Call:
    """What was asked, by whom. `started` and `deadline` are event loop times."""

    request_id: str
    caller: Caller
    subject: str
    request: Completion
    locale: str
    channel: str
    opt_out: bool
    at: datetime
    started: float
    deadline: float
    span: trace.Span


@dataclass
class Shown:
    """What the user is told of who answers; filled before the first piece."""

    adapter: str = ""
    route: str = "production"
    fallback: bool = False
    cached: bool = False


@dataclass
class Progress:
    """The answer of one backend so far."""

    backend: Backend
    texts: list[str] = field(default_factory=list)
    first_at: float | None = None
    last: Piece | None = None  # the one with the finish reason

    def take(self, piece: Piece) -> None:
        if self.first_at is None:
            self.first_at = asyncio.get_running_loop().time()
        self.texts.append(piece.text)
        if piece.finish_reason:
            self.last = piece

    def row(self, call: Call, route: str, started: float, request_id: str, **flags: object) -> Interaction:
        """The interaction row as things stand now; `started` is what the latency counts from."""
        text = "".join(self.texts)
        return Interaction(
            request_id=request_id,
            ts=call.at,
            tenant=call.caller.tenant,
            subject_id=call.subject,
            messages=call.request.messages,
            completion=text,
            adapter=self.backend.name,
            digest=self.backend.digest,
            route=route,
            locale=call.locale,
            channel=call.channel,
            tokens_in=self.last.tokens_in if self.last else 0,
            tokens_out=self.last.tokens_out if self.last else 0,
            latency_ms=round((asyncio.get_running_loop().time() - started) * 1000, 3),
            first_token_ms=round((self.first_at - started) * 1000, 3) if self.first_at else None,
            opt_out=call.opt_out,
            refused=not call.request.choices and REFUSAL.search(text) is not None,
            **flags,  # type: ignore[arg-type]
        )


class Stream:
    """An answer read by a task of its own, so that a slow client holds no place in the engine."""

    def __init__(self, pieces: AsyncIterator[Piece]) -> None:
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._read(pieces))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _read(self, pieces: AsyncIterator[Piece]) -> None:
        try:
            async for piece in pieces:
                self._pieces.put_nowait(piece)
        finally:
            self._pieces.put_nowait(None)

    async def next(self) -> Piece | BaseException:
        """The next piece, or why there is none. Not to be asked after the piece with the finish reason."""
        piece = await self._pieces.get()
        if piece is not None:
            return piece
        await asyncio.wait([self._task])
        return self._task.exception() or EngineError("a last piece", "none", "Look at the engine's log.")

    def cancel(self) -> None:
        self._task.cancel()
