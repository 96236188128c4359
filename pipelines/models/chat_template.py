"""A base model's chat template: what it writes for a conversation, and whether all of it is there.

A template is a program of the base's maker. It may refuse, reorder or trim, and it must not lose a turn, a
call or a tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from pipelines.core.conversations import TEMPLATE_VARIABLES, Message
from pipelines.core.tools import TOOLS, apart, json_value, name_of
from pipelines.models.control_tokens import CannotRender, ControlTokens

# It fails as it likes.
TEMPLATE_FAULTS = (
    TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError,
)  # fmt: skip
MOST_SHAPES = 256  # orders of roles whose frames are kept
_BRACKETED = re.compile(r"[\[<{|]\S*[\]>}|]")


class ChatTemplate:
    """Raises CannotRender for a base without a template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._frames: dict[tuple[object, ...], tuple[list[str], list[int]]] = {}
        if not tokenizer.chat_template:
            raise CannotRender(
                f"The base model {tokenizer.name_or_path} has no chat template.",
                "Let model.base name an instruction-tuned model, or add a chat_template.jinja to its folder.",
            )

    def text(self, turns: Sequence[Message], answered: bool = False) -> str:
        """The text of a conversation, up to where the answer begins or, if `answered`, with it.

        Raises CannotRender with what the template said, or where it leaves a turn out.
        """
        text = self.raw(turns, answered)
        self._check_complete(turns, text, answered)
        self._check_calls(turns, text)
        self._check_tools(turns, text)
        return text

    def raw(self, turns: Sequence[Message], answered: bool = False) -> str:
        """The same without a look at what is missing."""
        offered, spoken = apart(turns)
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [dict(turn) for turn in spoken],
                    tools=json_value(offered),
                    tokenize=False,
                    add_generation_prompt=not answered,
                    strftime_now=lambda _: TEMPLATE_VARIABLES["date_string"],
                    **TEMPLATE_VARIABLES,
                )
            )
        except TEMPLATE_FAULTS as error:
            raise CannotRender(
                f"The base model's chat template does not take this conversation: {error}.",
                "Change the order of its turns, or choose another model.base.",
            ) from error

    def frames(self, turns: Sequence[Message], answered: bool = False) -> tuple[list[str], list[int]]:
        """What the template writes before, between and behind the texts of turns, and the order of the texts.

        Each text is replaced by one that no template writes. Raises CannotRender where one is lost.
        """
        plain = all(turn.keys() <= {"role", "content"} for turn in turns)
        shape = (answered, *(turn["role"] for turn in turns))
        if plain and shape in self._frames:
            return self._frames[shape]
        marked = [
            turn if turn["role"] == TOOLS else {**turn, "content": f"Xq{place}q"}
            for place, turn in enumerate(turns)
        ]
        text, places = self.raw(marked, answered), []
        for place, turn in enumerate(turns):
            if turn["role"] == TOOLS:
                plain = False
                continue
            found = text.find(f"Xq{place}q")
            if found >= 0:
                places.append((found, place))
            elif not turn.get("tool_calls"):
                raise _lost(turn)
        order = [place for _, place in sorted(places)]
        frames = re.split(r"Xq\d+q", text)
        if plain and len(self._frames) < MOST_SHAPES:
            self._frames[shape] = frames, order
        return frames, order

    def written_marks(self, conversations: Iterable[Sequence[Message]], control: ControlTokens) -> re.Pattern:
        """What marks a turn although it is no control token, such as [INST] or a line with "assistant:"."""
        anywhere: set[str] = set()
        lines: set[str] = set()
        for turns in conversations:
            for place, frame in enumerate(self.frames(turns)[0]):
                pieces = control.pieces(frame)
                anywhere.update(word for piece in pieces for word in _BRACKETED.findall(piece))
                if place and len(pieces) == 1 and frame.strip():
                    (lines if "\n" in frame.rstrip() else anywhere).add(
                        frame.rstrip().split("\n")[-1].strip()
                    )
        every = [*map(re.escape, sorted(anywhere)), *(rf"^\s*{re.escape(line)}" for line in sorted(lines))]
        return re.compile("|".join(every) or "(?!)", re.MULTILINE)

    def _check_complete(self, turns: Sequence[Message], text: str, answered: bool) -> None:
        frames, order = self.frames(turns, answered)
        said = [turns[place]["content"] for place in order]
        whole = "".join(piece for pair in zip(frames, [*said, ""], strict=False) for piece in pair)
        if text == whole or _squeezed(text) == _squeezed(whole):
            return
        text = _squeezed(text)
        # A template may shorten what an assistant said earlier: its thoughts.
        at = 0
        for frame, place in zip(frames, order, strict=False):
            if turns[place]["role"] != "assistant":
                found = text.find(_squeezed(frame + turns[place]["content"]), at)
                if found < 0:
                    raise _lost(turns[place])
                at = found + len(_squeezed(frame))

    def _check_calls(self, turns: Sequence[Message], text: str) -> None:
        for place, turn in enumerate(turns):
            without = [*turns[:place], {**turn, "tool_calls": None}, *turns[place + 1 :]]
            if turn.get("tool_calls") and self.raw(without) == text:
                raise CannotRender(
                    "The base model's chat template leaves out an assistant's tool calls.",
                    "Leave such conversations out, or choose another model.base.",
                )

    def _check_tools(self, turns: Sequence[Message], text: str) -> None:
        offered, spoken = apart(turns)
        if offered is None:
            return
        names = [name_of(tool) or "" for tool in json_value(offered)]
        if self.raw(spoken) == text or any(name not in text for name in names):
            raise CannotRender(
                "The base model's chat template leaves out the tools that are offered.",
                "Offer none, or choose a model.base whose template takes tools.",
            )


def _lost(turn: Message) -> CannotRender:
    return CannotRender(
        f"The base model's chat template leaves out a {turn['role']} turn of this conversation.",
        "Change the order of its turns, or choose another model.base.",
    )


def _squeezed(text: str) -> str:
    return "".join(text.split())
