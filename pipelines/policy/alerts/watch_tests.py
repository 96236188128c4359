"""The tests of a watch: each compares a column of live traffic with its reference, or with a limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from pipelines.core.conversations import normalise, question_text
from pipelines.core.refusal_phrases import sounds_refused
from pipelines.policy.night.drift import ANSWER, INPUT, ColumnTest
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.permutation import energy_test, homogeneity_test, ks_test, total_variation

FEEDBACK, SERVING = "feedback", "serving"  # beside INPUT and ANSWER: what a test is about
CHI_SQUARE = "chi-square, relabelled"
KS = "Kolmogorov-Smirnov, relabelled"
ENERGY = "energy distance, relabelled"


@dataclass(frozen=True)
class WatchSide:
    """One side of a comparison of n interactions.

    `vectors`: (n, d), embeddings of unit length of the questions or answers. `toxicity`: (n,), of answers.
    """

    rows: Sequence[Mapping[str, Any]]
    vectors: np.ndarray
    toxicity: np.ndarray | None = None


class WatchTests:
    """The permutation tests of one watch: as many relabellings each, drawn by one generator."""

    def __init__(self, permutations: int, seed: int) -> None:
        self._permutations, self._rng = permutations, np.random.default_rng(seed)

    def questions(
        self, before: WatchSide, now: WatchSide, labels: Sequence[str], min_rated: int
    ) -> list[ColumnTest]:
        """Who asks what, before and now; also which answer they want, where enough of them say so."""
        tests = [
            self._categories(name, INPUT, [row[name] for row in before.rows], [row[name] for row in now.rows])
            for name in ("tenant", "locale", "channel")
        ]
        # Feedback comes late: a watch's window has less of it than a night, so rows without any are left out.
        wanted = [[w for row in side.rows if (w := _wanted_label(row)) is not None] for side in (before, now)]
        silent = any(
            row["rating"] is not None and _wanted_label(row) is None for row in [*before.rows, *now.rows]
        )
        if labels and not silent and min(map(len, wanted)) >= min_rated:
            tests.append(
                self._categories("wanted_label", INPUT, *(_labels_or_other(w, labels) for w in wanted))
            )
        lengths = ([len(question_text(row["messages"])) for row in side.rows] for side in (before, now))
        tests.append(self._numbers("prompt_length", INPUT, *lengths))
        tests.append(self._embeddings("prompt_embedding", INPUT, before, now))
        return tests

    def answers(self, before: WatchSide, now: WatchSide, labels: Sequence[str]) -> list[ColumnTest]:
        """What the same model answers, before and now."""
        texts = [[str(row["completion"]) for row in side.rows] for side in (before, now)]
        tests = []
        if labels:
            tests.append(
                self._categories("completion_label", ANSWER, *(_labels_or_other(s, labels) for s in texts))
            )
        tests.append(self._categories("refused", ANSWER, *([refuses(t) for t in s] for s in texts)))
        tests.append(self._numbers("completion_length", ANSWER, *([len(t) for t in s] for s in texts)))
        if before.toxicity is not None and now.toxicity is not None:
            tests.append(self._numbers("toxicity", ANSWER, before.toxicity, now.toxicity))
        tests.append(self._embeddings("completion_embedding", ANSWER, before, now))
        return tests

    def _categories(self, name: str, about: str, before: Iterable[Any], now: Iterable[Any]) -> ColumnTest:
        first, second = np.array([str(v) for v in before]), np.array([str(v) for v in now])
        p_value = homogeneity_test(first, second, self._permutations, self._rng)
        return ColumnTest(name, about, CHI_SQUARE, p_value, total_variation(first, second))

    def _numbers(self, name: str, about: str, before: Any, now: Any) -> ColumnTest:
        p_value, effect = ks_test(
            np.asarray(before, float), np.asarray(now, float), self._permutations, self._rng
        )
        return ColumnTest(name, about, KS, p_value, effect)

    def _embeddings(self, name: str, about: str, before: WatchSide, now: WatchSide) -> ColumnTest:
        p_value, effect = energy_test(before.vectors, now.vectors, self._permutations, self._rng)
        return ColumnTest(name, about, ENERGY, p_value, effect)


def feedback(before: tuple[int, int], now: tuple[int, int]) -> ColumnTest:
    """Whether more answers are disliked; (disliked, rated) of the reference and of the window.

    Fisher's exact test, one-sided: Agresti, Categorical Data Analysis, 3rd ed., 2013, section 3.5.
    """
    table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    effect = max(0.0, now[0] / now[1] - before[0] / before[1])
    return ColumnTest("negative_feedback", FEEDBACK, "Fisher, one-sided", p_value, effect)


def binomial_test(name: str, count: int, n: int, limit: float) -> ColumnTest:
    """Whether `count` of `n` is a share above `limit`: the exact binomial test, one-sided."""
    p_value = float(binomtest(count, n, limit, alternative="greater").pvalue)
    return ColumnTest(name, SERVING, f"binomial against {limit:.2%}", p_value, count / n)


def rated(rows: Iterable[Mapping[str, Any]], per_person: int) -> tuple[int, int]:
    """(disliked, rated) answers; at most the first `per_person` ratings of a person count, 0 for all."""
    taken: dict[tuple[str, str], int] = {}
    disliked = counted = 0
    for row in rows:
        if row["rating"] is None:
            continue
        person = (row["tenant"], row["subject_id"])
        taken[person] = taken.get(person, 0) + 1
        if not per_person or taken[person] <= per_person:
            counted += 1
            disliked += row["rating"] == -1
    return disliked, counted


def refuses(text: str) -> bool:
    """Whether an answer declines."""
    return sounds_refused(text)


def _wanted_label(row: Mapping[str, Any]) -> str | None:
    return label_of(row["rating"], row["correction"], row["completion"])


def _labels_or_other(texts: Iterable[str], labels: Sequence[str]) -> list[str]:
    known = {normalise(label) for label in labels}
    return [normalise(text) if normalise(text) in known else "other" for text in texts]
