"""A person's approval of a rollout, as an Airflow task."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.standard.operators.hitl import ApprovalOperator

from nightshift.operators.command import ANSWER, Followed, answer_of
from nightshift.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

SHADOW, APPROVE, SECOND = "shadow", "approve", "approve_second"  # task ids


class Approval(Followed, ApprovalOperator):
    """Asks a person. The XCom `answer` holds who answered and what, also when the answer is no.

    With `other_than`, the task id of a first approval, a second answer by the same person is a refusal.
    """

    def __init__(self, *, other_than: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.other_than = other_than

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        person = (event.get("responded_by_user") or {}).get("name", "")
        chosen = event.get("chosen_options")
        if self.other_than and person == (approval_of(context, self.other_than) or {}).get("person"):
            self.log.warning("%s gave the first approval too, so this answer is a refusal.", person)
            chosen = [self.REJECT]
        context["ti"].xcom_push(ANSWER, {"person": person, "approved": chosen == [self.APPROVE]})
        return super().execute_complete(context, {**event, "chosen_options": chosen})


def approval(task_id: str, settings: Settings, other_than: str = "") -> Approval:
    """A question to a person, bound to the candidate's digest. No answer in time is a refusal."""
    begun = f"ti.xcom_pull(task_ids='{SHADOW}', key='{ANSWER}')"
    analysis = f"judge_{settings.config.promote.stages[0].name}"
    analysed = f"ti.xcom_pull(task_ids='{analysis}', key='{ANSWER}')"
    night = f"{{{{ {begun}['evidence']['night'] }}}}"
    # The plugin serves the report: browsers block file:// links.
    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return Approval(
        task_id=task_id,
        other_than=other_than,
        subject=f"Let version {{{{ {begun}['version'] }}}} answer its first users?",
        body=(
            f"Adapter version **{{{{ {begun}['version'] }}}}**, digest `{{{{ {begun}['digest'] }}}}`. "
            "Your approval holds for this digest only.\n\n"
            f"[Report of its night, {night}]({prefix}/model-loop/runs/{night}/report/report.html) "
            f"(file `{{{{ {begun}['evidence']['report'] }}}}`)\n\n"
            f"What the shadow stage showed: {{{{ {analysed}['reasons'] | join('; ') }}}}"
        ),
        defaults=Approval.REJECT,
        response_timeout=timedelta(seconds=settings.config.promote.approval_timeout_s),
        execution_timeout=None,
    )


def approvers(context: Context) -> list[str]:
    """The people who answered the approvals of this run."""
    answers = (approval_of(context, task_id) for task_id in (APPROVE, SECOND))
    return [answer["person"] for answer in answers if answer]


def approval_of(context: Context, task_id: str) -> dict[str, Any] | None:
    """The answer to an approval; None where the DAG has no such task, or nobody answered yet."""
    dag = context["task"].dag
    return answer_of(context, task_id) if dag and task_id in dag.task_ids else None
