"""Requests to a server with an API like OpenAI's: bounded in size and time, repeated where that may help."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from pipelines.core.chat_api import MOST_WORDS, words_of

MOST_BYTES = 4 * 2**20  # of a reply, if the caller says nothing else
LONGEST_WAIT_S = 30.0  # before another attempt
BUSY = (408, 409, 425, 429)  # and all from 500 on: the same request may succeed later

log = logging.getLogger("nightshift")


class Away(Exception):
    """The server did not answer at any attempt, for this reason."""


class Unusable(Exception):
    """The server sent what cannot be read, for this reason. Another attempt would bring the same."""


class Reply(NamedTuple):
    status: int
    text: str
    retry_after: str = ""

    @property
    def words(self) -> str:
        """What a refusal says, on one line."""
        return f"status {self.status}: {words_of(self.text)}"


class ApiClient:
    """One server. May be used by several threads at once; `close` it."""

    def __init__(
        self,
        root: str,
        key: str,
        timeout_s: float,
        attempts: int,
        backoff_s: float,
        connect_timeout_s: float | None = None,
        most_bytes: int = MOST_BYTES,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """`timeout_s`: for a whole reply. `backoff_s`: before the second attempt; it doubles.

        `before` is called before each attempt, and may raise to end them.
        """
        self.root, self._key, self._before = root, key, before
        self._timeout_s, self._attempts, self._backoff_s = timeout_s, attempts, backoff_s
        self._most_bytes = most_bytes
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s or timeout_s),
            limits=httpx.Limits(max_connections=None),
        )

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """The reply, which is none of a server that is busy. Raises Away and Unusable."""
        why = ""
        for attempt in range(self._attempts):
            self._before()
            try:
                reply = self._once(method, path, body)
            except httpx.TransportError as error:
                why, wait = f"no answer ({type(error).__name__}): {error}"[:MOST_WORDS], ""
            else:
                if reply.status not in BUSY and reply.status < 500:
                    return reply
                why, wait = reply.words, reply.retry_after
            if attempt + 1 < self._attempts:
                log.info("the server at %s: %s; it is asked again", self.root, why)
                time.sleep(self._pause(attempt, wait))
        raise Away(why)

    def close(self) -> None:
        self._client.close()

    def _once(self, method: str, path: str, body: Any) -> Reply:
        # As ASCII, because a text may hold half of a character, which no UTF-8 does.
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            with self._client.stream(method, self.root + path, content=content, headers=headers) as response:
                text = self._read(response).decode(errors="replace")
        except httpx.DecodingError as error:
            raise Unusable(str(error)) from None
        # Servers repeat parts of what they were sent.
        text = text.replace(self._key, "***") if self._key else text
        return Reply(response.status_code, text, response.headers.get("retry-after", ""))

    def _read(self, response: httpx.Response) -> bytes:
        """The body. The client's time-out is for each part, so a drip would never end."""
        ends, body = time.monotonic() + self._timeout_s, bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > self._most_bytes:
                raise Unusable(
                    f"the reply is longer than a reply may be: more than {self._most_bytes // 2**20} MiB"
                )
            if time.monotonic() > ends:
                raise httpx.ReadTimeout("the reply takes too long")
        return bytes(body)

    def _pause(self, attempt: int, wait: str) -> float:
        """Seconds before another attempt: as the server asks, or doubled each time, with some chance."""
        if wait.isdecimal():
            return min(float(wait), LONGEST_WAIT_S)
        longest = min(self._backoff_s * 2.0**attempt, LONGEST_WAIT_S)
        return longest * random.uniform(0.5, 1.0)
