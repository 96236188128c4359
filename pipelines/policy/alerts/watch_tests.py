"""The tests of a watch: each compares a column of live traffic with its reference, or with a limit. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.stats import binomtest, fisher_exact

from pipelines.core.conversations import question_text
from pipelines.core.refusal_phrases import sounds_refused
from pipelines.core.spelling import answer_form
from pipelines.policy.alerts.watch import ColumnTest
from pipelines.policy.night.drift import ANSWER, INPUT
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.permutation import Moved, energy_test, homogeneity_test, ks_test

Row = TypeVar("Row", bound=Mapping[str, Any])
Sides = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]] | list[list[Mapping[str, Any]]]
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
        rows = before.rows, now.rows
        tests = [
            self._categories(name, INPUT, rows, [[str(row[name]) for row in side] for side in rows])
            for name in ("tenant", "locale", "channel")
        ]
        # Feedback comes late: a watch's window has less of it than a night, so rows without any are left out.
        told = [[row for row in side if wanted_label(row) is not None] for side in rows]
        silent = any(told_no_label(row) for side in rows for row in side)
        if labels and not silent and min(map(len, told)) >= min_rated:
            wanted = [labels_or_other((str(wanted_label(row)) for row in side), labels) for side in told]
            tests.append(self._categories("wanted_label", INPUT, told, wanted))
        lengths = [[len(question_text(row["messages"])) for row in side] for side in rows]
        tests.append(self._numbers("prompt_length", INPUT, rows, lengths))
        tests.append(self._embeddings("prompt_embedding", INPUT, before, now))
        return tests

    def answers(self, before: WatchSide, now: WatchSide, labels: Sequence[str]) -> list[ColumnTest]:
        """What the same model answers, before and now."""
        rows = before.rows, now.rows
        texts = [[str(row["completion"]) for row in side] for side in rows]
        tests = []
        if labels:
            known = [labels_or_other(side, labels) for side in texts]
            tests.append(self._categories("completion_label", ANSWER, rows, known))
        refused = [[str(refuses(text)) for text in side] for side in texts]
        tests.append(self._categories("refused", ANSWER, rows, refused))
        tests.append(
            self._numbers("completion_length", ANSWER, rows, [list(map(len, side)) for side in texts])
        )
        if before.toxicity is not None and now.toxicity is not None:
            tests.append(self._numbers("toxicity", ANSWER, rows, [before.toxicity, now.toxicity]))
        tests.append(self._embeddings("completion_embedding", ANSWER, before, now))
        return tests

    def _categories(self, name: str, about: str, rows: Sides, values: Sequence[Sequence[str]]) -> ColumnTest:
        before, now = map(np.array, values)
        return _test(name, about, CHI_SQUARE, homogeneity_test(before, now, *self._draw, _people(*rows)))

    def _numbers(self, name: str, about: str, rows: Sides, values: Sequence[Any]) -> ColumnTest:
        before, now = (np.asarray(side, float) for side in values)
        return _test(name, about, KS, ks_test(before, now, *self._draw, _people(*rows)))

    def _embeddings(self, name: str, about: str, before: WatchSide, now: WatchSide) -> ColumnTest:
        moved = energy_test(before.vectors, now.vectors, *self._draw, _people(before.rows, now.rows))
        return _test(name, about, ENERGY, moved)

    @property
    def _draw(self) -> tuple[int, np.random.Generator]:
        return self._permutations, self._rng


def at_most(rows: Iterable[Row], per_person: int) -> list[Row]:
    """The first rows of each person, at most so many."""
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    for row in rows:
        person = (row["tenant"], row["subject_id"])
        taken[person] += 1
        if taken[person] <= per_person:
            kept.append(row)
    return kept


def _people(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A number for the person of each row."""
    known: dict[tuple[str, str], int] = {}
    everyone = ((row["tenant"], row["subject_id"]) for row in [*before, *now])
    return np.array([known.setdefault(person, len(known)) for person in everyone])


def _test(name: str, about: str, method: str, moved: Moved) -> ColumnTest:
    return ColumnTest(name, about, method, moved.p_value, moved.effect, moved.effect - moved.usual)


def feedback(before: tuple[int, int], now: tuple[int, int]) -> ColumnTest:
    """Whether more answers are disliked; (disliked, rated) of the reference and of the window.

    Fisher's exact test, one-sided: Agresti, Categorical Data Analysis, 3rd ed., 2013, section 3.5.
    """
    table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    effect = max(0.0, now[0] / now[1] - before[0] / before[1])
    return ColumnTest("negative_feedback", FEEDBACK, "Fisher, one-sided", p_value, effect, effect)


def binomial_test(name: str, count: int, n: int, limit: float) -> ColumnTest:
    """Whether `count` of `n` is a share above `limit`: the exact binomial test, one-sided."""
    p_value = float(binomtest(count, n, limit, alternative="greater").pvalue)
    return ColumnTest(name, SERVING, f"binomial against {limit:.2%}", p_value, count / n)


def rated(rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """(disliked, rated) answers. The first rating of a person counts, since more of theirs are alike."""
    ratings = [row["rating"] for row in at_most((row for row in rows if row["rating"] is not None), 1)]
    return ratings.count(-1), len(ratings)


def refuses(text: str) -> bool:
    """Whether an answer declines."""
    return sounds_refused(text)


def told_no_label(row: Mapping[str, Any]) -> bool:
    """Whether a person rated the answer without telling the right one."""
    return row["rating"] is not None and wanted_label(row) is None


def wanted_label(row: Mapping[str, Any]) -> str | None:
    """The right answer, as far as the person told it."""
    return label_of(row["rating"], row["correction"], row["completion"])


def labels_or_other(texts: Iterable[str], labels: Sequence[str]) -> list[str]:
    """Each text as one of the labels, spelled in one way, or as "other"."""
    known = {answer_form(label) for label in labels}
    return [answer_form(text) if answer_form(text) in known else "other" for text in texts]
