"""Reads a server's answer: server-sent events, or one JSON object. Without any connection."""

from __future__ import annotations

import codecs
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from gateway.engines.base import EngineError, FinishReason, Piece, RequestRefused
from gateway.engines.openai_calls import CallsReader
from gateway.engines.openai_wire import refused
from pipelines.core.chat_api import words_of
from pipelines.core.probes import Token

MOST_WAITING = 4_000_000  # characters of one event
MOST_LINES = 10_000  # of one event
MOST_TOKENS = 2**31  # a larger count is a mistake
MOST_LIKELY = 100  # log-probabilities of a token; more are left out
_LINE_END = re.compile(r"\r\n|\n|\r")
# As OpenAI names them, and as other servers do.
_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "stop_token"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use"), "tool_calls"),
}
FILTERED = "content_filter"  # a finish reason of OpenAI's
log = logging.getLogger("nightshift.gateway")


class AnswerReader:
    """Makes pieces of the bytes that a server sends, in whatever parts they come.

    Drops white space at both ends of the answer, as evaluation does.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""  # a line that has not ended yet
        self._data: list[str] = []  # lines of an event that has not ended yet
        self._is_stream: bool | None = None  # known from the first line with text
        self._held, self._started = "", False  # white space that is sent only if text follows
        self._reason = ""
        self._ended = False  # the server said that the answer is whole
        self._usage: dict[str, Any] = {}
        self._texts = 0
        self._tokens: list[Token] = []
        self._calls = CallsReader()

    def feed(self, part: bytes, final: bool = False) -> Iterator[Piece]:
        """The pieces that the next part completes. Raises EngineError or RequestRefused where it has one."""
        text = self._rest + self._decoder.decode(part, final)
        if not final and text.endswith("\r"):  # it may be one half of a line's end
            text, held = text[:-1], "\r"
        else:
            held = ""
        *lines, rest = _LINE_END.split(text)
        self._rest = rest + held
        if len(self._rest) + sum(map(len, self._data)) > MOST_WAITING or len(self._data) > MOST_LINES:
            raise EngineError("The server sent an event without end.", "See the server's log.")
        for line in [*lines, rest, ""] if final else lines:
            yield from self._line(line)
        if final and (body := "\n".join(self._data).strip()):
            yield from self._event(body, must_be_whole=True)

    def last(self) -> Piece:
        """The last piece, once the stream has ended.

        Raises EngineError if the answer is not whole, and RequestRefused if the server holds it back.
        """
        reason = self._reason or ("stop" if self._ended else "")
        if reason == FILTERED:
            raise RequestRefused(FILTERED, "the engine's filter holds the answer to this request back")
        if reason not in _REASONS:
            found = f"its finish reason is {reason[:40]!r}" if reason else "no finish reason came"
            raise EngineError(f"The server's answer broke off: {found}.", "Send the request again.")
        counts = (self._count("prompt_tokens", 0), self._count("completion_tokens", self._texts))
        calls, why = self._calls.whole(), _REASONS[reason]
        if why != "length":
            why = "tool_calls" if calls else "stop"
        return Piece("", why, *counts, calls=calls, tokens=tuple(self._tokens))

    def _line(self, line: str) -> Iterator[Piece]:
        """A line adds to an event, or ends it. Servers also send events without a blank line between."""
        if self._is_stream is None and line.strip():
            self._is_stream = not line.lstrip().startswith("{")
        if not self._is_stream:
            self._data.append(line)  # one JSON object, read at its end
            return
        if line.startswith("data:"):
            self._data.append(line[5:].removeprefix(" "))
        elif line.strip():
            return  # a comment, or another field
        whole = "\n".join(self._data).strip()
        if whole == "[DONE]":
            self._data, self._ended = [], True
        elif whole:
            yield from self._event(whole, must_be_whole=not line.strip())

    def _event(self, text: str, must_be_whole: bool) -> Iterator[Piece]:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError) as error:
            if not must_be_whole:
                return
            words = (
                f"The server sent {len(text)} characters that are no JSON."  # not quoted: the answer's text
            )
            raise EngineError(words, "See the server's log.") from error
        self._data = []
        if isinstance(event, dict):
            yield from self._pieces(event)

    def _pieces(self, event: dict[str, Any]) -> Iterator[Piece]:
        if event.get("error") or event.get("object") == "error":
            raise _reported(event)
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                yield from self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Piece]:
        if isinstance(choice.get("finish_reason"), str):
            self._reason = choice["finish_reason"] or self._reason
        if isinstance(choice.get("message"), dict):  # the whole answer, not streamed
            self._ended = True
        self._tokens += tokens_of(choice.get("logprobs"))
        for said in (choice.get("delta"), choice.get("message")):
            self._calls.add(said.get("tool_calls") if isinstance(said, dict) else None)
        text = self._held + _text_of(choice.get("delta")) + _text_of(choice.get("message"))
        text = text if self._started else text.lstrip()
        sent = text.rstrip()
        self._held = text[len(sent) :]
        if sent:
            self._started, self._texts = True, self._texts + 1
            yield Piece(sent)

    def _count(self, name: str, otherwise: int) -> int:
        """A token count that can be stored; of the answer, where it is missing, the pieces are counted."""
        found = self._usage.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < MOST_TOKENS:
            return found
        if found is not None:
            log.warning("the server's %s is no token count: %s", name, words_of(str(found)[:80]))
        return otherwise


def tokens_of(logprobs: Any) -> Iterator[Token]:
    """The tokens of a choice's `logprobs`, each with the likeliest ones. What cannot be read is left out."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for one in content if isinstance(content, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("token"), str):
            continue
        top = one.get("top_logprobs")
        likeliest = [_likely(each) for each in (top if isinstance(top, list) else [])[:MOST_LIKELY]]
        own = _likely(one)
        yield Token(
            text=one["token"], logprob=own and own[1], likeliest=tuple(each for each in likeliest if each)
        )


def _likely(token: Any) -> tuple[str, float] | None:
    """A token's text and log-probability."""
    text, value = (token.get("token"), token.get("logprob")) if isinstance(token, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return (text, float(value)) if value <= 1e-3 else None  # rounded, a certain token may be above 0


def _text_of(message: Any) -> str:
    """The text of a delta or a message: a string, or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        return ""
    return content.encode(errors="replace").decode()  # half a character can be sent to nobody


def _reported(event: dict[str, Any]) -> EngineError | RequestRefused:
    """An error that comes instead of the answer, or within it."""
    text = json.dumps(event, ensure_ascii=False)
    error = event.get("error", event)
    code = error.get("code") if isinstance(error, dict) else None
    if str(code) in ("400", "413", "422", "context_length_exceeded"):
        return refused(text)
    return EngineError(f"The server reports an error: {words_of(text)}.", "See the server's log.")
