"""Requests to the judge's server: bounded in number, time and size, and repeated where that may help."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from pipelines.core.config import Config, Judge
from pipelines.core.errors import InputError
from pipelines.evaluation.judges.prompt import RESPONSE_FORMAT

MOST_BYTES = 1 << 20  # of a response
MOST_WORDS = 200  # characters of a server's message that are passed on
LONGEST_WAIT_S = 30.0
NOT_ALLOWED = (401, 403)
WRONG_PLACE = (404, 405)
BUSY = (408, 409, 425, 429)
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
        self._settings, self._budget = config.judge, budget
        self._key = key_of(config)
        self._takes_format = True
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(headers=headers, timeout=config.judge.timeout_s)
        self._url = f"{server_root(config.judge.url)}/v1/chat/completions"

    def __enter__(self) -> JudgeClient:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def reply(self, messages: list[dict[str, str]]) -> str:
        """The text that the model replies. Raises NoReply, and Stopped where others would fail as well."""
        why = ""
        for attempt in range(self._settings.attempts):
            formatted = self._takes_format
            try:
                status, text, wait = self._send(messages, formatted)
            except httpx.HTTPError as error:
                status, text, wait = 0, type(error).__name__, ""
            if status == 200:
                return self._content(text)
            why = self._problem(status, text)
            if status == 400 and formatted and FORMAT in text:
                self._takes_format = False  # the server does not know it; the prompt asks for the same
            elif 0 < status < 500 and status not in BUSY:
                raise NoReply(why)
            elif attempt + 1 < self._settings.attempts:
                time.sleep(self._pause(attempt, wait))
        raise NoReply(why)

    def _send(self, messages: list[dict[str, str]], formatted: bool) -> tuple[int, str, str]:
        """Status, body and the server's `retry-after`."""
        self._budget.take()
        asked = {"model": self._settings.model, "messages": messages, "stream": False}
        body = {**({FORMAT: RESPONSE_FORMAT} if formatted else {}), **self._settings.body, **asked}
        with self._client.stream("POST", self._url, content=json.dumps(body).encode()) as response:
            text = self._read(response).decode(errors="replace")
        return response.status_code, text, response.headers.get("retry-after", "")

    def _read(self, response: httpx.Response) -> bytes:
        """The body, of bounded size, within the time of a request. The client's time-out is for each part."""
        began, parts, size = time.monotonic(), list[bytes](), 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise NoReply(f"the server's response is longer than {MOST_BYTES} bytes")
            if time.monotonic() - began > self._settings.timeout_s:
                raise httpx.ReadTimeout("the response takes too long")
        return b"".join(parts)

    def _content(self, text: str) -> str:
        """The text in a response; "" where it has none, which is no verdict."""
        try:
            found = json.loads(text)
            self._budget.used(found.get("usage"))
            content = found["choices"][0]["message"]["content"]
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return ""
        return content if isinstance(content, str) else ""

    def _problem(self, status: int, text: str) -> str:
        """What went wrong, in words without the key. Raises Stopped for what no request can mend."""
        if status == 0:
            return f"no answer ({text})"
        if status in NOT_ALLOWED:  # servers repeat parts of the key here
            raise Stopped(f"the server refuses the key (status {status}): see judge.api_key_file")
        words = f"status {status}: {_plain(text.replace(self._key, '***') if self._key else text)}"
        if status in WRONG_PLACE or 300 <= status < 400:
            raise Stopped(f"judge.url or judge.model is wrong ({words})")
        return words

    def _pause(self, attempt: int, wait: str) -> float:
        """Seconds before another attempt: as the server asks, or doubled each time, with some chance."""
        if wait.isdecimal():
            return min(float(wait), LONGEST_WAIT_S)
        longest = min(self._settings.backoff_s * 2.0**attempt, LONGEST_WAIT_S)
        return longest * random.uniform(0.5, 1.0)


def server_root(url: str) -> str:
    """`judge.url` without a slash or /v1 at its end."""
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def key_of(config: Config) -> str:
    """The bearer token; "" without a file. Raises InputError for a file that cannot be used."""
    if not config.judge.api_key_file:
        return ""
    path = Path(config.path(config.judge.api_key_file))
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(
            f"The key of the judge in {path} cannot be read: {reason}.",
            "Let judge.api_key_file name a file that holds the key alone.",
        ) from None
    if not key.isascii() or not key.isprintable() or not key:
        raise InputError(
            f"{path} holds no key: it is empty, or has more than one line.", "Write the key alone into it."
        )
    return key


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _plain(text: str) -> str:
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    return " ".join(words)[:MOST_WORDS] or "no reason given"
