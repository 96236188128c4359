"""How many tokens the suite's prompts and the labels have, beside the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipelines.core.config import Config
from pipelines.evaluation.suite import Item
from pipelines.models.rendering import Rendering
from pipelines.operations.doctor.finding import Finding


@dataclass(frozen=True)
class Lengths:
    """Tokens of one kind of text; `limit` is what the setting `by` allows."""

    what: str
    least: int
    median: int
    most: int
    limit: int
    by: str


def measure(
    config: Config, rendering: Rendering, items: Sequence[Item]
) -> tuple[list[Lengths], list[Finding]]:
    prompts = [rendering.prompt(item["messages"]) for item in items]
    examples = [rendering.example(item["messages"], item["answer"]) for item in items]
    whole = [len(one.prompt_ids) + len(one.answer_ids) for one in examples]
    paths = rendering.paths(config.task.labels)
    most, longest = config.model.max_prompt_tokens, config.train.max_length_tokens
    table = [
        row_of("prompts of the suite", [len(one.ids) for one in prompts], most, "model.max_prompt_tokens"),
        row_of("with their answers", whole, longest, "train.max_length_tokens"),
        *([row_of("labels", [*map(len, paths)], longest, "train.max_length_tokens")] if paths else []),
    ]
    dropped = sum(one.dropped_turns > 0 for one in prompts)
    return table, [
        _training(most, longest, max(map(len, [*paths, *(one.answer_ids for one in examples)])), max(whole)),
        *_shortened(dropped),
    ]


def row_of(what: str, tokens: Sequence[int], limit: int, by: str) -> Lengths:
    return Lengths(what, min(tokens), round(median(tokens)), max(tokens), limit, by)


def _training(most: int, longest: int, answer: int, whole: int) -> Finding:
    needed = most + answer
    if whole > longest:
        said = (
            f"An item of the suite has {whole} tokens with its answer; train.max_length_tokens is {longest}."
        )
        return Finding("fail", "lengths", said, f"Raise train.max_length_tokens to {needed}.")
    if needed > longest:
        said = (
            f"A prompt may have {most} tokens and an answer has up to {answer}, "
            f"but train.max_length_tokens is {longest}: longer examples are left out."
        )
        return Finding("warn", "lengths", said, f"Raise train.max_length_tokens to {needed}.")
    return Finding("ok", "lengths", f"Every prompt of up to {most} tokens can be trained on.")


def _shortened(dropped: int) -> list[Finding]:
    if not dropped:
        return []
    said = f"{dropped} items of the suite lose their oldest turns."
    return [Finding("warn", "lengths", said, "Raise model.max_prompt_tokens.")]
