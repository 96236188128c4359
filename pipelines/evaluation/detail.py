"""The comparison of two models in detail: by topic, tenant and language, and by class. It decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.facts.common import Comparison, Interval
from pipelines.core.facts.evaluate import ClassMeasures, ClassScores, GroupScores
from pipelines.evaluation.scores import Answers, Scores
from pipelines.evaluation.suite import Item
from pipelines.models.pair import CANDIDATE, PRODUCTION
from pipelines.policy.stats.paired import mean_limits

GROUPED_BY = ("subject", "tenant", "locale")
MOST = 30  # groups of a slice, or classes: the largest ones
WANTED, BEFORE, AFTER = np.indices((2, 2, 2)).reshape(3, -1).astype(bool)  # of each cell of `_cells`


def by_group(
    items: Sequence[Item], scored: Mapping[str, Scores], confidence: float
) -> tuple[GroupScores, ...]:
    """The comparison by each scorer in each group of items. A slice with a single group is left out.

    The limits are those of `policy.stats.paired`: in a small group a bootstrap would promise too much.
    """
    return tuple(
        GroupScores(
            of=of,
            group=group,
            scores={scorer: _compared(both, own, confidence) for scorer, both in scored.items()},
        )
        for of in GROUPED_BY
        for group, own in _groups([item[of] for item in items])
    )


def by_class(
    given: Answers, right: Sequence[str], samples: int, confidence: float, seed: int
) -> dict[str, ClassScores]:
    """Precision, recall and F1 of each class, and the change of F1 with a bootstrap interval over items."""
    rng, found = np.random.default_rng(seed), {}
    for name, n in Counter(right).most_common(MOST):
        cells = _cells([one == name for one in right], given, name)
        drawn = rng.multinomial(len(right), cells / len(right), samples)
        low, high = np.quantile(
            _f1(drawn, AFTER) - _f1(drawn, BEFORE), [(1 - confidence) / 2, (1 + confidence) / 2]
        )
        before, after = _measures(cells, BEFORE), _measures(cells, AFTER)
        change = Interval(value=round(after.f1 - before.f1, 6), low=round(low, 6), high=round(high, 6))
        found[name] = ClassScores(n=n, production=before, candidate=after, f1=change)
    return found


def _groups(values: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Each of the largest groups with (n,) whether an item belongs to it."""
    names = [name for name, _ in Counter(values).most_common(MOST)]
    return [(name, np.array(values) == name) for name in sorted(names)] if len(names) > 1 else []


def _compared(both: Scores, own: NDArray[np.bool_], confidence: float) -> Comparison:
    before, after = both[PRODUCTION][own], both[CANDIDATE][own]
    low, high = mean_limits((after - before).tolist(), (1 - confidence) / 2, (1 - confidence) / 2)
    means = [round(float(values.mean()), 6) for values in (before, after)]
    return Comparison(
        n=len(before),
        production=means[0],
        candidate=means[1],
        difference=Interval(value=round(means[1] - means[0], 6), low=round(low, 6), high=round(high, 6)),
    )


def _cells(wanted: Sequence[bool], given: Answers, name: str) -> NDArray[np.int64]:
    """(8,) items by whether the class is right, production's answer, and the candidate's."""
    hits = [[answer == name for answer in given[model]] for model in (PRODUCTION, CANDIDATE)]
    places = np.ravel_multi_index(np.array([wanted, *hits], dtype=int), (2, 2, 2))
    return np.bincount(places, minlength=8)


def _measures(cells: NDArray[np.int64], given: NDArray[np.bool_]) -> ClassMeasures:
    hits, wanted, found = cells[WANTED & given].sum(), cells[WANTED].sum(), cells[given].sum()
    return ClassMeasures(
        precision=round(float(hits / found), 6) if found else None,
        recall=round(float(hits / wanted), 6),
        f1=round(float(_f1(cells, given)), 6),
    )


def _f1(cells: NDArray[np.int64], given: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(...,) F1 from cells (..., 8): 0 where the class neither is right nor answered."""
    hits, both = cells[..., WANTED & given].sum(-1), cells[..., WANTED].sum(-1) + cells[..., given].sum(-1)
    return 2 * hits / np.maximum(both, 1)
