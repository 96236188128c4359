"""The evaluation suite: each item rendered, and labels that can be told apart by their tokens."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.evaluation.suite import Item, check_suite
from pipelines.models.rendering import Rendering
from pipelines.operations.doctor.finding import Finding, failure


def look_at_suite(config: Config, rendering: Rendering) -> tuple[list[Item], list[Finding]]:
    """The items, and whether each can be asked and answered by one of the labels."""
    try:
        items = check_suite(config, rendering.prompt)
    except InputError as error:
        return [], [failure("evaluation suite", error)]
    said = f"All {len(items)} items can be asked, and their answers are labels of the task."
    return items, [Finding("ok", "evaluation suite", said), _parity(config, rendering, items[0])]


def _parity(config: Config, rendering: Rendering, item: Item) -> Finding:
    """Whether a training example is the prompt that is asked, then a path that a choice can take."""
    example = rendering.example(item["messages"], item["answer"])
    asked = rendering.prompt(item["messages"]).ids
    paths = dict(zip(config.task.labels, rendering.paths(config.task.labels), strict=True))
    path = paths[item["answer"]]
    begun = [
        (one, other)
        for one, a in paths.items()
        for other, b in paths.items()
        if one != other and b[: len(a)] == a
    ]
    if begun:
        one, other = begun[0]
        said = f"The tokens of the label {one!r} begin those of {other!r}, so it is never chosen."
        return Finding("fail", "training example", said, "Rename one of them.")
    if example.prompt_ids != asked or tuple(example.answer_ids[: len(path)]) != path:
        said = "What is trained on differs from what is asked."
        return Finding("fail", "training example", said, "Report this as a bug, with the base model's name.")
    return Finding(
        "ok", "training example", "It is the prompt that is asked, token by token, then the answer."
    )
