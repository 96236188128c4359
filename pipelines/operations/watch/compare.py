"""The comparisons of a watch: every test that its window has enough rows for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.conversations import question_text
from pipelines.data.embedder import Embedder
from pipelines.evaluation.toxicity import ToxicityHead, kept_head
from pipelines.operations.watch.kept_nights import KeptNights
from pipelines.operations.watch.window import Window, seed_of
from pipelines.policy.alerts.watch import ColumnTest, WatchFinding, conclude
from pipelines.policy.alerts.watch_nights import NightQuestions, questions_by_night
from pipelines.policy.alerts.watch_tests import (
    FEEDBACK,
    SERVING,
    WatchSide,
    WatchTests,
    binomial_test,
    feedback,
)
from pipelines.policy.night.drift import ANSWER, FEWEST_NIGHTS, INPUT
from pipelines.policy.stats.permutation import permutations_needed

MOST_TESTS = 14  # six of the questions, five of the answers; feedback, errors, slow answers


@dataclass(frozen=True)
class Comparison:
    """What the tests say. `toxicity`: mean score of the window's answers, where it can be told."""

    finding: WatchFinding
    alpha: float
    toxicity: float | None


def compare(config: Config, window: Window) -> Comparison:
    """Run the tests that there is enough data for; the finding says which others, and why not."""
    settings = config.watch
    alpha = settings.alpha_day / settings.looks_per_day
    permutation_tests = WatchTests(permutations_needed(0, MOST_TESTS, alpha), seed_of(window.end))
    unclear = _too_few_rows(window, settings.min_rows)
    tests, toxicity = _compare_texts(config, window, permutation_tests, unclear)
    if min(window.earlier_ratings[1], window.ratings[1]) < settings.min_rated:
        unclear[FEEDBACK] = (
            f"{window.ratings[1]} people rated in the window and {window.earlier_ratings[1]} before it;"
            f" {settings.min_rated} are needed on both sides"
        )
    else:
        tests.append(feedback(window.earlier_ratings, window.ratings))
    if window.totals.attempts < settings.min_rows:
        unclear[SERVING] = f"{window.totals.attempts} attempts to answer; {settings.min_rows} are needed"
    else:
        tests += _serving_tests(config, window)
    return Comparison(conclude(tests, alpha, unclear, settings.smallest_effect), alpha, toxicity)


def _too_few_rows(window: Window, least: int) -> dict[str, str]:
    """INPUT, ANSWER -> why they cannot be compared."""
    where = {INPUT: f"in the reference ({window.reference})", ANSWER: "earlier ones of the same model"}
    needed = f"{least} are needed on both sides"
    return {
        about: f"{len(now)} rows in the window and {len(before)} {where[about]}; {needed}"
        for about, (before, now) in window.sides.items()
        if min(len(before), len(now)) < least
    }


def _compare_texts(
    config: Config, window: Window, permutation_tests: WatchTests, unclear: dict[str, str]
) -> tuple[list[ColumnTest], float | None]:
    """Tests of questions and answers, and the answers' mean toxicity. Adds to `unclear`."""
    tests, toxicity, labels = list[ColumnTest](), None, config.task.labels
    if {INPUT, ANSWER} <= unclear.keys():
        return tests, toxicity
    embedder = Embedder(config.model.embedder, config.model.threads)
    if nights := _nights(config, window, embedder):
        tests += questions_by_night(nights, labels, config.watch.min_rated)
    elif INPUT not in unclear:
        before, now = (_questions(embedder, rows) for rows in window.sides[INPUT])
        tests += permutation_tests.questions(before, now, labels, config.watch.min_rated)
    if ANSWER not in unclear:
        head = kept_head(config, embedder)
        is_accurate = head.quality.low >= config.safety.min_classifier_auc
        before, now = (
            _answers(embedder, head if is_accurate else None, rows) for rows in window.sides[ANSWER]
        )
        tests += permutation_tests.answers(before, now, labels)
        if now.toxicity is None:
            unclear["toxicity"] = "the toxicity classifier is not accurate enough"
        else:
            toxicity = float(now.toxicity.mean())
    return tests, toxicity


def _nights(config: Config, window: Window, embedder: Embedder) -> list[NightQuestions]:
    """Earlier nights, then the window; nothing where a comparison of nights needs more."""
    kept = KeptNights(config, embedder, window.start.date(), window.per_person)
    now = kept.summary(window.questions, seed_of(window.end)) if len(window.nights) >= FEWEST_NIGHTS else None
    nights = kept.with_enough_rows(window.nights) if now else []
    return [*nights, now] if now and len(nights) >= FEWEST_NIGHTS else []


def _questions(embedder: Embedder, rows: Sequence[dict[str, Any]]) -> WatchSide:
    return WatchSide(rows, embedder.embed([question_text(row["messages"]) for row in rows]))


def _answers(embedder: Embedder, head: ToxicityHead | None, rows: Sequence[dict[str, Any]]) -> WatchSide:
    texts = [row["completion"] for row in rows]
    vectors = embedder.embed(texts)
    return WatchSide(rows, vectors, head.scores(vectors, texts) if head else None)


def _serving_tests(config: Config, window: Window) -> list[ColumnTest]:
    """Errors and slow answers against their limits."""
    totals, settings = window.totals, config.watch
    tests = [binomial_test("errors", totals.errors, totals.attempts, settings.max_error_ratio)]
    if timed := len(totals.latencies_s):
        slow = int((np.asarray(totals.latencies_s) > settings.max_latency_s).sum())
        tests.append(binomial_test("slow_answers", slow, timed, 0.01))
    return tests
