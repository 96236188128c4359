"""What is sent to an OpenAI-compatible server, and what its responses mean. Without any connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gateway.engines.base import AdapterMissing, Busy, CompletionRequest, EngineError, Piece
from pipelines.core.traffic_split import Adapter


def served_name(adapter: Adapter) -> str:
    """An adapter's model name at the server.

    It holds the digest, so that a server never answers from an older adapter of the same version.
    """
    return f"v{adapter.version}-{adapter.digest[:16]}"


def request_body(request: CompletionRequest, name: str, guided: str) -> dict[str, Any]:
    """The body of /v1/chat/completions. `guided` is the field by which the server takes choices."""
    body: dict[str, Any] = {
        "model": name,
        "messages": [dict(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.choices is not None:
        choices = list(request.choices)
        body |= {guided: {"choice": choices} if guided == "structured_outputs" else choices}
        # Greedy, and long enough for any choice: every token has at least one byte.
        body |= {"temperature": 0.0, "max_tokens": max(len(choice.encode()) for choice in choices) + 1}
    return body


class EventReader:
    """Makes pieces of a server's events. Drops white space at both ends of the answer, as evaluation does."""

    def __init__(self) -> None:
        self._held, self._started = "", False  # white space that is sent only if text follows
        self._reason: Any = None
        self._usage: dict[str, int] = {}

    def pieces(self, line: bytes) -> Iterator[Piece]:
        """The pieces in one line of the stream. Raises EngineError for an error event."""
        text = line.decode(errors="replace").strip()
        if not text.startswith("data:") or text.endswith("[DONE]"):
            return
        event = _parse(text)
        self._usage = event.get("usage") or self._usage
        for choice in event.get("choices", []):
            self._reason = choice.get("finish_reason") or self._reason
            text = self._held + (choice.get("delta", {}).get("content") or "")
            text = text if self._started else text.lstrip()
            sent = text.rstrip()
            self._held = text[len(sent) :]
            if sent:
                self._started = True
                yield Piece(sent)

    def last(self) -> Piece:
        """The last piece, once the stream has ended. Raises EngineError if the answer is not whole."""
        if self._reason not in ("stop", "length"):
            problem = f"The server's answer broke off: its finish reason is {self._reason}."
            raise EngineError(problem, "Send the request again.")
        counts = (self._usage.get("prompt_tokens", 0), self._usage.get("completion_tokens", 0))
        return Piece("", self._reason, *counts)


def _parse(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line.removeprefix("data:"))
    except json.JSONDecodeError as error:
        raise EngineError(f"The server sent invalid JSON: {line[:80]!r}.", "See the server's log.") from error
    if "error" in event:
        raise EngineError(f"The server reports an error: {event['error']}.", "See the server's log.")
    return event


def chosen(pieces: list[Piece], request: CompletionRequest) -> Piece:
    """The choice as one piece. Raises EngineError if the server ignored the choices."""
    text, last = "".join(piece.text for piece in pieces), pieces[-1]
    if text not in (request.choices or ()):
        raise EngineError(
            f"The server answered {text[:40]!r}, which is none of the choices.",
            "Set serving.guided to the field that the server takes choices by.",
        )
    return Piece(text, "stop", last.tokens_in, last.tokens_out)


def error_of(status: int, text: str, name: str, retry_after: str = "") -> EngineError:
    """The error that an HTTP status means. `text` is the response's body, `name` the model asked for."""
    if status in (429, 503):
        return Busy(0, float(retry_after) if retry_after.isdecimal() else 1.0)
    found = f"status {status}: {text[:200]}"
    if status == 404:
        return AdapterMissing(f"The server has no model {name} ({found}).", "Load the adapter first.")
    return EngineError(f"The server refused the request ({found}).", "See the server's log.")
