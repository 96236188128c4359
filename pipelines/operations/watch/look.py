"""The hourly look at live traffic: drift of questions and answers, feedback, errors, latency, features.

Questions are compared with the traffic that the live model learned from, as the night's step `drift` does;
answers with those that the same model gave earlier, since another model answers differently by design. A look
ends in a row of the ledger, a report and, where a Pushgateway is set, metrics. It changes nothing else:
Prometheus' rules and the alert router decide what follows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.contract import Verdict, canonical_json
from pipelines.core.results import StepResult
from pipelines.core.traffic_split import Adapter
from pipelines.data.embedder import Embedder
from pipelines.data.reference import reference_of, sample
from pipelines.observability import metrics_push
from pipelines.observability.metrics_push import Sample
from pipelines.operations.watch import loop_metrics as watch_operations
from pipelines.operations.watch.report import write_report
from pipelines.operations.watch.toxicity_head import Head, load_head
from pipelines.policy.alerts import watch as policy
from pipelines.policy.alerts.watch import FEEDBACK, SERVING
from pipelines.policy.night.drift import ANSWER, INPUT, ColumnTest
from pipelines.policy.night.feedback import prompt_of
from pipelines.policy.stats.permutation import permutations_needed
from pipelines.stores import open_ledger
from pipelines.stores.journal.traffic import Totals, Traffic, who
from pipelines.stores.ledger.tables import WATCHES

MOST_COLUMNS = 14  # a look's tests: six of the input, five of the answers, feedback, errors, latency
SAYS = {
    policy.Verdict.QUIET: Verdict.PROCEED,
    policy.Verdict.ALARM: Verdict.HOLD,
    policy.Verdict.UNCLEAR: Verdict.SKIP,
}
HELP = {
    "nightshift_watch_last_success_timestamp_seconds": "when a look at live traffic was last finished",
    "nightshift_watch_rows": "attempts to answer users in the window",
    "nightshift_watch_compared_rows": "rows of each side that were compared",
    "nightshift_watch_alarm": "1: a test of this kind found a change; absent: cannot conclude",
    "nightshift_watch_conclusive": "1: there was enough to test",
    "nightshift_watch_p_value": "adjusted p-value of a column's test",
    "nightshift_watch_effect_ratio": "how far a column moved, 0 to 1",
    "nightshift_watch_error_ratio": "failed attempts of all",
    "nightshift_watch_refusal_ratio": "answers that decline",
    "nightshift_watch_toxicity_ratio": "mean toxicity score of the answers",
    "nightshift_watch_answer_characters": "mean length of the answers",
    "nightshift_watch_negative_feedback_ratio": "disliked answers of those rated",
    "nightshift_watch_latency_p50_seconds": "median time to a whole answer, cached ones left out",
    "nightshift_watch_latency_p99_seconds": "99 in 100 answers were faster",
    "nightshift_watch_features_age_seconds": "age of the newest features in the online store",
    "nightshift_watch_features_max_age_seconds": "features.max_age_hours",
} | watch_operations.HELP
log = logging.getLogger("nightshift")


@dataclass(frozen=True)
class _Seen:
    """The rows of one look. `before_*`: references of questions and of answers."""

    totals: Totals
    asked: list[dict[str, Any]]
    answered: list[dict[str, Any]]
    before_asked: list[dict[str, Any]]
    before_answered: list[dict[str, Any]]
    rated_now: tuple[int, int]
    rated_before: tuple[int, int]
    source: str


def watch(config: Config, run_id: str = "", now: datetime | None = None) -> StepResult:
    """Look once; a `run_id` is recorded once. Raises MachineError when the push fails, after all else."""
    started, end = time.monotonic(), now or datetime.now(UTC)
    start = end - timedelta(hours=config.watch.window_h)
    ledger = open_ledger(config)
    seen = _look(config, ledger.promotion().route.production, start, end)
    found = _assess(config, seen, seed=int(end.timestamp()) // 3600)
    numbers = _numbers(config, seen, end) | found.pop("numbers")
    name = run_id or end.isoformat(timespec="seconds")
    facts = {"start": start, "end": end, "source": seen.source}
    page = Path(config.home) / "watch" / f"{end:%Y-%m-%dT%H%M%S}.html"
    write_report(page, config, facts, found, numbers, ledger)
    row: dict[str, str] = {
        "id": name,
        "at": datetime.now(UTC).isoformat(),
        "window_start": start.isoformat(),
        "window_end": end.isoformat(),
        "verdict": str(found["verdict"]),
        "metrics": canonical_json({**numbers, "columns": found["columns"]}).decode(),
        "reasons": canonical_json(found["reasons"]).decode(),
        "report": page.as_uri() if page.is_absolute() else str(page),
    }
    ledger.append(WATCHES, row)
    if config.watch.pushgateway:
        operations = watch_operations.operations(ledger, config, end)
        metrics_push.push(config.watch.pushgateway, [*_samples(found, numbers, end), *operations], HELP)
    else:
        log.info("watch: no Pushgateway is set (watch.pushgateway), so no metrics are pushed")
    return StepResult(
        step="watch",
        verdict=SAYS[found["verdict"]],
        reasons=tuple(found["reasons"]),
        headline=f"{found['verdict']}: {seen.totals.attempts} attempts in {config.watch.window_h:g} h",
        manifest_uri=row["report"],
        seconds=time.monotonic() - started,
        reused=False,
    )


def _look(config: Config, production: Adapter | None, start: datetime, end: datetime) -> _Seen:
    """Read the window and its references; comparisons get at most `max_rows` a side."""
    settings, traffic, own = config.watch, Traffic(config.home), who(production)
    reference, seed = reference_of(config, start.date()), int(end.timestamp()) // 3600
    nights = [date.fromisoformat(night) for night in reference["nights"]]
    before, _ = sample(config, nights, start.date(), seed, settings.max_rows)
    same = [row for row in before if row["adapter"] == own[0]]
    if len(same) < settings.min_rows:  # another model answered the reference: this one's own first answers
        same = traffic.first(start, settings.max_rows, own)
    rng, per_person = np.random.default_rng([config.seed, seed]), config.promote.answers_per_person
    return _Seen(
        totals=traffic.totals(start, end),
        asked=traffic.sample(start, end, settings.max_rows, rng),
        answered=traffic.sample(start, end, settings.max_rows, rng, own),
        before_asked=before,
        before_answered=same,
        rated_now=policy.rated(traffic.ratings(start, end, own), per_person),
        rated_before=policy.rated(same, per_person),
        source=reference["source"],
    )


def _assess(config: Config, seen: _Seen, seed: int) -> dict[str, Any]:
    """The verdict with its columns, and what only the texts tell (`numbers`)."""
    settings, labels = config.watch, config.task.labels
    alpha = settings.alpha_day / settings.looks_per_day
    asking = policy.Tests(permutations_needed(0, MOST_COLUMNS, alpha), seed)
    tests, unclear, numbers = list[ColumnTest](), dict[str, str](), dict[str, float]()
    sides = {INPUT: (seen.before_asked, seen.asked), ANSWER: (seen.before_answered, seen.answered)}
    for about, rows in sides.items():
        if (why := _too_few(rows, settings.min_rows, seen.source, about)) is not None:
            unclear[about] = why
    if len(unclear) < len(sides):
        embedder = Embedder(config.model.embedder, config.model.threads)
        if INPUT not in unclear:
            before, now = (policy.Side(r, _embedded(embedder, r, "messages")) for r in sides[INPUT])
            tests += asking.input(before, now, labels, settings.min_rated)
        if ANSWER not in unclear:
            head = load_head(config, embedder)
            before, now = (_answers(embedder, head, r) for r in sides[ANSWER])
            tests += asking.answer(before, now, labels)
            if now.toxicity is not None:
                numbers["nightshift_watch_toxicity_ratio"] = float(now.toxicity.mean())
            else:
                unclear["toxicity"] = "the classifier is too weak to judge by"
    rated = (seen.rated_before, seen.rated_now)
    if min(n for _, n in rated) < settings.min_rated:
        unclear[FEEDBACK] = (
            f"{rated[1][1]} people rated answers, {rated[0][1]} before; {settings.min_rated} are needed"
        )
    else:
        tests.append(policy.feedback(*rated))
    if seen.totals.attempts < settings.min_rows:
        unclear[SERVING] = f"{seen.totals.attempts} attempts; {settings.min_rows} are needed"
    else:
        tests += _serving(config, seen.totals)
    found = policy.conclude(tests, alpha, unclear)
    compared = {side: {about: len(rows[side]) for about, rows in sides.items()} for side in (0, 1)}
    return found | {
        "numbers": numbers,
        "alpha": alpha,
        "compared": {"reference": compared[0], "window": compared[1]},
    }


def _too_few(rows: tuple[Sequence[Any], Sequence[Any]], least: int, source: str, about: str) -> str | None:
    before, now = map(len, rows)
    if min(before, now) >= least:
        return None
    said = "earlier ones of the same model" if about == ANSWER else f"in the reference ({source})"
    return f"{now} rows in the window and {before} {said}; {least} are needed on both sides"


def _embedded(embedder: Embedder, rows: Sequence[dict[str, Any]], column: str) -> np.ndarray:
    return embedder.embed([prompt_of(row[column]) if column == "messages" else row[column] for row in rows])


def _answers(embedder: Embedder, head: Head, rows: Sequence[dict[str, Any]]) -> policy.Side:
    vectors = _embedded(embedder, rows, "completion")
    return policy.Side(rows, vectors, head.scores(vectors, [row["completion"] for row in rows]))


def _serving(config: Config, totals: Totals) -> list[ColumnTest]:
    """Errors and slow answers against their limits."""
    tests = [policy.binomial_test("errors", totals.errors, totals.attempts, config.watch.max_error_ratio)]
    if times := len(totals.latencies_s):
        slow = int((totals.latencies_s > config.watch.max_latency_s).sum())
        tests.append(policy.binomial_test("slow_answers", slow, times, 0.01))
    return tests


def _numbers(config: Config, seen: _Seen, end: datetime) -> dict[str, float]:
    """What was measured, whatever can be concluded from it."""
    totals, found = seen.totals, {"nightshift_watch_rows": float(seen.totals.attempts)}
    if totals.attempts:
        found["nightshift_watch_error_ratio"] = totals.errors / totals.attempts
    if totals.latencies_s.size:
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            seconds = round(float(np.quantile(totals.latencies_s, share)), 6)
            found[f"nightshift_watch_latency_{name}_seconds"] = seconds
    if seen.answered:
        texts = [row["completion"] for row in seen.answered]
        found["nightshift_watch_refusal_ratio"] = sum(map(policy.refuses, texts)) / len(texts)
        found["nightshift_watch_answer_characters"] = sum(map(len, texts)) / len(texts)
    disliked, counted = seen.rated_now
    if counted:
        found["nightshift_watch_negative_feedback_ratio"] = disliked / counted
    filled = _features_filled(config)
    if filled:
        found["nightshift_watch_features_age_seconds"] = (end - filled).total_seconds()
        found["nightshift_watch_features_max_age_seconds"] = config.features.max_age_hours * 3600.0
    return found


def _features_filled(config: Config) -> datetime | None:
    """The instant up to which the online features are filled; None where there is no store."""
    folder = Path(config.home) / "feast"
    if not (folder / "registry.db").exists():
        return None
    from pipelines.data.features import FeatureStore  # Feast takes seconds

    max_age = timedelta(hours=config.features.max_age_hours)
    newest = FeatureStore(folder, config.features.windows_days, max_age).newest()
    return newest.replace(tzinfo=newest.tzinfo or UTC) if newest else None


def _samples(found: dict[str, Any], numbers: dict[str, float], end: datetime) -> list[Sample]:
    samples = [Sample(name, value) for name, value in numbers.items()]
    samples.append(Sample("nightshift_watch_last_success_timestamp_seconds", end.timestamp()))
    for about in (INPUT, ANSWER, FEEDBACK, SERVING):
        concluded = about in found["alarms"]
        samples.append(Sample("nightshift_watch_conclusive", float(concluded), {"about": about}))
        if concluded:
            samples.append(Sample("nightshift_watch_alarm", float(found["alarms"][about]), {"about": about}))
    for column in found["columns"]:
        label = {"column": column["column"], "about": column["about"]}
        samples.append(Sample("nightshift_watch_p_value", column["p_adjusted"], label))
        samples.append(Sample("nightshift_watch_effect_ratio", column["effect"], label))
    for side, counts in found["compared"].items():
        for about, count in counts.items():
            samples.append(
                Sample("nightshift_watch_compared_rows", float(count), {"side": side, "about": about})
            )
    return samples
