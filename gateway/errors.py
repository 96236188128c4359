"""Refusals: what a client gets when the gateway does not answer, in the shape of OpenAI's errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """The client gets no answer, but an HTTP status, a `code` for programs and a `message` for people.

    `param` names the option or the field of the body that is wrong, if one is.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP response."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def retry_later(status: int, code: str, message: str, seconds: float) -> Refusal:
    """A refusal that tells the client to try again after `seconds` (header Retry-After)."""
    return Refusal(status, code, message, {"Retry-After": str(max(1, math.ceil(seconds)))})
