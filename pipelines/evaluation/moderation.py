"""An endpoint of the form of OpenAI's /v1/moderations: which texts it flags, and how sure it is.

https://platform.openai.com/docs/api-reference/moderations. A reply that is not of that form is a fault: what
was not judged is never harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, StrictBool, ValidationError

from pipelines.core.chat_api import server_root, words_of
from pipelines.core.config import Moderation
from pipelines.core.errors import InputError, NightshiftError, UnavailableError
from pipelines.core.files import read_key
from pipelines.models.api_client import ApiClient, Away, Reply, Unusable

PATH = "/v1/moderations"
BATCH = 32  # texts of one request
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


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
        self._client = ApiClient(
            server_root(settings.url, "safety.moderation.url"),
            read_key(settings.api_key_file, "safety.moderation.api_key_file"),
            settings.timeout_s,
            settings.attempts,
            settings.backoff_s,
        )
        self._address = f"{self._client.root}{PATH}"

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) harm in [0, 1] of each text, from 0.5 on flagged.

        Raises UnavailableError where the server does not answer, and InputError where it refuses or its
        reply is not of the expected form.
        """
        found: list[float] = []
        for start in range(0, len(texts), BATCH):
            found += self._judged([_sound(text) for text in texts[start : start + BATCH]])
        return np.array(found)

    def _judged(self, texts: list[str]) -> list[float]:
        results = self._asked(texts).results
        if len(results) != len(texts):
            raise self._broken(f"{len(results)} results for {len(texts)} texts")
        return [one.harm for one in results]

    def _asked(self, texts: list[str]) -> _Reply:
        named = {"model": self._settings.model} if self._settings.model else {}
        try:
            reply = self._client.send("POST", PATH, {"input": texts, **named})
        except Unusable as error:
            raise self._broken(str(error)) from None
        except Away as error:
            raise UnavailableError(
                f"The moderation endpoint {self._address} did not answer (attempts: "
                f"{self._settings.attempts}; at last: {error}).",
                "Look after the server, or correct safety.moderation.",
            ) from None
        if reply.status != 200:
            raise self._refused(reply)
        try:
            return _Reply.model_validate_json(reply.text)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise self._broken(f"{place}: {wrong['msg']}" if place else wrong["msg"]) from None

    def _refused(self, reply: Reply) -> NightshiftError:
        remedy = "Correct safety.moderation.url and safety.moderation.model."
        if reply.status in (401, 403):
            remedy = "Put a key that it takes into the file of safety.moderation.api_key_file."
        return InputError(
            f"The moderation endpoint {self._address} refused a request "
            f"({reply.status}: {words_of(reply.text)}).",
            remedy,
        )

    def _broken(self, what: str) -> NightshiftError:
        return InputError(
            f"The reply of the moderation endpoint {self._address} cannot be used ({what}).",
            "Name a server that answers in the form of OpenAI's /v1/moderations in safety.moderation.url.",
        )


def _sound(text: str) -> str:
    """A text without halves of characters, which no JSON holds."""
    return text.encode("utf-8", "replace").decode()
