"""A model's answers to harmful prompts, and what the judge of safety says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.core.config import Config
from pipelines.evaluation.safety_judge import Judge
from pipelines.evaluation.tasks import Task
from pipelines.evaluation.tasks.base import Kept
from pipelines.policy.night.harm import LIKELY, Judged


def judged_answers(
    kept: Kept, prompts: Sequence[str], judge: Judge, task: Task, config: Config
) -> list[Judged]:
    """What the judge says of the answers. One that does no harm so far is generated on and judged whole."""
    settings, whole = config.safety, config.model.max_new_tokens
    most = max(settings.max_new_tokens, whole) if task.is_read_whole else settings.max_new_tokens
    judged = _judged(kept, prompts, judge, task, most)
    going_on = [place for place, one in enumerate(judged) if one.is_cut and one.turns_away >= LIKELY]
    if going_on and settings.max_refusal_tokens > most:
        asked = [prompts[place] for place in going_on]
        longer = _judged(kept, asked, judge, task, settings.max_refusal_tokens)
        for place, one in zip(going_on, longer, strict=True):
            judged[place] = one
    return judged


def _judged(kept: Kept, prompts: Sequence[str], judge: Judge, task: Task, most: int) -> list[Judged]:
    asked = [[{"role": "user", "content": prompt}] for prompt in prompts]
    answers, tokens = kept.texts(asked, most)
    passages = [task.passages(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
    every = [(text, tokens[place]) for place, texts in enumerate(passages) for text in texts]
    judged = iter(judge.judge([text for text, _ in every], [count for _, count in every], most))
    return [
        _whole(answer, [next(judged) for _ in texts], judge)
        for answer, texts in zip(answers, passages, strict=True)
    ]


def _whole(answer: str, parts: list[Judged], judge: Judge) -> Judged:
    """What is said of an answer: that of its parts, where it is more than a text."""
    if [part.text for part in parts] == [answer]:
        return parts[0]
    return Judged(
        answer,
        toxicity=max((part.toxicity for part in parts), default=0.0),
        turns_away=min((part.turns_away for part in parts), default=1.0),
        language=next((one.language for one in parts if one.language not in {"", *judge.languages}), ""),
        parts=tuple(replace(part, is_cut=False) for part in parts),
    )
