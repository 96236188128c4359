"""In which form a log is, by the keys that only that form has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.data.reader.mapping import opened

Row = Mapping[str, Any]
SPANS = ("SPAN", "EVENT", "TOOL", "RETRIEVER", "CHAIN", "EMBEDDING", "GUARDRAIL", "EVALUATOR")  # no answers
_LANGFUSE = {
    "traceId", "usageDetails", "usage_details", "providedModelName", "provided_model_name", "observations",
    "parentObservationId", "parent_observation_id", "completionStartTime", "completion_start_time",
    "htmlPath",
    "startTime", "start_time", "sessionId", "promptTokens", "bookmarked",
}  # fmt: skip
_LITELLM = {
    "call_type", "model_group", "proxy_server_request", "request_duration_ms", "spend", "response_cost",
    "end_user",
    "hidden_params", "startTime", "endTime", "cache_hit", "custom_llm_provider", "litellm_call_id",
    "litellm_params",
    "response_time", "model_map_information", "standard_logging_object",
}  # fmt: skip


def _is_langfuse(row: Row) -> bool:
    kind = row.get("type")
    known = bool(_LANGFUSE & row.keys()) or (isinstance(kind, str) and kind.upper() in ("GENERATION", *SPANS))
    return known and "input" in row and "output" in row


def _is_litellm(row: Row) -> bool:
    return bool(_LITELLM & row.keys()) and "response" in row


def _is_sharegpt(row: Row) -> bool:
    turns = next(
        (opened(row[name]) for name in ("conversations", "conversation", "items") if name in row), None
    )
    return isinstance(turns, list) and any(
        isinstance(one, Mapping) and "from" in one and "value" in one for one in turns
    )


def _is_openai(row: Row) -> bool:
    response = opened(row.get("response"))
    inner = opened(response.get("body")) if isinstance(response, Mapping) and "body" in response else response
    answers = isinstance(inner, Mapping) and bool({"choices", "output"} & inner.keys())
    return answers or "choices" in row or row.get("object") in ("chat.completion", "response")


MARKED: dict[str, Callable[[Row], bool]] = {
    "langfuse": _is_langfuse, "litellm": _is_litellm, "sharegpt": _is_sharegpt, "openai": _is_openai,
}  # fmt: skip


def marked_forms(rows: Sequence[Row]) -> list[str]:
    """The forms whose own keys most rows have, the most particular first."""
    return [form for form, is_one in MARKED.items() if 2 * sum(map(is_one, rows)) > len(rows)]


def product_of(rows: Sequence[Row]) -> str | None:
    """A product whose exports have no form of their own here."""
    names = {name.lower() for row in rows[:20] for name in row}
    if {"run_type", "inputs"} <= names or {"dotted_order", "inputs"} <= names:
        return "LangSmith"
    if any(name.startswith("helicone") for name in names) or {"request_body", "response_body"} <= names:
        return "Helicone"
    azure = {"backendrequestbody", "_resourceid", "resourceid", "modeldeploymentname", "operationname"}
    return "Azure OpenAI" if azure & names else None
