"""Errors as the API server words them: a Status document and its HTTP status."""

from __future__ import annotations

from typing import Any

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """An answer that is not the object. `document` is the body; `headers` go with it."""

    def __init__(
        self, code: int, message: str, reason: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers: dict[str, str] = {}
        self.document: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason or REASONS[code],
            **({"details": details} if details else {}),
            "code": code,
        }


def qualified(plural: str, group: str) -> str:
    """`pods` or `jobs.batch`: how messages name a resource."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return ApiError(404, f'{qualified(plural, group)} "{name}" not found', details=details)


def already_exists(plural: str, group: str, name: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return ApiError(409, f'{qualified(plural, group)} "{name}" already exists', "AlreadyExists", details)


def conflict(plural: str, group: str, name: str, why: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    text = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, text, details=details)


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return ApiError(403, f'{qualified(plural, group)} "{name}" is forbidden: {why}', details=details)


def invalid(kind: str, group: str, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """Each cause: the field, the reason (`FieldValueInvalid`), the message."""
    texts = [f"{field}: {message}" for field, _, message in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        "name": name,
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [
            {"reason": reason, "message": message, "field": field} for field, reason, message in causes
        ],
    }
    who = f"{kind}.{group}" if group else kind
    return ApiError(422, f'{who} "{name}" is invalid: {joined}', details=details)


def expired(text: str) -> ApiError:
    return ApiError(410, text, "Expired")
