"""What an hourly look at live traffic says. Pure.

A look asks several tests at once. Holm's step-down keeps the chance that even one of them alarms by mistake
below the look's share, `alpha_day / looks_per_day`. Over a day that adds up to `alpha_day` at most (the union
bound), also when the windows of neighbouring looks overlap: one day in `1 / alpha_day` has a false alarm.

Too little to look at is no answer, and never an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from pipelines.policy.night.drift import ANSWER, INPUT, ColumnTest
from pipelines.policy.night.feedback import label_of, normalise, prompt_of
from pipelines.policy.night.safety import REFUSAL
from pipelines.policy.stats.holm import holm
from pipelines.policy.stats.permutation import energy_test, homogeneity_test, ks_test, total_variation

FEEDBACK, SERVING = "feedback", "serving"  # beside INPUT and ANSWER: what a test is about
CHI_SQUARE, KS, ENERGY = (
    "chi-square, relabelled",
    "Kolmogorov-Smirnov, relabelled",
    "energy distance, relabelled",
)
Row = Mapping[str, Any]


class Verdict(StrEnum):
    QUIET = "quiet"
    ALARM = "alarm"
    UNCLEAR = "cannot conclude"


@dataclass(frozen=True)
class Side:
    """One side of a comparison: rows, an embedding a row (unit length), and for answers a toxicity score."""

    rows: Sequence[Row]
    vectors: np.ndarray
    toxicity: np.ndarray | None = None


class Tests:
    """Runs the tests of one look with the same number of relabellings, drawn by one generator."""

    def __init__(self, permutations: int, seed: int) -> None:
        self._permutations, self._rng = permutations, np.random.default_rng(seed)

    def input(self, before: Side, now: Side, labels: Sequence[str], min_rated: int) -> list[ColumnTest]:
        """Who asks, and what they want, where enough of them say so."""
        tests = [
            self._categories(name, INPUT, [row[name] for row in before.rows], [row[name] for row in now.rows])
            for name in ("tenant", "locale", "channel")
        ]
        # Feedback comes late, so an hour has less of it than a night: rows without any are left out.
        wanted = [[w for row in side.rows if (w := _wanted(row)) is not None] for side in (before, now)]
        silent = any(row["rating"] is not None and _wanted(row) is None for row in [*before.rows, *now.rows])
        if labels and not silent and min(map(len, wanted)) >= min_rated:
            tests.append(self._categories("wanted_label", INPUT, *(_spelled(w, labels) for w in wanted)))
        lengths = ([len(prompt_of(row["messages"])) for row in side.rows] for side in (before, now))
        tests.append(self._numbers("prompt_length", INPUT, *lengths))
        tests.append(self._embeddings("prompt_embedding", INPUT, before, now))
        return tests

    def answer(self, before: Side, now: Side, labels: Sequence[str]) -> list[ColumnTest]:
        """What the same model answers."""
        said = [[str(row["completion"]) for row in side.rows] for side in (before, now)]
        tests = []
        if labels:
            tests.append(self._categories("completion_label", ANSWER, *(_spelled(s, labels) for s in said)))
        tests.append(self._categories("refused", ANSWER, *([refuses(t) for t in s] for s in said)))
        tests.append(self._numbers("completion_length", ANSWER, *([len(t) for t in s] for s in said)))
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

    def _embeddings(self, name: str, about: str, before: Side, now: Side) -> ColumnTest:
        p_value, effect = energy_test(before.vectors, now.vectors, self._permutations, self._rng)
        return ColumnTest(name, about, ENERGY, p_value, effect)


def feedback(before: tuple[int, int], now: tuple[int, int]) -> ColumnTest:
    """Do more people dislike the answers? (disliked, rated) of the reference and of the window.

    Fisher's exact test, one-sided: Agresti, Categorical Data Analysis, 3rd ed., 2013, section 3.5.
    """
    table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    effect = max(0.0, now[0] / now[1] - before[0] / before[1])
    return ColumnTest("negative_feedback", FEEDBACK, "Fisher, one-sided", p_value, effect)


def binomial_test(name: str, count: int, n: int, limit: float) -> ColumnTest:
    """Is the share behind `count` of `n` above `limit`? The exact binomial test, one-sided."""
    p_value = float(binomtest(count, n, limit, alternative="greater").pvalue)
    return ColumnTest(name, SERVING, f"binomial against {limit:.2%}", p_value, count / n)


def conclude(tests: Sequence[ColumnTest], alpha: float, unclear: Mapping[str, str]) -> dict[str, Any]:
    """One look's verdict, reasons and rows a column, the smallest p-value first.

    `alpha` is the look's share; `unclear`: what could not be tested, and why.
    """
    adjusted = holm([test.p_value for test in tests])
    columns: list[dict[str, Any]] = [
        {
            "column": test.column,
            "about": test.about,
            "method": test.method,
            "p_value": test.p_value,
            "p_adjusted": round(p, 8),
            "drifted": p <= alpha,
            "effect": round(test.effect, 4),
        }
        for test, p in zip(tests, adjusted, strict=True)
    ]
    columns.sort(key=lambda row: (row["p_adjusted"], -row["effect"], row["column"]))
    moved = [row for row in columns if row["drifted"]]
    reasons = [
        f"{row['about']}: {row['column']} moved (effect {row['effect']:.2f}, p {row['p_adjusted']:.2g})."
        for row in moved
    ]
    reasons += [f"{about}: cannot conclude, {why}." for about, why in unclear.items()]
    verdict = Verdict.ALARM if moved else Verdict.QUIET if tests else Verdict.UNCLEAR
    alarms = {about: any(row["about"] == about for row in moved) for about in {test.about for test in tests}}
    return {
        "verdict": verdict,
        "reasons": reasons,
        "columns": columns,
        "alarms": alarms,
        "unclear": dict(unclear),
    }


def rated(rows: Iterable[Row], per_person: int) -> tuple[int, int]:
    """(disliked, rated); at most the first `per_person` ratings of a person, 0 for all."""
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
    return REFUSAL.search(text) is not None


def _wanted(row: Row) -> str | None:
    return label_of(row["rating"], row["correction"], row["completion"])


def _spelled(texts: Iterable[str], labels: Sequence[str]) -> list[str]:
    known = {normalise(label) for label in labels}
    return [normalise(text) if normalise(text) in known else "other" for text in texts]
