"""Which rows may be trained on: what evaluation asks, repeats another row or does not fit leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.core.conversations import Message, beginnings_of, conversation_key, with_system
from pipelines.core.tools import read_answer
from pipelines.data.dedupe import NearDuplicates, Pieces, pieces_of
from pipelines.models.rendering import CannotRender, Rendering, TooLong
from pipelines.policy.night.dataset import (
    NO_ANSWER,
    UNFIT,
    Part,
    Rows,
    one_answer_each,
    without_evaluation,
)
from pipelines.policy.night.examples import answers_in
from pipelines.policy.night.feedback import Read

Chat = tuple[Sequence[Message], Sequence[str]]  # messages and answers


@dataclass(frozen=True)
class Fitting:
    """How a row is turned into tokens, and how many it may have with its answer."""

    rendering: Rendering
    max_length_tokens: int

    def unfit(self, chats: Sequence[Chat]) -> dict[str, list[int]]:
        """Reason -> places of the chats that cannot be trained on."""
        found: dict[str, list[int]] = {reason: [] for reason in UNFIT}
        for place, chat in enumerate(chats):
            if reason := self._reason(*chat):
                found[reason].append(place)
        return found

    def turns_dropped(self, examples: Rows) -> int:
        """How many training chats lose their oldest turns."""
        return sum(self.rendering.prompt(one["prompt"]).dropped_turns > 0 for one in examples)

    def _reason(self, messages: Sequence[Message], answers: Sequence[str]) -> str | None:
        try:
            examples = [self.rendering.example(messages, answer) for answer in answers]
        except CannotRender:
            return "cannot_render"
        except TooLong:
            return "too_long"
        tokens = max(len(example.prompt_ids) + len(example.answer_ids) for example in examples)
        return "beyond_max_length" if tokens > self.max_length_tokens else None


def trainable(
    part: Part,
    holdout_share: float,
    suite: Sequence[Sequence[Message]],
    near: NearDuplicates,
    fitting: Fitting,
    system_prompt: str,
) -> Part:
    """One answer a question, nothing that evaluation asks, no near duplicates (the latest stays)."""
    rows, went = one_answer_each(part.rows)
    part = part.keep(rows, **went)
    asked = {conversation_key(with_system(messages, system_prompt)) for messages in suite}
    rows, went = without_evaluation(part.rows, holdout_share, asked, system_prompt)
    part = fit(part.keep(rows, **went), fitting)
    part = part.without(
        near_any([row["messages"] for row in part.rows], suite, near, system_prompt), "near_suite"
    )
    newest_first = Part(part.rows[::-1], part.counts)
    repeats = near.within(questions(newest_first.rows, system_prompt))
    part = newest_first.without(repeats, "near_duplicate")
    return Part(part.rows[::-1], part.counts)


def near_any(
    asked: Sequence[Sequence[Message]],
    suite: Sequence[Sequence[Message]],
    near: NearDuplicates,
    system_prompt: str,
) -> list[int]:
    """Places of the conversations that are near an item of the suite, or hold an earlier part that is."""
    parts = [
        (place, one) for place, messages in enumerate(asked) for one in (messages, *beginnings_of(messages))
    ]
    pieces = [pieces_of(one, system_prompt) for _, one in parts]
    close = [pieces_of(messages, system_prompt) for messages in suite]
    return sorted({parts[found][0] for found in near.matching(pieces, close)})


def still_answered(part: Part, examples: Rows, read: Read) -> tuple[Part, Rows]:
    """A part's rows and their training chats, without those whose answer is none once it is redacted.

    A placeholder in the place of a number makes JSON that follows no schema, or calls no tool any more. Two
    answers that differ in nothing else tell nothing.
    """
    before = [_answers_of(row) for row in part.rows]
    said = [answers_in(one) for one in examples]
    gone = [
        place
        for place, answers in enumerate(said)
        if len(set(answers)) < len(answers)
        or any(read(answer) is None for answer in answers)
        or any(_calls(was) and not _calls(now) for was, now in zip(before[place], answers, strict=True))
    ]
    kept = [one for place, one in enumerate(examples) if place not in set(gone)]
    return (part.without(gone, NO_ANSWER) if gone else part), kept


def _answers_of(row: Mapping[str, Any]) -> list[str]:
    return [row[name] for name in ("answer", "rejected") if name in row]


def _calls(answer: str) -> bool:
    return bool(read_answer(answer)[1])


def far_from_suite(
    part: Part,
    examples: Rows,
    suite: Sequence[Sequence[Message]],
    near: NearDuplicates,
    system_prompt: str,
) -> tuple[Part, Rows]:
    """A part's rows and their training chats, without those that are near an item of the suite."""
    close = near_any([one["prompt"] for one in examples], suite, near, system_prompt)
    kept = [one for place, one in enumerate(examples) if place not in set(close)]
    return part.without(close, "near_suite"), kept


def fit(part: Part, fitting: Fitting) -> Part:
    """The rows that fit. The others are counted by reason."""
    chats = [(row["messages"], _answers_of(row)) for row in part.rows]
    return _without(part, fitting.unfit(chats))


def without_unfit(part: Part, examples: Rows, fitting: Fitting) -> tuple[Part, Rows]:
    """A part's rows and their training chats, as far as these fit. The others are counted by reason."""
    unfit = fitting.unfit(chats_of(examples))
    gone = {place for places in unfit.values() for place in places}
    return _without(part, unfit), [one for place, one in enumerate(examples) if place not in gone]


def chats_of(examples: Rows) -> list[Chat]:
    return [(one["prompt"], answers_in(one)) for one in examples]


def _without(part: Part, unfit: dict[str, list[int]]) -> Part:
    gone = {place for places in unfit.values() for place in places}
    kept = [row for place, row in enumerate(part.rows) if place not in gone]
    return part.keep(kept, **{reason: len(places) for reason, places in unfit.items()})


def questions(rows: Rows, system_prompt: str) -> list[Pieces]:
    """What each row asks, in pieces that can be compared."""
    return [pieces_of(row["messages"], system_prompt) for row in rows]
