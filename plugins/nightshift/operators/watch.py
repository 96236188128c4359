"""The hourly looks at live traffic and at the feature store, as Airflow tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.operators.command import CommandOperator
from pipelines.core.results import StepResult

if TYPE_CHECKING:
    from airflow.sdk import Context


class WatchOperator(CommandOperator):
    """Runs `watch`. The task succeeds whatever it found; its note says what moved."""

    RESULT = StepResult
    ui_color = "#f7f0e0"

    def words(self, context: Context) -> list[str]:
        return ["watch", f"--run-id={context['dag_run'].run_id}"]


class FeatureSyncOperator(CommandOperator):
    """Runs `features-sync`. The task succeeds whatever it found; its note says what was wrong."""

    RESULT = StepResult
    ui_color = "#e0f0e7"

    def words(self, context: Context) -> list[str]:
        return ["features-sync"]
