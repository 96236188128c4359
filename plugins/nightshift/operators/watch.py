"""The hourly look at live traffic as an Airflow task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.operators.command import StepOperator
from nightshift.params import Plan

if TYPE_CHECKING:
    from airflow.sdk import Context


class WatchOperator(StepOperator):
    """Runs `python -m pipelines watch`. An alarm is an answer: the note says what moved."""

    ui_color = "#f7f0e0"
    run_id = ""

    def execute(self, context: Context) -> None:
        self.run_id = context["dag_run"].run_id
        self.answer(context)

    def command(self, run: Plan, result_file: Path) -> list[str]:
        python = [str(self.settings.python), "-m", "pipelines", self.step]
        where = [f"--home={self.settings.home}", f"--config={self.settings.config_path}"]
        return [*python, *where, f"--run-id={self.run_id}", f"--result={result_file}"]
