"""The reaper of pods as an Airflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from nightshift.operators.command import ANSWER, Followed
from nightshift.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift.launchers.pods.document import Owner

OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}


class ReapOperator(Followed, BaseOperator):
    """Ends pods whose task is over, or no longer known. Its note says which."""

    ui_color = "#eeeeee"

    def __init__(self, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings

    def execute(self, context: Context) -> None:
        from nightshift.launchers.pods.reaper import reap  # the provider takes a second to import

        ended = reap(self.settings, lambda owner: _is_over(context, owner), self.log)
        headline = f"{len(ended)} pods were ended" if ended else "no pod was left over"
        context["ti"].xcom_push(ANSWER, {"headline": headline, "reasons": ended})


def _is_over(context: Context, owner: Owner) -> bool:
    """Whether Airflow has finished with the task that a pod works for, or no longer knows it."""
    states = context["ti"].get_task_states(
        dag_id=owner.dag_id,
        task_ids=[owner.task_id],
        run_ids=[owner.run_id],
        map_index=owner.map_index if owner.map_index >= 0 else None,
    )
    found = states.get(owner.run_id, {})
    return not found or next(iter(found.values())) in OVER
