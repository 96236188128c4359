"""Langfuse: generations and traces, exported from its page, its API or to a bucket, as JSON, JSONL or CSV.

`input` is what was asked and `output` the answer. Scores are named with `[ingest.columns]`:
`rating = "scores.user-feedback.value"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines.data.formats.chat import answer_of, first, messages_of, system_of, utc
from pipelines.data.reader.turns import NoChat


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row under our names."""
    found = {
        "request_id": first(row, "id", "traceId", "trace_id"),
        "ts": utc(first(row, "endTime", "end_time", "startTime", "start_time", "timestamp")),
        "subject_id": first(row, "userId", "user_id", "trace.userId"),
        "conversation_id": first(row, "sessionId", "session_id", "trace.sessionId"),
        "messages": _no_chat(row) or messages_of(first(row, "input")),
        "system": system_of(first(row, "input")),
        "completion": answer_of(first(row, "output")),
        "tools": first(row, "input.tools", "modelParameters.tools", "model_parameters.tools"),
        "adapter": first(row, "model", "providedModelName", "provided_model_name"),
        "tokens_in": first(row, "usageDetails.input", "usage_details.input", "usage.input", "promptTokens",
                           "inputUsage", "prompt_tokens"),
        "tokens_out": first(row, "usageDetails.output", "usage_details.output", "usage.output",
                            "completionTokens", "outputUsage", "completion_tokens"),
        "latency_ms": _milliseconds(row),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _no_chat(row: Mapping[str, Any]) -> NoChat | None:
    """Why an observation is no answer of a model; None for a generation and for a trace."""
    kind, level = first(row, "type"), first(row, "level")
    if isinstance(kind, str) and kind.upper() not in ("GENERATION", "TRACE"):
        return NoChat(f"no generation, but {kind[:40]}")
    return NoChat("a call that failed") if level == "ERROR" else None


def _milliseconds(row: Mapping[str, Any]) -> Any:
    """From start to end. Its own `latency` is in seconds or milliseconds, by the kind of export."""
    start, end = first(row, "startTime", "start_time"), first(row, "endTime", "end_time")
    try:
        spent = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    except (TypeError, ValueError):
        return None
    return spent.total_seconds() * 1000
