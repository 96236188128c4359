"""How a base model's chat template writes calls of tools, and how calls are read from what the model says.

The template is asked, not known: it writes a call that nobody else makes, and what stands around the JSON of
that call is what the model learned to write around its calls.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from pipelines.core.conversations import Message
from pipelines.core.tools import NO_ID, TOOLS, Call, as_text, call_of, is_plain
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.control_tokens import CannotRender

MOST_CALLS = 32  # of one answer; what holds more is read as text
_ASKED, _SAID = "Xq7 asked", "Xq7 said"  # texts that no template writes by itself
_PROBE = Call("Xq7call", {"Xq7key": "Xq7value"})
_KEY = {"type": "object", "properties": {"Xq7key": {"type": "string"}}, "required": ["Xq7key"]}
_TOOL = {"type": "function", "function": {"name": _PROBE.name, "description": "Xq7", "parameters": _KEY}}


class Around(NamedTuple):
    """What stands before and behind the JSON of a call. Either may be empty."""

    opener: str
    closer: str


class CallForm:
    """One template's way to write calls."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    @cached_property
    def around(self) -> Around:
        """Raises CannotRender for a template that takes no tools, or writes calls in no JSON."""
        offer = {"role": TOOLS, "content": as_text([_TOOL])}
        self._template.text([offer, {"role": "user", "content": _ASKED}])
        text = self.text(offer, turn_of("", [_PROBE]))
        for place in (place for place, letter in enumerate(text) if letter in "[{"):
            found, end = _decoded(text[place:])
            if _calls(found, {_PROBE.name}) == [_PROBE]:
                return Around(text[:place].strip(), text[place + end :].strip())
        raise CannotRender(
            "The base model's chat template writes calls of tools in another form than JSON.",
            "Offer no tools, or choose another model.base.",
        )

    def text(self, offer: Message, said: Message) -> str:
        """What the template writes for an answer that calls tools, behind the prompt and before its end."""
        asked: list[Message] = [offer, {"role": "user", "content": _ASKED}]
        prompt = self._template.raw(asked)
        plain = self._template.raw([*asked, {"role": "assistant", "content": _SAID}], answered=True)
        whole = self._template.raw([*asked, said], answered=True)
        start, found, end = plain.rpartition(_SAID)
        if start.startswith(prompt) and not start[len(prompt) :].strip():
            start = prompt  # white space before an answer belongs to it
        if not found or not whole.startswith(start) or not whole.endswith(end):
            raise CannotRender(
                "The base model's chat template does not show an assistant's calls.",
                "Leave such answers out, or choose another model.base.",
            )
        return whole[len(start) : len(whole) - len(end)]

    def read(self, text: str, names: Collection[str]) -> tuple[str, list[Call]]:
        """What an answer says beside its calls of tools with these names, and the calls.

        An answer with a call that cannot be read is a text, and calls nothing.
        """
        opener, closer = self.around
        has_opener = bool(opener) and opener in text
        before, *pieces = text.split(opener) if has_opener else ("", text)
        said, calls = [before], []
        for piece in pieces:
            found, end = _decoded(piece)
            more = _calls(found, names)
            if not more:
                return text, []
            calls += more
            said.append(piece[end:].strip().removeprefix(closer))
        content = "\n".join(part.strip() for part in said if part.strip())
        if len(calls) > MOST_CALLS or (content and not has_opener):
            return text, []
        return content, calls

    def held_from(self, text: str) -> int:
        """The place from which the beginning of an answer may be a call; its end where it is none."""
        opener, _ = self.around
        if text.lstrip()[:1] in ("[", "{"):
            return 0
        if opener and opener in text:
            return text.index(opener)
        sizes = range(min(len(opener), len(text)), 0, -1)
        return len(text) - next((n for n in sizes if opener.startswith(text[-n:])), 0)


def turn_of(content: str, calls: Sequence[Call]) -> dict[str, Any]:
    """The assistant's turn of an answer that calls tools, as templates take it."""
    written = [{"id": NO_ID, "type": "function", "function": call._asdict()} for call in calls]
    return {"role": "assistant", "content": content, "tool_calls": written}


def _decoded(text: str) -> tuple[Any, int]:
    """The JSON value that a text begins with, and where it ends; None where there is none."""
    begun = text.lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(begun)
    except (ValueError, RecursionError):
        return None, 0
    return (value, len(text) - len(begun) + end) if is_plain(value) else (None, 0)


def _calls(value: Any, names: Collection[str]) -> list[Call]:
    """The calls that a JSON value is, one or a list; none where any part of it is something else."""
    calls = [call_of(one) for one in (value if isinstance(value, list) else [value])]
    read = [call for call in calls if call and call.name in names and isinstance(call.arguments, Mapping)]
    return read if len(read) == len(calls) else []
