"""Puts the calls of tools together that a server sends in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.engines.base import EngineError
from pipelines.core.tools import Call, json_value

MOST_CALLS = 128
MOST_CHARACTERS = 1_000_000  # of all names and arguments


@dataclass
class _Part:
    name: str = ""
    arguments: str = ""


class CallsReader:
    """The calls of one answer so far."""

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}
        self._characters = 0

    def add(self, calls: Any) -> None:
        """The calls of a delta, or of a whole message. Raises EngineError for too many."""
        for place, one in enumerate(calls if isinstance(calls, list) else []):
            function = one.get("function") if isinstance(one, dict) else None
            if isinstance(function, dict):
                index = one.get("index")
                self._add(index if type(index) is int else place, function)

    def whole(self) -> tuple[Call, ...]:
        """The calls, in their order. Arguments that are no JSON stay as the model wrote them."""
        parts = (self._parts[index] for index in sorted(self._parts))
        return tuple(Call(part.name, _value(part.arguments)) for part in parts if part.name)

    def _add(self, index: int, function: dict[str, Any]) -> None:
        part = self._parts.setdefault(index, _Part())
        name, arguments = function.get("name"), function.get("arguments")
        part.name = part.name or _sound(name)  # some servers send it with each part
        part.arguments += _sound(arguments)
        self._characters += len(_sound(name)) + len(_sound(arguments))
        if len(self._parts) > MOST_CALLS or self._characters > MOST_CHARACTERS:
            raise EngineError("The server sent calls of tools without end.", "See the server's log.")


def _sound(text: Any) -> str:
    """Half a character can be sent to nobody."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else ""


def _value(arguments: str) -> Any:
    found = json_value(arguments)
    return {} if found in (None, "") else found if isinstance(found, dict) else arguments
