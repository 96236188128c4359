"""An endpoint of the form of OpenAI's /v1/moderations: which texts it flags, and how sure it is.

https://platform.openai.com/docs/api-reference/moderations. A reply that is not of that form is a fault: what
was not judged is never harmless.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
from pydantic import BaseModel, Field, StrictBool, ValidationError

from pipelines.core.config import Moderation
from pipelines.core.errors import InputError, NightshiftError, UnavailableError

BATCH = 32  # texts of one request
MOST_BYTES = 4 * 2**20  # of a reply
LONGEST_WAIT_S = 30.0  # before another attempt
BUSY = (408, 409, 425, 429)  # and all from 500 on: the same request may succeed later
log = logging.getLogger("nightshift")
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Busy(Exception):
    """The server may answer later; with what it said."""


class _Result(BaseModel):
    """What the server says of one text. Other fields are not read."""

    flagged: StrictBool
    category_scores: dict[str, Score | None] | None = None

    @property
    def harm(self) -> float:
        """In [0, 1], at least 0.5 where it is flagged; among those that are, the highest score tells."""
        highest = max((one or 0.0 for one in (self.category_scores or {}).values()), default=0.0)
        return 0.5 + highest / 2 if self.flagged else min(highest / 2, 0.499999)


class _Reply(BaseModel):
    results: list[_Result]


class ModerationEndpoint:
    """Scores texts by harm. Raises InputError where the key's file cannot be read."""

    def __init__(self, settings: Moderation) -> None:
        self._settings = settings
        root = settings.url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
        self._address = f"{root}/v1/moderations"
        self._headers = {"Authorization": f"Bearer {key}"} if (key := _key(settings)) else {}

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) harm in [0, 1] of each text, from 0.5 on flagged.

        Raises UnavailableError where the server does not answer, and InputError where it refuses or its
        reply is not of the expected form.
        """
        found: list[float] = []
        with httpx.Client(headers=self._headers, timeout=self._settings.timeout_s) as client:
            for start in range(0, len(texts), BATCH):
                found += self._judged(client, [_sound(text) for text in texts[start : start + BATCH]])
        return np.array(found)

    def _judged(self, client: httpx.Client, texts: list[str]) -> list[float]:
        results = self._reply(client, texts).results
        if len(results) != len(texts):
            raise self._broken(f"{len(results)} results for {len(texts)} texts")
        return [one.harm for one in results]

    def _reply(self, client: httpx.Client, texts: list[str]) -> _Reply:
        """What the server says, asked again where it is busy, broken or away."""
        wait_s = self._settings.backoff_s
        for left in reversed(range(self._settings.attempts)):
            try:
                return self._asked(client, texts)
            except (httpx.TransportError, _Busy) as error:
                said = str(error) or type(error).__name__
                if not left:
                    raise UnavailableError(
                        f"The moderation endpoint {self._address} did not answer (attempts: "
                        f"{self._settings.attempts}; at last: {said}).",
                        "Look after the server, or correct safety.moderation.",
                    ) from None
                log.info("safety: the moderation endpoint did not answer (%s)", said)
            time.sleep(min(wait_s, LONGEST_WAIT_S))
            wait_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _asked(self, client: httpx.Client, texts: list[str]) -> _Reply:
        named = {"model": self._settings.model} if self._settings.model else {}
        try:
            with client.stream("POST", self._address, json={"input": texts, **named}) as response:
                body = self._body(response)
        except httpx.DecodingError as error:
            raise self._broken(str(error)) from None
        if response.status_code in BUSY or response.status_code >= 500:
            raise _Busy(f"status {response.status_code}")
        if response.status_code != 200:
            raise self._refused(response.status_code, body)
        try:
            return _Reply.model_validate_json(body)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise self._broken(f"{place}: {wrong['msg']}" if place else wrong["msg"]) from None

    def _body(self, response: httpx.Response) -> bytes:
        """The reply, as far as it is not too long and does not drip in for ever."""
        ends, body = time.monotonic() + self._settings.timeout_s, b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise self._broken(f"more than {MOST_BYTES // 2**20} MiB")
            if time.monotonic() > ends:
                raise _Busy(f"its reply took longer than {self._settings.timeout_s:g} s")
        return body

    def _refused(self, status: int, body: bytes) -> NightshiftError:
        said = " ".join(body[:300].decode("utf-8", "replace").split())
        remedy = "Correct safety.moderation.url and safety.moderation.model."
        if status in (401, 403):
            remedy = "Put a key that it takes into the file of safety.moderation.api_key_file."
        return InputError(
            f"The moderation endpoint {self._address} refused a request ({status}: {said}).", remedy
        )

    def _broken(self, what: str) -> NightshiftError:
        return InputError(
            f"The reply of the moderation endpoint {self._address} cannot be used ({what}).",
            "Name a server that answers in the form of OpenAI's /v1/moderations in safety.moderation.url.",
        )


def _sound(text: str) -> str:
    """A text without halves of characters, which no JSON holds."""
    return text.encode("utf-8", "replace").decode()


def _key(settings: Moderation) -> str:
    if not settings.api_key_file:
        return ""
    try:
        return Path(settings.api_key_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The key of the moderation endpoint in {settings.api_key_file} cannot be read "
            f"({getattr(error, 'strerror', None) or 'not text'}).",
            "Correct safety.moderation.api_key_file.",
        ) from None
