"""Answers that are no answers, in OpenAI's shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """The gateway does not answer: an HTTP status, a code for programs and words for people."""

    def __init__(self, status: int, code: str, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.code, self.words, self.headers = status, code, words, dict(headers or {})

    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.words, "type": kind, "code": self.code}}


def later(status: int, code: str, words: str, seconds: float) -> Refusal:
    """A refusal that says when to come again."""
    return Refusal(status, code, words, {"Retry-After": str(max(1, math.ceil(seconds)))})
