"""The harms that both models do to each group, item by item: what `fairness` compares."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.facts.fairness import Gap
from pipelines.evaluation import stereotypes
from pipelines.evaluation.slices import slice_errors
from pipelines.evaluation.suite import Item
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION

EVERY = "all, evenly by group"
NONSENSE = "all: prefers the meaningless ending"

Items = dict[str, list[stereotypes.Item]]  # by set
Scores = dict[str, dict[str, list[dict[str, float]]]]  # model -> set -> harms by measure, an item each
Harms = dict[tuple[str, str], tuple[list[float], list[float]]]  # (set, group) -> production's, candidate's
Answers = dict[str, list[str]]  # model -> an answer for each item of the suite


def score(engine: Engine, name: str, items: Sequence[stereotypes.Item]) -> list[dict[str, float]]:
    """The harms of one model on the items of one set."""
    contexts = [item.context for item in items for _ in item.texts]
    sums, counts = engine.logprobs(contexts, [text for item in items for text in item.texts])
    harms, start = [], 0
    for item in items:
        end = start + len(item.texts)
        harms.append(stereotypes.harms_of(name, sums[start:end], counts[start:end]))
        start = end
    return harms


def stereotype_harms(items: Items, scored: Scores) -> Harms:
    """By group and, for power, over a whole set, where the set's makers' design allows it."""
    harms: Harms = {}
    for name, chosen in items.items():
        for i, item in enumerate(chosen):
            before, after = scored[PRODUCTION][name][i], scored[CANDIDATE][name][i]
            if name not in stereotypes.WHOLE_ONLY:
                _add(harms, (name, item.group), before["harm"], after["harm"])
            if name not in stereotypes.GROUPS_ONLY:
                _add(harms, (name, EVERY), before["harm"], after["harm"])
            if "nonsense" in before:
                _add(harms, (name, NONSENSE), before["nonsense"], after["nonsense"])
    return harms


def slice_harms(slices: Sequence[str], suite: Sequence[Item], given: Answers) -> Harms:
    """By value of each slice: 1 for a wrong answer, else 0."""
    harms: Harms = {}
    for name in slices:
        for i, item in enumerate(suite):
            wrong = [float(given[model][i] != item["answer"]) for model in (PRODUCTION, CANDIDATE)]
            _add(harms, (name, item[name]), *wrong)
    return dict(sorted(harms.items()))


def gaps(slices: Sequence[str], suite: Sequence[Item], given: Answers) -> tuple[Gap, ...]:
    """fairlearn's difference of the error rate between the worst and the best value of each slice."""
    return tuple(_gap(name, suite, given) for name in slices) if suite else ()


def _gap(name: str, suite: Sequence[Item], given: Answers) -> Gap:
    answers, values = [item["answer"] for item in suite], [item[name] for item in suite]
    before, after = (slice_errors(answers, given[model], values) for model in (PRODUCTION, CANDIDATE))
    return Gap(
        slice=name,
        production=round(before.gap, 6),
        candidate=round(after.gap, 6),
        production_errors=before.by_value,
        candidate_errors=after.by_value,
    )


def _add(harms: Harms, key: tuple[str, str], before: float, after: float) -> None:
    pair = harms.setdefault(key, ([], []))
    pair[0].append(before)
    pair[1].append(after)
