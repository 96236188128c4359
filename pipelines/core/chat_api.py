"""What is sent to a server with OpenAI's chat API. The gateway and the evaluation send the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipelines.core.addresses import is_api
from pipelines.core.conversations import Message
from pipelines.core.errors import InputError
from pipelines.core.tools import apart, arguments_text, calls_of

TEMPLATE_FIELD = "chat_template_kwargs"  # by which vLLM and others take a template's variables
MOST_WORDS = 300  # characters of a server's message that are passed on


def server_root(url: str, setting: str = "serving.url") -> str:
    """An address without a slash or /v1 at its end. A path before /v1 is kept. Raises InputError."""
    if not is_api(url.strip()):
        raise InputError(
            f"{setting} is {url!r}, which is no address of a server.",
            "Set it to something like http://127.0.0.1:8001 or https://host/prefix/v1.",
        )
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def conversation_fields(messages: Sequence[Message]) -> dict[str, Any]:
    """The messages as the API has them, with the arguments of calls as JSON text, and the tools offered."""
    offered, spoken = apart(messages)
    fields: dict[str, Any] = {"messages": [_message(turn) for turn in spoken]}
    return fields | ({"tools": json.loads(offered)} if offered else {})


def _message(turn: Message) -> dict[str, Any]:
    calls = calls_of(turn.get("tool_calls"))
    for call in calls:
        call["function"]["arguments"] = arguments_text(call["function"]["arguments"])
    return {**turn, "tool_calls": calls} if calls else dict(turn)


def choice_fields(choices: Sequence[str], guided: str) -> dict[str, Any]:
    """Binds an answer to one of the choices. `guided` is the field by which the server takes them."""
    distinct = list(dict.fromkeys(choices))
    return {
        guided: {"choice": distinct} if guided == "structured_outputs" else distinct,
        # Greedy, and long enough for any choice: every token has at least one byte.
        "temperature": 0.0,
        "max_tokens": max(len(choice.encode()) for choice in distinct) + 1,
    }


def schema_fields(schema: str) -> dict[str, Any]:
    """Binds an answer to a JSON schema (JSON text)."""
    named = {"name": "answer", "schema": json.loads(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def is_refused(field: str, body: dict[str, Any], said: str) -> bool:
    """Whether a server's error is about a field that we add, and not about what the client sent."""
    sent = {name: value for name, value in body.items() if name != field}
    return field in body and field in said and field not in json.dumps([sent, body[field]])


def words_of(text: str) -> str:
    """What a server says in an error: printable, on one line, at most MOST_WORDS characters."""
    error = error_object(text)
    said = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), text)
    said = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    plain = "".join(letter if letter.isprintable() else " " for letter in said)
    return " ".join(plain.split())[:MOST_WORDS] or "no reason given"


def error_object(text: str) -> dict[str, Any]:
    """The object that describes an error; {} where the text holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    inner = found.get("error", found) if isinstance(found, dict) else found
    return inner if isinstance(inner, dict) else {"message": inner}
