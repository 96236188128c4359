"""Telling people: a file, a Slack-compatible webhook, e-mail, as the section `[notify]` says.

Standard library only: one module, one section of settings, for all who tell something (tasks, deadline
callbacks, the DAG processor). Airflow's SMTP notifier would want a connection of its own in Airflow's
database, its Slack provider two more packages for what is one POST.

What is told holds no user's text: reasons of decisions, which stand in the ledger for good, and never a
fault's last words, which may quote anything. Those stay behind the link.
"""

from __future__ import annotations

import html
import json
import logging
import shlex
import smtplib
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.params import Plan, plan
from nightshift.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

NIGHTLY_DAG = "nightly_retrain"
TROUBLE = (OSError, HTTPException, ValueError)  # what a channel raises; smtplib's errors are OSErrors
log = logging.getLogger("nightshift.notify")


def notify(settings: Settings, subject: str, text: str, link: str = "") -> list[str]:
    """Tell whoever is configured; returns the channels that took it, of `file`, `webhook`, `email`.

    Never raises for a channel that fails: that is logged, and the others are still tried. Each channel gives
    up when its peer keeps silent for `notify.timeout_s`.
    """
    rules, told = settings.config.notify, []
    channels = {
        "file": (bool(rules.file), _to_file),
        "webhook": (bool(rules.webhook_url_file), _to_webhook),
        "email": (bool(rules.email_to), _to_email),
    }
    log.warning("%s: %s", subject, text)
    for name, (wanted, tell) in channels.items():
        try:
            if wanted:
                tell(settings, subject, text, link)
                told.append(name)
        except TROUBLE as error:
            log.error("not told by %s: %s: %s", name, type(error).__name__, error)
    return told


def tell_held(settings: Settings, context: Context, run: Plan, reasons: Sequence[str]) -> None:
    """A night waits for a person. It is decided, so another attempt is a run of its own."""
    text = (
        f"{'; '.join(reasons)}\nOnce that is mended, run the night again: "
        f"{nights(settings, run.night, run.night, run.attempt + 1)}"
    )
    notify(settings, f"Night {run.night} was held", text, run_link(context["dag_run"]))


def tell_missed(settings: Settings, context: Context, run: Plan) -> None:
    """Once, from the first scheduled night after a gap: which nights never ran, and how to catch up."""
    from pipelines.stores import open_ledger

    ledger = open_ledger(settings.config)
    decided = [decision.night for decision in ledger.decisions(before=run.night)]
    if context["dag_run"].run_type != "scheduled" or not decided:
        return
    gap = missed(settings.config.schedule, max(decided), run.night)
    if gap:
        first, last = gap[0], gap[-1]
        text = (
            f"{len(gap)} nights between {max(decided)} and {run.night} never ran, so nothing was learned "
            f"from them. To catch up: {nights(settings, first, last)}"
        )
        subject = f"Missed: night {first}" + (f" to {last}" if last > first else "")
        notify(settings, subject, text, run_link(context["dag_run"]))


def tell_failed(context: Context) -> None:
    """A DAG's `on_failure_callback`; run by the DAG processor, which may know the run's name only."""
    settings, run, failed = Settings.from_environment(), context.get("dag_run"), context.get("ti")
    dag_id, link = context["dag"].dag_id, _link(context["dag"].dag_id, context["run_id"])
    what = f"{dag_id} failed" + (f" at {failed.task_id}" if failed else "")
    if dag_id != NIGHTLY_DAG or run is None:
        notify(settings, what, "The run's note says why and what to do next.", link)
        return
    night = _planned(run.conf, run.run_after).night
    text = (
        "The run's note says why. Once that is mended, clear the failed task, or run the night by hand: "
        f"{nights(settings, night, night)}"
    )
    notify(settings, f"Night {night}: {what}", text, link)


def tell_late(context: Mapping[str, Any]) -> None:
    """A deadline's callback; Airflow hands it the run as plain data."""
    settings, run = Settings.from_environment(), context["dag_run"]
    due = str(context["deadline"]["deadline_time"])[:16].replace("T", " ")
    link = _link(run["dag_id"], run["dag_run_id"])
    if run["dag_id"] != NIGHTLY_DAG:
        text = f"It should have ended by {due} UTC. See which task waits, and for whom."
        notify(settings, f"{run['dag_id']} is late", text, link)
        return
    night = _planned(run["conf"], datetime.fromisoformat(run["run_after"])).night
    text = (
        f"It should have ended by {due} UTC, and the nights after it wait. See which task runs or waits; if "
        f"the run has to be given up, mark it as failed, then: {nights(settings, night, night)}"
    )
    notify(settings, f"Night {night} is late", text, link)


def missed(cron: str, after: date, tonight: date) -> list[date]:
    """The nights between two decided ones, neither included, that the schedule would have run."""
    from airflow.sdk import timezone
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    if not cron:
        return []
    ticks, found = CronTriggerTimetable(cron, timezone="UTC"), []
    start = datetime.combine(
        after + timedelta(days=2), datetime.min.time(), UTC
    )  # a night's run is a day later
    while True:
        restriction = TimeRestriction(earliest=timezone.coerce_datetime(start), latest=None, catchup=True)
        tick = ticks.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
        night = tick.run_after.date() - timedelta(days=1) if tick else tonight
        if night >= tonight:
            return found
        found.append(date(night.year, night.month, night.day))
        start = datetime.combine(night + timedelta(days=2), datetime.min.time(), UTC)


def nights(settings: Settings, first: date, last: date, attempt: int = 1) -> str:
    """The command that runs these nights by hand."""
    where = f"--home {shlex.quote(str(settings.home))} --config {shlex.quote(str(settings.config_path))}"
    again = f" --attempt {attempt}" if attempt > 1 else ""
    return f"{settings.python} -m pipelines nights --from {first} --to {last}{again} {where}"


def run_link(run: Any) -> str:
    """The run's page in Airflow's UI."""
    return _link(run.dag_id, run.run_id)


def _link(dag_id: str, run_id: str) -> str:
    from airflow.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='')}/dags/{dag_id}/runs/{run_id}"


def _planned(conf: Mapping[str, Any] | None, run_after: datetime) -> Plan:
    return plan(conf or {}, run_after)


def _to_file(settings: Settings, subject: str, text: str, link: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = Path(settings.config.path(settings.config.notify.file))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": now, "subject": subject, "text": text, "link": link}) + "\n")


def _to_webhook(settings: Settings, subject: str, text: str, link: str) -> None:
    rules = settings.config.notify
    url = Path(settings.config.path(rules.webhook_url_file)).read_text(encoding="utf-8").strip()
    said = html.escape("\n".join(filter(None, (subject, text, link))), quote=False)  # as Slack wants it
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"text": said}).encode(), headers)
    urllib.request.urlopen(request, timeout=rules.timeout_s).close()


def _to_email(settings: Settings, subject: str, text: str, link: str) -> None:
    rules = settings.config.notify
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, rules.email_from, ", ".join(rules.email_to)
    message.set_content("\n\n".join(filter(None, (text, link))) + "\n")
    context = ssl.create_default_context()
    peer: dict[str, Any] = {"host": rules.smtp_host, "port": rules.smtp_port, "timeout": rules.timeout_s}
    with (
        smtplib.SMTP_SSL(**peer, context=context)
        if rules.smtp_tls == "tls"
        else smtplib.SMTP(**peer) as server
    ):
        if rules.smtp_tls == "starttls":
            server.starttls(context=context)
        if rules.smtp_user:
            password = (
                Path(settings.config.path(rules.smtp_password_file)).read_text(encoding="utf-8").strip()
            )
            server.login(rules.smtp_user, password)
        server.send_message(message)
