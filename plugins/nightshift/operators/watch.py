"""The hourly look at live traffic as an Airflow task."""

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
