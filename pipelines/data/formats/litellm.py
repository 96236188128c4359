"""LiteLLM: its standard logging payload (S3, GCS and other loggers) and rows of its table of spend logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.data.formats.chat import answer_of, first, messages_of, system_of, utc
from pipelines.data.reader.mapping import opened
from pipelines.data.reader.turns import NoChat, UnfitMessages

REDACTED, TRUNCATED = "redacted-by-litellm", "(litellm_truncated"


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row under our names."""
    request = _request(row)
    found = {
        "request_id": first(row, "request_id", "id", "litellm_call_id"),
        "ts": utc(first(row, "endTime", "end_time", "startTime", "start_time")),
        "tenant": first(row, "team_id", "metadata.user_api_key_team_alias", "metadata.user_api_key_team_id",
                        "metadata.user_api_key_org_id"),
        "subject_id": first(row, "end_user", "metadata.user_api_key_end_user_id", "user",
                            "metadata.user_api_key_user_id"),
        "conversation_id": first(row, "session_id", "trace_id"),
        "messages": _no_chat(row) or messages_of(request),
        "system": system_of(request),
        "completion": _whole(answer_of(first(row, "response"))),
        "tools": first(request, "tools"),
        "adapter": first(row, "model_group", "model"),
        "tokens_in": first(row, "prompt_tokens"),
        "tokens_out": first(row, "completion_tokens"),
        "latency_ms": _milliseconds(row),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _request(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked. The table leaves `messages` empty where it stores the request as a whole."""
    stored = [opened(row.get(name)) for name in ("model_parameters", "proxy_server_request")]
    request = {key: value for one in stored if isinstance(one, Mapping) for key, value in one.items()}
    messages = opened(row.get("messages"))
    if messages == REDACTED or TRUNCATED in str(messages or request):
        return {"messages": UnfitMessages("a text that LiteLLM has cut or redacted")}
    return {**request, "messages": messages} if messages else request


def _no_chat(row: Mapping[str, Any]) -> NoChat | None:
    """Why a row is no answer of a chat model; None where it may be one."""
    kind, status = first(row, "call_type"), first(row, "status")
    if (
        isinstance(kind, str)
        and kind
        and not any(word in kind for word in ("completion", "response", "messages"))
    ):
        return NoChat(f"no chat, but a call of type {kind[:40]}")
    return NoChat("a call that failed") if status == "failure" else None


def _whole(text: Any) -> Any:
    """The text, unless LiteLLM cut it or took it out."""
    if isinstance(text, str) and (text == REDACTED or TRUNCATED in text):
        return UnfitMessages("a text that LiteLLM has cut or redacted")
    return text


def _milliseconds(row: Mapping[str, Any]) -> Any:
    spent, seconds = first(row, "request_duration_ms"), first(row, "response_time")
    return seconds * 1000 if spent is None and isinstance(seconds, int | float) else spent
