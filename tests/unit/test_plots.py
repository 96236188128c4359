"""The report's plots show what they are given."""

from __future__ import annotations

from pipelines.core.facts.drift import ColumnFinding
from pipelines.reporting.plots import nights_plot


def column(name, drifted, *distances):
    return ColumnFinding(
        column=name, about="input", method="m", p_adjusted=0.5, moved=drifted, drifted=drifted,
        effect=distances[-1], distances=distances,
    )  # fmt: skip


def test_a_column_that_drifted_is_told_apart():
    still, moved = column("tenant", False, 0.1, 0.2, 0.1), column("topic", True, 0.1, 0.2, 0.7)
    both = nights_plot([still, moved])
    assert "tonight, drifted" in both
    assert "an earlier night" in both
    assert "tonight, drifted" not in nights_plot([still])
