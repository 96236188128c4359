"""OpenAI's chat JSON lines: fine-tuning files, stored completions, and logs of a request and its response.

`{"messages": [..., {"role": "assistant", ...}]}`, `{"request": {...}, "response": {...}}`, the output of a
batch (`custom_id`, `response.body`) joined with its input (`body`), a chat completion that holds its
`messages`, or an object of the Responses API (`instructions`, `input`, `output`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.data.formats.chat import answer_of, first, messages_of, system_of
from pipelines.data.reader.mapping import opened


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row under our names; names that are ours already stay."""
    inner = opened(first(row, "request.body", "request", "body"))
    request = inner if isinstance(inner, Mapping) else row
    response = first(row, "response.body", "response", "output")
    found = {
        "request_id": first(row, "request_id", "custom_id", "id", "response.id", "response.body.id"),
        "ts": first(row, "ts", "timestamp", "created_at", "created", "response.created",
                    "response.created_at", "response.body.created"),
        "subject_id": first(row, "subject_id", "user", "request.user", "request.body.user", "body.user"),
        "conversation_id": first(row, "conversation_id", "session_id", "metadata.conversation_id"),
        "messages": first(row, "messages") or messages_of(request),
        "system": system_of(request) or system_of(row),
        "completion": _completion(row, response),
        "tools": first(request, "tools", "functions") or first(row, "tools", "functions"),
        "tokens_in": first(row, "tokens_in", "usage.prompt_tokens", "response.usage.prompt_tokens",
                           "response.body.usage.prompt_tokens"),
        "tokens_out": first(row, "tokens_out", "usage.completion_tokens", "response.usage.completion_tokens",
                            "response.body.usage.completion_tokens"),
    }  # fmt: skip
    return {**row, **{name: value for name, value in found.items() if value is not None}}


def _completion(row: Mapping[str, Any], response: Any) -> Any:
    if "completion" in row:
        return row["completion"]
    return answer_of(row if "choices" in row else response)
