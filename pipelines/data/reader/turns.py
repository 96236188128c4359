"""The messages of a conversation, in one form. Pure.

Text parts are joined, `developer` is `system`, tool calls are kept as JSON. What is not text (an image,
audio, a file, a number) is refused by name, and never turned into text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.interactions import ROLES
from pipelines.data.reader.cells import Unfit, as_id, is_missing, kind_of, shown
from pipelines.data.reader.strict_json import as_json, from_json

Turn = dict[str, str | None]

TEXT_PARTS = ("text", "input_text", "output_text")
OTHER_PARTS = {  # parts that no model here reads, by the name of their type
    "image_url": "an image", "input_image": "an image", "image": "an image", "image_file": "an image",
    "input_audio": "audio", "audio": "audio", "audio_url": "audio", "video_url": "a video",
    "video": "a video",
    "input_file": "a file", "file": "a file", "document": "a file", "refusal": "a refusal part",
    "tool_use": "a tool_use part", "tool_result": "a tool_result part", "thinking": "a thinking part",
}  # fmt: skip

PLAIN = {"role", "content", "name", "tool_call_id", "tool_calls"}
SEEN_BESIDES = {  # what some clients put beside a message's content, and the model saw
    "audio", "images", "image", "image_url", "videos", "video", "files", "file_ids", "attachments",
    "experimental_attachments", "documents", "context", "toolCalls", "tool_results", "toolInvocations",
}  # fmt: skip


class UnfitMessages(Exception):
    """Messages that cannot be used. `reason` says why in words that many rows share, `found` shows it.

    A format puts it in place of a value that it cannot read, so that the rest of the row is still read.
    """

    def __init__(self, reason: str, found: str = "") -> None:
        self.reason, self.found = reason, found


class NoChat(UnfitMessages):
    """The row is no answer of a model: an embedding, a failed call, a step of a trace."""


def as_messages(value: Any) -> list[Turn] | None:
    """The turns of a conversation, given as a list or as JSON; None where there is nothing."""
    if isinstance(value, UnfitMessages):
        raise value
    if isinstance(value, str):
        value = _parsed(value)
    if is_missing(value):
        return None
    if not isinstance(value, list | tuple):
        raise UnfitMessages(f"messages is not a list of messages, but {kind_of(value)}")
    return [_turn(one) for one in value]


def size_of(turns: list[Turn]) -> int:
    """Bytes of all that the turns say."""
    return sum(len(text.encode()) for turn in turns for text in turn.values() if text)


def _parsed(text: str) -> Any:
    """A list that is written as JSON, as CSV holds it."""
    stripped = text.strip()
    if stripped.lower() in ("", "null"):
        return None
    if not stripped.startswith("["):
        raise UnfitMessages("messages is not a list of messages, but text")
    try:
        return from_json(stripped)
    except (ValueError, RecursionError):
        if stripped.startswith(("[{'", "[ {'")) or "array([" in stripped[:40]:
            raise UnfitMessages(
                "messages is a list as Python prints it, not JSON: write it with json.dumps"
            ) from None
        raise UnfitMessages("messages is text that is not JSON") from None


def _turn(value: Any) -> Turn:
    if not isinstance(value, Mapping):
        raise UnfitMessages(f"messages holds {kind_of(value)} in place of a message")
    calls = _tool_calls(value)
    turn = {
        "role": _role(value.get("role")),
        "content": _content(value.get("content"), calls is not None),
        "name": _name("name", value.get("name")),
        "tool_call_id": _name("tool_call_id", value.get("tool_call_id")),
        "tool_calls": calls,
    }
    for name in () if value.keys() <= PLAIN else SEEN_BESIDES & value.keys():
        if not is_missing(value[name]) and value[name] not in ([], {}, ""):
            raise UnfitMessages(f"messages holds {name} beside the content")
    return turn


def _role(value: Any) -> str:
    if is_missing(value):
        raise UnfitMessages("messages has one without a role")
    if value == "developer":
        return "system"
    if not isinstance(value, str) or value not in ROLES:
        raise UnfitMessages("messages has an unknown role", shown(value))
    return value


def _content(value: Any, has_calls: bool) -> str:
    if isinstance(value, str):
        return value
    if is_missing(value):
        if has_calls:
            return ""
        raise UnfitMessages("messages has one without content")
    if isinstance(value, list | tuple):
        return joined(value)
    raise UnfitMessages(f"messages has content that is {kind_of(value)}, not text")


def joined(parts: Any) -> str:
    """The texts of content parts, in one. Raises UnfitMessages for a part that is no text."""
    return parts if isinstance(parts, str) else "".join(map(_part, parts))


def _part(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise UnfitMessages(f"messages has a content part that is {kind_of(value)}")
    kind = value.get("type")
    text = value.get("text")
    if kind in TEXT_PARTS and isinstance(text, str):
        return text
    if isinstance(kind, str) and kind in OTHER_PARTS:
        raise UnfitMessages(f"messages holds {OTHER_PARTS[kind]} ({kind})")
    raise UnfitMessages("messages has a content part of an unknown type", shown(kind))


def _tool_calls(message: Mapping[str, Any]) -> str | None:
    """The calls as JSON. `function_call` is the form of old clients."""
    calls = message.get("tool_calls")
    if isinstance(calls, str):  # a file of ours has them so
        try:
            calls = from_json(calls) if calls.strip() else None
        except (ValueError, RecursionError):
            raise UnfitMessages("messages has tool_calls that are not JSON") from None
    if is_missing(calls) and isinstance(old := message.get("function_call"), Mapping):
        calls = [{"type": "function", "function": dict(old)}]
    if is_missing(calls) or calls == []:
        return None
    if not isinstance(calls, list):
        raise UnfitMessages(f"messages has tool_calls that are {kind_of(calls)}, not a list")
    try:
        return as_json(calls)
    except Unfit as unfit:
        raise UnfitMessages(f"messages has tool_calls that are {unfit.what}") from None


def _name(key: str, value: Any) -> str | None:
    try:
        return as_id(value)
    except Unfit as unfit:
        raise UnfitMessages(f"messages has a {key} that is {unfit.what}, not text") from None
