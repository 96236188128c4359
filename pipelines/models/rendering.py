"""From messages to token ids, in one way for training, evaluation and serving.

What is trained on is the prompt that is asked, token by token, followed by the answer: the template's own
rendering of a finished turn is used only to find what it writes around an answer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import Message, with_system
from pipelines.core.errors import InputError
from pipelines.core.interactions import ROLES
from pipelines.core.tools import TOOLS, answer_text, read_answer
from pipelines.models.base import base_folder, load_tokenizer
from pipelines.models.call_form import CallForm, turn_of
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.control_tokens import CannotRender, ControlTokens, texts_in, unused_mark
from pipelines.models.turns import (
    beginning_at,
    folded,
    later_starts,
    tool_names,
    with_calls,
    without_thoughts,
)

_SURROGATE = re.compile("[\ud800-\udfff]")
_ASKED, _SAID, _TOLD = "Xq7 asked", "Xq7 said", "Xq7 told"  # texts that no template writes by itself
__all__ = ["CannotRender", "Example", "Prompt", "Rendering", "TooLong", "rendering_of"]


class TooLong(InputError):
    """The system prompt and the last turn alone are longer than a prompt may be."""

    def __init__(self, tokens: int, most: int) -> None:
        super().__init__(
            f"The system prompt and the last turn take {tokens} tokens; a prompt may have {most}.",
            "Shorten them, or raise model.max_prompt_tokens.",
        )
        self.tokens, self.most = tokens, most


@dataclass(frozen=True)
class Prompt:
    """The tokens up to where the answer begins, and how many of the oldest turns had to go."""

    ids: list[int]
    dropped_turns: int = 0


@dataclass(frozen=True)
class Example:
    """A prompt and the answer's tokens, which end with the template's own end of turn."""

    prompt_ids: list[int]
    answer_ids: list[int]
    dropped_turns: int = 0


class Rendering:
    """One base model's rendering. Raises CannotRender for a base whose template renders no conversation.

    Where the template takes no system prompt, its text begins the first user turn.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, system_prompt: str, max_prompt_tokens: int
    ) -> None:
        self.tokenizer: Any = tokenizer
        self._system, self._most = system_prompt, max_prompt_tokens
        self._folds_system = False
        self._template, self._control = ChatTemplate(tokenizer), ControlTokens(tokenizer)
        self.calls = CallForm(self._template)
        self._lead, self._tail = self._around_an_answer()
        self.end_ids = self._end()
        self._folds_system = not self._takes_system()
        self._marks = self._template.written_marks(self._probes(), self._control)

    @property
    def takes_system(self) -> bool:
        """Whether the template has a place for a system prompt."""
        return not self._folds_system

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Raises TooLong, or CannotRender with what the template said."""
        turns = self._checked(with_system(messages, self._system))
        ids = self._ids(turns)
        if len(ids) <= self._most:
            return Prompt(ids)
        starts = later_starts(turns)
        fitting = bisect_left(
            starts, True, key=lambda start: len(self._ids(beginning_at(turns, start))) <= self._most
        )
        kept = beginning_at(turns, starts[min(fitting, len(starts) - 1)]) if starts else turns
        ids = self._ids(kept)
        if len(ids) > self._most:
            raise TooLong(len(ids), self._most)
        return Prompt(ids, len(turns) - len(kept))

    def takes(self, messages: Sequence[Message]) -> bool:
        """Whether the base model can be asked this."""
        try:
            self.prompt(messages)
        except (CannotRender, TooLong):
            return False
        return True

    def example(self, messages: Sequence[Message], answer: str) -> Example:
        """Raises what `prompt` raises."""
        prompt, names = self.prompt(messages), tool_names(messages)
        content, calls = read_answer(answer) if names else (answer, [])
        if calls and all(call.name in names for call in calls):
            said = self._call_ids(messages, turn_of(content, calls))
        else:
            said = self.answer_ids(answer)
        return Example(prompt.ids, said + self._tail, prompt.dropped_turns)

    def answer(self, messages: Sequence[Message], text: str) -> str:
        """What the model said as an answer: calls of the tools that it was offered become their JSON."""
        names = tool_names(messages)
        return answer_text(*self.calls.read(text, names)) if names else text

    def text(self, messages: Sequence[Message], answered: bool = False) -> str:
        """The text of a conversation, up to where the answer begins or, if `answered`, with it."""
        turns = [with_calls(turn) for turn in with_system(messages, self._system)]
        return self._template.text(folded(turns) if self._folds_system else turns, answered)

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer behind its prompt, all of it plain text, without the end of the turn."""
        self._check_text("answer", answer)
        ids = self._tokens(self._lead + answer)
        return self._control.plain_ids(self._lead + answer) if self._control.count(ids) else ids

    def _call_ids(self, messages: Sequence[Message], said: Message) -> list[int]:
        """The tokens of an answer that calls tools, as the template writes it."""
        offer = next(turn for turn in messages if turn["role"] == TOOLS)
        texts = texts_in(said)
        for one in texts:
            self._check_text("answer", one)
        text = self.calls.text(offer, said)
        if self._control.first_in(texts) is None:
            return self._tokens(text)
        mark = unused_mark([text, *texts])
        marked = self.calls.text(offer, self._control.broken(said, mark))
        if marked.replace(mark, "") != text:
            raise CannotRender(
                "The base model's chat template changes a call that holds a control token.",
                "Take it out of the text.",
            )
        return self._control.plain_ids(marked, mark)

    def paths(self, labels: Sequence[str]) -> list[tuple[int, ...]]:
        """The tokens that spell each label and end the turn."""
        return [(*self.answer_ids(label), *self.end_ids) for label in labels]

    @property
    def digest(self) -> str:
        """sha256 over the tokens of a fixed conversation: equal where equal messages give equal tokens."""
        asked: list[Message] = [{"role": "user", "content": _ASKED}]
        before: list[Message] = [*asked, {"role": "assistant", "content": _SAID}]
        turns = [with_system(messages, self._system) for messages in (asked, [*before, *asked])]
        ids = [self._ids(messages) for messages in turns]
        return digest_of([*ids, self.answer_ids(_SAID), self._tail, self.end_ids])

    def _checked(self, turns: Sequence[Message]) -> Sequence[Message]:
        """The turns, with calls as values. Raises CannotRender for what no template can be given."""
        turns = [with_calls(turn) for turn in turns]
        roles = [turn["role"] for turn in turns]
        if TOOLS in roles:
            tool_names(turns)
            _ = self.calls.around
        if "user" not in roles:
            raise CannotRender("No user speaks in the conversation.", "Add a user turn.")
        if roles[-1] == "assistant":
            raise CannotRender(
                "The conversation ends in an assistant turn, so there is nothing to answer.",
                "End it with a user turn.",
            )
        for turn in turns:
            if turn["role"] not in (*ROLES, TOOLS):
                raise CannotRender(
                    f"The conversation has a turn of the role {turn['role']!r}.",
                    f"Use {', '.join(ROLES)}.",
                )
            for text in texts_in(turn):
                self._check_text(f"{turn['role']} turn", text)
        return turns

    def _check_text(self, what: str, text: str) -> None:
        if not text.isascii() and _SURROGATE.search(text):
            raise CannotRender(
                f"The {what} holds half of a surrogate pair, which is no character.", "Take it out."
            )
        if found := self._marks.search(text):
            raise CannotRender(
                f"The {what} holds {found.group().strip()!r}, by which the base model tells turns apart.",
                "Take it out, or choose a model.base whose turns are marked by control tokens.",
            )

    def _ids(self, turns: Sequence[Message]) -> list[int]:
        turns = folded(turns) if self._folds_system else turns
        text = self._template.text(turns)
        if self._control.first_in(text for turn in turns for text in texts_in(turn)) is None:
            ids = self._tokens(text)
            if self._control.are_all_written(ids, text):
                return ids
        return self._guarded_ids(turns, text)

    def _guarded_ids(self, turns: Sequence[Message], text: str) -> list[int]:
        """The tokens of `text`, the template's for the turns, with every name in a turn as plain text.

        The template writes the turns again with the names broken by a mark: the names that are still whole
        are its own. Raises CannotRender where it writes something else then.
        """
        for variant in (turns, without_thoughts(turns, ""), without_thoughts(turns, "\n")):
            mark = unused_mark([text, *texts_in(list(variant))])
            marked = self._template.raw([self._control.broken(turn, mark) for turn in variant])
            if marked.replace(mark, "") == text:
                return self._control.plain_ids(marked, mark)
        name = self._control.first_in(text for turn in turns for text in texts_in(turn))
        raise CannotRender(
            f"The base model's chat template changes a turn that holds {name!r}, a control token.",
            "Take it out of the text.",
        )

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids if text else []

    def _probes(self) -> list[Sequence[Message]]:
        """Conversations that show how the template marks its turns."""
        asked: Message = {"role": "user", "content": _ASKED}
        talk = [asked, {"role": "assistant", "content": _SAID}, asked]
        told: Message = {"role": "system", "content": _TOLD}
        return [
            [asked],
            talk if self._renders(talk) else [asked],
            [asked] if self._folds_system else [told, asked],
        ]

    def _renders(self, turns: Sequence[Message]) -> bool:
        try:
            self._template.text(turns)
        except CannotRender:
            return False
        return True

    def _around_an_answer(self) -> tuple[str, list[int]]:
        """White space that the template writes before an answer, and the tokens that follow one."""
        asked: list[Message] = [{"role": "user", "content": _ASKED}]
        prompt = self._template.text(asked)
        whole = self._template.text([*asked, {"role": "assistant", "content": _SAID}], answered=True)
        before, found, after = whole.rpartition(_SAID)
        if not found:
            raise CannotRender(
                "The base model's chat template does not show an assistant's turn.",
                "Choose another model.base.",
            )
        between = before.removeprefix(prompt) if before.startswith(prompt) else ""
        tail = self._tokens(after)
        if not self._ends(tail):
            if self.tokenizer.eos_token_id is None:
                raise CannotRender(
                    "The base model's chat template ends no turn, and its tokenizer has no end of text.",
                    "Choose another model.base.",
                )
            tail = [self.tokenizer.eos_token_id]
        return (between if not between.strip() else ""), tail

    def _ends(self, tail: Sequence[int]) -> list[int]:
        """Places of the tokens in `tail` that are no ordinary text."""
        added = self.tokenizer.added_tokens_decoder.items()
        marks = {*(i for i, token in added if token.content.strip()), *self.tokenizer.all_special_ids}
        return [place for place, token in enumerate(tail) if token in marks]

    def _end(self) -> list[int]:
        return self._tail[: self._ends(self._tail)[0] + 1]

    def _takes_system(self) -> bool:
        return self._renders([{"role": "system", "content": _TOLD}, {"role": "user", "content": _ASKED}])


def rendering_of(config: Config) -> Rendering:
    """How this configuration's base model is asked. Reads its tokenizer only."""
    tokenizer = load_tokenizer(base_folder(config))
    return Rendering(tokenizer, config.task.system_prompt, config.model.max_prompt_tokens)
