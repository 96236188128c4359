"""What people are told about runs: held, missed, failed, late. `channels` sends it.

A notice gives the reasons of a decision, which are in the ledger, and never the last words of a fault: those
may quote a user's text. They stay behind the link.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nightshift.channels import notify
from nightshift.params import Plan, plan
from nightshift.settings import Settings
from pipelines.stores import open_ledger

if TYPE_CHECKING:
    from airflow.sdk import Context

NIGHTLY_DAG = "nightly_retrain"


def tell_held(settings: Settings, context: Context, run: Plan, reasons: Sequence[str]) -> None:
    """A night waits for a person. It is decided for good, so the command starts another attempt."""
    text = (
        f"{'; '.join(reasons)}\nWhen that is fixed, run the night again: "
        f"{nights(settings, run.night, run.night, run.attempt + 1)}"
    )
    notify(settings, f"Night {run.night} was held", text, run_link(context["dag_run"]))


def tell_missed(settings: Settings, context: Context, run: Plan) -> None:
    """Which nights never ran, told once: by the first scheduled night after the gap."""
    decided = [decision.night for decision in open_ledger(settings.config).decisions(before=run.night)]
    if context["dag_run"].run_type != "scheduled" or not decided:
        return
    gap = missed(settings.config.schedule, max(decided), run.night)
    if gap:
        first, last = gap[0], gap[-1]
        text = (
            f"{len(gap)} nights between {max(decided)} and {run.night} never ran, so the model did not learn "
            f"from them. To catch up: {nights(settings, first, last)}"
        )
        subject = f"Missed: night {first}" + (f" to {last}" if last > first else "")
        notify(settings, subject, text, run_link(context["dag_run"]))


def tell_failed(context: Context) -> None:
    """A DAG's `on_failure_callback`. The DAG processor calls it, at times with the run's name only."""
    settings, run, failed = Settings.from_environment(), context.get("dag_run"), context.get("ti")
    dag_id, link = context["dag"].dag_id, _link(context["dag"].dag_id, context["run_id"])
    what = f"{dag_id} failed" + (f" at {failed.task_id}" if failed else "")
    if dag_id != NIGHTLY_DAG or run is None:
        notify(settings, what, "The run's note says why and what to do.", link)
        return
    night = _night(settings, run.conf, run.run_after)
    text = (
        "The run's note says why. When that is fixed, clear the failed task, or run the night by hand: "
        f"{nights(settings, night, night)}"
    )
    notify(settings, f"Night {night}: {what}", text, link)


def tell_late(context: Mapping[str, Any]) -> None:
    """The callback of a DAG's deadline. Airflow passes the run as plain data."""
    settings, run = Settings.from_environment(), context["dag_run"]
    due = str(context["deadline"]["deadline_time"])[:16].replace("T", " ")
    link = _link(run["dag_id"], run["dag_run_id"])
    if run["dag_id"] != NIGHTLY_DAG:
        text = f"It was due by {due} UTC. The run's page shows which task it waits for."
        notify(settings, f"{run['dag_id']} is late", text, link)
        return
    night = _night(settings, run["conf"], datetime.fromisoformat(run["run_after"]))
    text = (
        f"It was due by {due} UTC, and later nights wait for it. The run's page shows which task runs or "
        "waits. To give the run up, mark it as failed, then run the night by hand: "
        f"{nights(settings, night, night)}"
    )
    notify(settings, f"Night {night} is late", text, link)


def missed(cron: str, after: date, tonight: date) -> list[date]:
    """The nights strictly between two decided ones that the schedule would have run."""
    from airflow.sdk import timezone
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    found: list[date] = []
    if not cron:
        return found
    ticks, last = CronTriggerTimetable(cron, timezone="UTC"), after
    while True:
        # A night's run is on the next day, so the next one to look for is two days later.
        start = datetime.combine(last + timedelta(days=2), datetime.min.time(), UTC)
        restriction = TimeRestriction(earliest=timezone.coerce_datetime(start), latest=None, catchup=True)
        tick = ticks.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
        last = tick.run_after.date() - timedelta(days=1) if tick else tonight
        if last >= tonight:
            return found
        found.append(date(last.year, last.month, last.day))


def nights(settings: Settings, first: date, last: date, attempt: int = 1) -> str:
    """The command that runs these nights by hand."""
    where = f"--home {shlex.quote(str(settings.home))} --config {shlex.quote(str(settings.config_path))}"
    again = f" --attempt {attempt}" if attempt > 1 else ""
    program = shlex.quote(f"{settings.python.parent}/nightshift")
    return f"{program} nights --from {first} --to {last}{again} {where}"


def run_link(run: Any) -> str:
    """The run's page in Airflow's UI."""
    return _link(run.dag_id, run.run_id)


def _link(dag_id: str, run_id: str) -> str:
    from airflow.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='')}/dags/{dag_id}/runs/{run_id}"


def _night(settings: Settings, conf: Mapping[str, Any] | None, run_after: datetime) -> date:
    return plan(conf or {}, run_after, settings.config.ingest.zone).night
