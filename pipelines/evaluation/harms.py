"""The harms that both models do to each group, item by item: what `fairness` compares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.core.facts.fairness import Gap
from pipelines.evaluation import stereotypes
from pipelines.evaluation.judged_groups import NONSENSE, Members
from pipelines.evaluation.slices import slice_errors
from pipelines.evaluation.suite import Item
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION

BOTH = (PRODUCTION, CANDIDATE)
Scores = dict[str, dict[str, list[dict[str, float]]]]  # model -> set -> harms by measure, an item each
Harms = dict[tuple[str, str], tuple[list[float], list[float]]]  # (set, group) -> production's, candidate's
Answers = dict[str, list[str]]  # model -> an answer for each item of the suite
Wrong = dict[str, np.ndarray]  # model -> (n,) 1 for a wrong answer, 0 for a right one, for each item


def score(engine: Engine, name: str, items: Sequence[stereotypes.Item]) -> list[dict[str, float]]:
    """The harms of one model on the items of one set."""
    if name == "BBQ":  # its passages are long, and each has three options
        options = (engine.option_logprobs(item.context, item.texts) for item in items)
        return [stereotypes.harms_of(name, *found) for found in options]
    contexts = [item.context for item in items for _ in item.texts]
    sums, counts = engine.logprobs(contexts, [text for item in items for text in item.texts])
    harms, start = [], 0
    for item in items:
        end = start + len(item.texts)
        harms.append(stereotypes.harms_of(name, sums[start:end], counts[start:end]))
        start = end
    return harms


def stereotype_harms(groups: Members, scored: Scores) -> Harms:
    """The harms of each group's items."""
    harms: Harms = {}
    for (name, group), places in groups.items():
        measure = "nonsense" if group == NONSENSE else "harm"
        before, after = (scored[model][name] for model in BOTH)
        harms[name, group] = [before[i][measure] for i in places], [after[i][measure] for i in places]
    return harms


def slice_harms(groups: Members, wrong: Wrong) -> Harms:
    """By group: how wrong each answer is."""
    before, after = (wrong[model].tolist() for model in BOTH)
    return {key: ([before[i] for i in places], [after[i] for i in places]) for key, places in groups.items()}


def said_elsewhere(
    groups: Members, suite: Sequence[Item], given: Answers
) -> dict[tuple[str, str], tuple[float, float]]:
    """Of groups whose items all have one right answer: how often each model gives it to the other items."""
    found = {}
    for key, places in groups.items():
        right = {suite[place]["answer"] for place in places}
        others = [place for place, item in enumerate(suite) if item["answer"] not in right]
        if len(right) == 1 and others:
            shares = [sum(given[model][i] in right for i in others) / len(others) for model in BOTH]
            found[key] = shares[0], shares[1]
    return found


def gaps(slices: Sequence[str], suite: Sequence[Item], wrong: Wrong) -> tuple[Gap, ...]:
    """fairlearn's difference of the error rate between the worst and the best value of each slice."""
    return tuple(_gap(name, suite, wrong) for name in slices) if suite else ()


def _gap(name: str, suite: Sequence[Item], wrong: Wrong) -> Gap:
    before, after = (slice_errors(wrong[model], [item[name] for item in suite]) for model in BOTH)
    return Gap(
        slice=name,
        production=round(before.gap, 6),
        candidate=round(after.gap, 6),
        production_errors=before.by_value,
        candidate_errors=after.by_value,
    )
