"""The numbers of a watch, as gauges for a Pushgateway and as a row of the ledger."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipelines.core.config import Config
from pipelines.data import has_feature_store, open_feature_store
from pipelines.observability.metrics_push import Sample
from pipelines.operations.watch.compare import Comparison
from pipelines.operations.watch.window import Window
from pipelines.policy.alerts.watch_tests import FEEDBACK, SERVING, refuses
from pipelines.policy.night.drift import ANSWER, INPUT

HELP = {
    "nightshift_watch_last_success_timestamp_seconds": "when a watch of live traffic last finished",
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
}


def measures_of(config: Config, window: Window, comparison: Comparison) -> dict[str, float]:
    """What was measured, whatever can be concluded from it, by the gauge's name."""
    found = {"nightshift_watch_rows": float(window.totals.attempts)}
    found |= _serving(window) | _answers(window)
    disliked, counted = window.ratings
    if counted:
        found["nightshift_watch_negative_feedback_ratio"] = disliked / counted
    found |= _features(config, window.end)
    if comparison.toxicity is not None:
        found["nightshift_watch_toxicity_ratio"] = comparison.toxicity
    return found


def samples_of(window: Window, comparison: Comparison, measures: dict[str, float]) -> list[Sample]:
    """Every gauge that a watch pushes."""
    return [
        *(Sample(name, value) for name, value in measures.items()),
        Sample("nightshift_watch_last_success_timestamp_seconds", window.end.timestamp()),
        *_alarms(comparison.finding.alarms),
        *_columns(comparison),
        *_compared(window),
    ]


def _serving(window: Window) -> dict[str, float]:
    totals, found = window.totals, dict[str, float]()
    if totals.attempts:
        found["nightshift_watch_error_ratio"] = totals.errors / totals.attempts
    if len(totals.latencies_s):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            seconds = round(float(np.quantile(totals.latencies_s, share)), 6)
            found[f"nightshift_watch_latency_{name}_seconds"] = seconds
    return found


def _answers(window: Window) -> dict[str, float]:
    texts = [row["completion"] for row in window.answers]
    if not texts:
        return {}
    return {
        "nightshift_watch_refusal_ratio": sum(map(refuses, texts)) / len(texts),
        "nightshift_watch_answer_characters": sum(map(len, texts)) / len(texts),
    }


def _features(config: Config, end: datetime) -> dict[str, float]:
    """How old the online features are; nothing where there is no online store, or an empty one."""
    newest = open_feature_store(config).newest() if has_feature_store(config) else None
    if not newest:
        return {}
    return {
        "nightshift_watch_features_age_seconds": (end - newest).total_seconds(),
        "nightshift_watch_features_max_age_seconds": 3600.0 * config.features.max_age_hours,
    }


def _alarms(alarms: dict[str, bool]) -> list[Sample]:
    samples = []
    for about in (INPUT, ANSWER, FEEDBACK, SERVING):
        label = {"about": about}
        samples.append(Sample("nightshift_watch_conclusive", float(about in alarms), label))
        if about in alarms:
            samples.append(Sample("nightshift_watch_alarm", float(alarms[about]), label))
    return samples


def _columns(comparison: Comparison) -> list[Sample]:
    samples = []
    for column in comparison.finding.columns:
        label = {"column": column["column"], "about": column["about"]}
        samples.append(Sample("nightshift_watch_p_value", column["p_adjusted"], label))
        samples.append(Sample("nightshift_watch_effect_ratio", column["effect"], label))
    return samples


def _compared(window: Window) -> list[Sample]:
    name = "nightshift_watch_compared_rows"
    return [
        Sample(name, float(len(rows)), {"side": side, "about": about})
        for about, both in window.sides.items()
        for side, rows in zip(("reference", "window"), both, strict=True)
    ]
