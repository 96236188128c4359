"""From messages to token ids, in one way for training, evaluation and serving.

What is trained on is the prompt that is asked, token by token, followed by the answer: the template's own
rendering of a finished turn is used only to find what it writes around an answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import TEMPLATE_VARIABLES, Message, text_of, with_system
from pipelines.core.errors import InputError
from pipelines.models.base import base_folder, load_tokenizer

_ASKED, _SAID, _TOLD = "Xq7 asked", "Xq7 said", "Xq7 told"  # texts that no template writes by itself
# A template is a program of the base's maker, and fails as it likes.
TEMPLATE_FAULTS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


class CannotRender(InputError):
    """The base model's chat template does not take a conversation."""


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
        if not tokenizer.chat_template:
            raise CannotRender(
                f"The base model {tokenizer.name_or_path} has no chat template.",
                "Let model.base name an instruction-tuned model, or add a chat_template.jinja to its folder.",
            )
        self._lead, self._tail = self._around_an_answer()
        self.end_ids = self._end()
        self._folds_system = not self._takes_system()

    @property
    def takes_system(self) -> bool:
        """Whether the template has a place for a system prompt."""
        return not self._folds_system

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Raises TooLong, or CannotRender with what the template said."""
        turns = with_system(messages, self._system)
        ids = self._ids(turns)
        if len(ids) <= self._most:
            return Prompt(ids)
        starts = _later_starts(turns)
        fitting = bisect_left(
            starts, True, key=lambda start: len(self._ids(_from(turns, start))) <= self._most
        )
        kept = _from(turns, starts[min(fitting, len(starts) - 1)]) if starts else turns
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
        prompt = self.prompt(messages)
        return Example(prompt.ids, self.answer_ids(answer) + self._tail, prompt.dropped_turns)

    def text(self, messages: Sequence[Message], answered: bool = False) -> str:
        """The text of a conversation, up to where the answer begins or, if `answered`, with it."""
        return self._text(with_system(messages, self._system), answered)

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer behind its prompt, without the end of the turn."""
        return self._tokens(self._lead + answer)

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

    def _ids(self, turns: Sequence[Message]) -> list[int]:
        return self._tokens(self._text(turns, answered=False))

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids if text else []

    def _text(self, turns: Sequence[Message], answered: bool) -> str:
        if self._folds_system:
            turns = _folded(turns)
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(turn) for turn in turns],
                tokenize=False,
                add_generation_prompt=not answered,
                strftime_now=lambda _: TEMPLATE_VARIABLES["date_string"],
                **TEMPLATE_VARIABLES,
            )
        except TEMPLATE_FAULTS as error:
            raise CannotRender(
                f"The base model's chat template does not take this conversation: {error}.",
                "Change the order of its turns, or choose another model.base.",
            ) from error
        _check_complete(turns, str(text))
        return str(text)

    def _around_an_answer(self) -> tuple[str, list[int]]:
        """White space that the template writes before an answer, and the tokens that follow one."""
        asked: list[Message] = [{"role": "user", "content": _ASKED}]
        prompt = self._text(asked, answered=False)
        whole = self._text([*asked, {"role": "assistant", "content": _SAID}], answered=True)
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
        try:
            self._text(
                [{"role": "system", "content": _TOLD}, {"role": "user", "content": _ASKED}], answered=False
            )
        except CannotRender:
            return False
        return True


def rendering_of(config: Config) -> Rendering:
    """How this configuration's base model is asked. Reads its tokenizer only."""
    tokenizer = load_tokenizer(base_folder(config))
    return Rendering(tokenizer, config.task.system_prompt, config.model.max_prompt_tokens)


def _check_complete(turns: Sequence[Message], text: str) -> None:
    """Raise CannotRender where the template leaves out what a user or the system said."""
    for turn in turns:
        if turn["role"] in ("system", "user") and turn["content"].strip() not in text:
            raise CannotRender(
                f"The base model's chat template leaves out a {turn['role']} turn of this conversation.",
                "Change the order of its turns, or choose another model.base.",
            )


def _folded(turns: Sequence[Message]) -> list[Message]:
    """The system's texts at the beginning of the first user turn."""
    system = [text_of(turn["content"]) for turn in turns if turn["role"] == "system"]
    others = [turn for turn in turns if turn["role"] != "system"]
    first = next((place for place, turn in enumerate(others) if turn["role"] == "user"), None)
    if not system:
        return others
    if first is None:
        raise CannotRender(
            "The base model's chat template takes no system prompt, and no user speaks in this conversation.",
            "Add a user turn.",
        )
    asked = "\n\n".join([*system, others[first]["content"]])
    return [*others[:first], {**others[first], "content": asked}, *others[first + 1 :]]


def _later_starts(turns: Sequence[Message]) -> list[int]:
    """The user turns that a shortened conversation may begin with, the oldest first."""
    spoken = [place for place, turn in enumerate(turns) if turn["role"] != "system"]
    return [place for place in spoken[1:] if turns[place]["role"] == "user"]


def _from(turns: Sequence[Message], start: int) -> list[Message]:
    """The turns from a place on. The system's turns always stay."""
    return [turn for place, turn in enumerate(turns) if place >= start or turn["role"] == "system"]
