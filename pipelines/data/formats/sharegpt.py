"""ShareGPT: `{"id": ..., "conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}`.

The last answer of a conversation is the answer, what stands before it is what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.data.formats.chat import first
from pipelines.data.reader.cells import is_missing
from pipelines.data.reader.mapping import opened
from pipelines.data.reader.turns import UnfitMessages

ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant",
    "assistant": "assistant", "system": "system", "tool": "tool", "observation": "tool",
}  # fmt: skip

PICTURES = ("image", "images", "video", "videos", "audio", "audios")


def convert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row under our names; names that are ours already stay."""
    turns = opened(first(row, "conversations", "conversation", "items"))
    messages = [_turn(turn) for turn in turns] if isinstance(turns, list) else turns
    if picture := next((name for name in PICTURES if row.get(name)), None):
        messages = UnfitMessages(f"the row holds {picture} beside its conversation")
    found = {
        "request_id": first(row, "request_id", "id"),
        "messages": messages,
        "system": first(row, "system", "system_prompt"),
    }
    return {**row, **{name: value for name, value in found.items() if value is not None}}


def _turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    role = turn.get("from", turn.get("role"))
    content = turn.get("value", turn.get("content"))
    known = ROLES.get(role.lower(), role) if isinstance(role, str) else role
    return {"role": known, "content": None if is_missing(content) else content}
