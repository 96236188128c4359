"""What a recorded night says about drift under other settings. Pure."""

from __future__ import annotations

from pipelines.core.config import Drift
from pipelines.core.facts.drift import ColumnFinding, DriftFacts
from pipelines.policy.night.drift import ColumnDistances, judge_night, too_little


def possible_drift(facts: DriftFacts, settings: Drift) -> tuple[set[bool], str]:
    """Which findings the recorded distances allow under these settings, and why.

    Nights with too few rows then were not measured, and stay left out.
    """
    if not facts.reference.nights and not facts.reference.left_out:
        return {facts.drift}, "there was nothing to compare with"
    if facts.rule is None:
        return _older(facts, settings)
    if why := too_little(len(facts.reference.nights), facts.tonight.rows, settings.min_rows):
        return {False}, why
    if not facts.columns:
        return {True, False}, f"{facts.tonight.rows} rows would be enough now, but nothing was compared"
    return _judged_again(facts, settings)


def _older(facts: DriftFacts, settings: Drift) -> tuple[set[bool], str]:
    """A record of tests that took rows as independent. Its distances of nights were not measured."""
    if facts.tonight.rows < settings.min_rows:
        return {False}, f"{facts.tonight.rows} rows are fewer than {settings.min_rows}"
    if settings.alpha == facts.alpha and facts.columns:
        return {facts.drift}, "the same level"
    return {True, False}, "nights were not compared with each other then"


def _judged_again(facts: DriftFacts, settings: Drift) -> tuple[set[bool], str]:
    columns = [_distances(column) for column in facts.columns]
    found = judge_night(columns, settings.alpha, settings.smallest_effect, bool(facts.same_model))
    first = found.columns[0]
    told = f"{first['column']}: p {first['p_adjusted']:.3g} at the level {settings.alpha:g}"
    beyond = f"{first['excess']:.3g} farther than usual, where {settings.smallest_effect:g} counts"
    return {found.drift}, f"{told}, {beyond} ({found.rule})"


def _distances(column: ColumnFinding) -> ColumnDistances:
    return ColumnDistances(column.column, column.about, column.method, column.distances)
