"""Requests to the judge's server, out of a budget of requests and time."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType
from typing import Any

from pipelines.core.chat_api import server_root
from pipelines.core.config import Config, Judge
from pipelines.core.files import read_key
from pipelines.evaluation.judges.prompt import RESPONSE_FORMAT
from pipelines.models.api_client import ApiClient, Away, Reply, Unusable

MOST_BYTES = 1 << 20  # of a response
NOT_ALLOWED = (401, 403)
WRONG_PLACE = (404, 405)
FORMAT = "response_format"


class Stopped(Exception):
    """No further request makes sense, for this reason."""


class NoReply(Exception):
    """This request has no reply, for this reason."""


class Budget:
    """What may still be asked, counted over all threads. `started` is the clock when it began."""

    def __init__(self, settings: Judge) -> None:
        self.requests = self.tokens_in = self.tokens_out = 0
        self._settings, self._started, self._lock = settings, time.monotonic(), threading.Lock()

    def take(self) -> None:
        """Count one request. Raises Stopped where none is left."""
        with self._lock:
            if self.requests >= self._settings.max_requests:
                raise Stopped(f"judge.max_requests ({self._settings.max_requests}) are used up")
            if time.monotonic() - self._started > self._settings.max_duration_s:
                raise Stopped(f"judge.max_duration_s ({self._settings.max_duration_s:g}) is over")
            self.requests += 1

    def used(self, usage: Any) -> None:
        """Count the tokens that a response states."""
        counts = usage if isinstance(usage, dict) else {}
        with self._lock:
            self.tokens_in += _count(counts.get("prompt_tokens"))
            self.tokens_out += _count(counts.get("completion_tokens"))


class JudgeClient:
    """A connection to the server that `judge.url` names; use it in a `with` block, from any thread."""

    def __init__(self, config: Config, budget: Budget) -> None:
        """Raises InputError where the key's file cannot be read."""
        self._settings, self._budget, self._takes_format = config.judge, budget, True
        self._client = ApiClient(
            server_root(config.judge.url, "judge.url"),
            key_of(config),
            config.judge.timeout_s,
            config.judge.attempts,
            config.judge.backoff_s,
            most_bytes=MOST_BYTES,
            before=budget.take,
        )

    def __enter__(self) -> JudgeClient:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def reply(self, messages: list[dict[str, str]]) -> str:
        """The text that the model replies. Raises NoReply, and Stopped where others would fail as well."""
        formatted = self._takes_format
        reply = self._sent(messages, formatted)
        if reply.status == 400 and formatted and FORMAT in reply.text:
            self._takes_format = False  # the server does not know it; the prompt asks for the same
            reply = self._sent(messages, False)
        if reply.status != 200:
            raise _refused(reply)
        return self._content(reply.text)

    def _sent(self, messages: list[dict[str, str]], formatted: bool) -> Reply:
        asked = {"model": self._settings.model, "messages": messages, "stream": False}
        body = {**({FORMAT: RESPONSE_FORMAT} if formatted else {}), **self._settings.body, **asked}
        try:
            return self._client.send("POST", "/v1/chat/completions", body)
        except (Away, Unusable) as error:
            raise NoReply(str(error)) from None

    def _content(self, text: str) -> str:
        """The text in a response; "" where it has none, which is no verdict."""
        try:
            found = json.loads(text)
            self._budget.used(found.get("usage"))
            content = found["choices"][0]["message"]["content"]
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return ""
        return content if isinstance(content, str) else ""


def _refused(reply: Reply) -> Stopped | NoReply:
    """What a refusal means: for this request, or for all."""
    if reply.status in NOT_ALLOWED:  # servers repeat parts of the key here
        return Stopped(f"the server refuses the key (status {reply.status}): see judge.api_key_file")
    if reply.status in WRONG_PLACE or 300 <= reply.status < 400:
        return Stopped(f"judge.url or judge.model is wrong ({reply.words})")
    return NoReply(reply.words)


def key_of(config: Config) -> str:
    """The bearer token; "" without a file. Raises InputError for a file that cannot be used."""
    return read_key(config.path(config.judge.api_key_file), "judge.api_key_file")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
