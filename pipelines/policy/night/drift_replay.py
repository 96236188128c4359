"""What a recorded night's drift tests say under other settings. Pure."""

from __future__ import annotations

from pipelines.core.config import Drift
from pipelines.core.facts.drift import ColumnFinding, DriftFacts
from pipelines.policy.night.drift import ColumnTest, drifted_columns
from pipelines.policy.stats.permutation import permutations_needed


def possible_drift(facts: DriftFacts, settings: Drift) -> tuple[set[bool], str]:
    """Which findings the recorded tests allow under these settings, and why."""
    rows = min(facts.reference.rows, facts.tonight.rows)
    if not facts.reference.nights:
        return {facts.drift}, "there was nothing to compare with"
    if rows < settings.min_rows:
        return {False}, f"{rows} rows are fewer than {settings.min_rows}"
    if not facts.columns:
        return {True, False}, f"{rows} rows would be enough now, but no test was made of them"
    if settings.alpha == facts.alpha:
        return {facts.drift}, "the same level"
    return _drift_at(facts, settings.alpha)


def _drift_at(facts: DriftFacts, alpha: float) -> tuple[set[bool], str]:
    """The recorded tests at another level. A small level needs more relabellings than may have been made."""
    tests = [_test(column) for column in facts.columns]
    drifted, found = drifted_columns(tests, alpha, bool(facts.same_model))
    needed, made = permutations_needed(0, len(tests), alpha), facts.permutations or 0
    if facts.drift and not drifted and needed > made:
        return {True, False}, f"{made} relabellings cannot tell at the level {alpha:g}"
    first = next((row for row in found if row["drifted"]), found[0])
    return {drifted}, f"{first['column']}: adjusted p {first['p_adjusted']:.3g} at the level {alpha:g}"


def _test(column: ColumnFinding) -> ColumnTest:
    return ColumnTest(column.column, column.about, column.method, column.p_value, column.effect)
