"""Streams an answer as server-sent events, in OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Send

from gateway.engines.base import Piece, RequestRefused
from gateway.errors import Refusal
from gateway.http.answers import answered_by, logprobs, tool_calls, usage
from gateway.http.errors import of_engine
from gateway.serving.calls import AnsweredBy

DONE = b"data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """Closes its generator as soon as the client goes away, so that the journal's row is written then.

    `pieces` too, as closing a generator that has not begun does nothing to what it would have read.
    """

    def __init__(self, content: AsyncIterator[bytes], pieces: AsyncIterator[Piece], **kwargs: Any) -> None:
        super().__init__(content, **kwargs)
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._pieces), aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


class Chunks:
    """The server-sent events of one answer."""

    def __init__(self, request_id: str, model: str, at: int, by: AnsweredBy) -> None:
        self._head: dict[str, Any] = {
            "id": request_id,
            "object": "chat.completion.chunk",
            "created": at,
            "model": model,
        }
        self._by = by
        self._is_first = True

    def of(self, piece: Piece) -> bytes:
        """The event of one piece, and one before it with the calls of tools, if there are any."""
        if not piece.calls:
            return self._event({"content": piece.text}, piece)
        calls = [{"index": n, **call} for n, call in enumerate(tool_calls(self._head["id"], piece))]
        return self._event({"content": piece.text, "tool_calls": calls}) + self._event({}, piece)

    def _event(self, delta: dict[str, Any], last: Piece | None = None) -> bytes:
        """An event with a part of the answer. The first one also tells which adapter answers."""
        extra: dict[str, Any] = {}
        if self._is_first:
            delta = {"role": "assistant", **delta}
            extra = {"nightshift": answered_by(self._by)}
            self._is_first = False
        reason, told = (last.finish_reason, logprobs(last)) if last else (None, {})
        choice = {"index": 0, "delta": delta, "finish_reason": reason, **told}
        return _event({**self._head, "choices": [choice], **extra})

    def usage(self, last: Piece) -> bytes:
        """The event with the token counts."""
        return _event({**self._head, "choices": [], "usage": usage(last)})


async def events(
    chunks: Chunks, first: Piece, pieces: AsyncIterator[Piece], wants_usage: bool
) -> AsyncIterator[bytes]:
    """All events of an answer. If it breaks off, the last event is an error."""
    async with aclosing(pieces) as rest:  # type: ignore[type-var]
        last = first
        yield chunks.of(first)
        try:
            async for last in rest:
                yield chunks.of(last)
        except Refusal as refusal:  # too late for an HTTP status
            yield _event(refusal.body())
            return
        except RequestRefused as refused:
            yield _event(of_engine(refused).body())
            return
        if wants_usage:
            yield chunks.usage(last)
        yield DONE


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
