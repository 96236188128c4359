"""Alert routing under Airflow: what wakes it, and the task that rules and says what to start."""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetWatcher
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nightshift.notify import notify, run_link
from nightshift.operators.command import FAULT, USER_ERROR, StepOperator, sentence
from nightshift.settings import Settings
from pipelines.core.results import RoutingResult

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.stores.inbox import Inbox

AGAIN_S = 30.0  # an event that started no routing is sent again


class InboxTrigger(BaseEventTrigger):
    """Wakes the router when deliveries wait, and every `recheck_s` while one may still fire.

    An event says only "look": what waits is read from the ledger. So an event too many does nothing, and one
    that was lost is sent again while the same deliveries wait.
    """

    def __init__(self, *, ledger_url: str, poll_s: float, recheck_s: float, expires_s: float) -> None:
        super().__init__()
        self.ledger_url, self.expires_s = ledger_url, expires_s
        self.poll_s, self.recheck_s = poll_s, recheck_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("ledger_url", "poll_s", "recheck_s", "expires_s")
        return "nightshift.operators.alerts.InboxTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from sqlalchemy.exc import OperationalError

        inbox: Inbox | None = None
        told, told_at, head, waiting, newest = "", -math.inf, "", 0, ""
        while True:
            try:
                inbox = inbox or await asyncio.to_thread(self._open)
                head, waiting, newest = await asyncio.to_thread(self._look, inbox, head, waiting)
            except OperationalError as error:
                self.log.warning("The ledger cannot be read now: %s", error.orig)
            since = time.monotonic() - told_at
            if waiting and (newest != told or since > AGAIN_S):
                told, told_at = newest, time.monotonic()
                yield TriggerEvent({"waiting": waiting})
            elif newest and since > self.recheck_s:
                told_at = time.monotonic()
                yield TriggerEvent({"waiting": 0})
            await asyncio.sleep(self.poll_s)

    def _open(self) -> Inbox:
        from pipelines.stores.inbox import Inbox
        from pipelines.stores.ledger import Ledger

        return Inbox(Ledger(self.ledger_url))

    def _look(self, inbox: Inbox, head: str, waiting: int) -> tuple[str, int, str]:
        """The ledger's head, how many deliveries wait, and the newest delivery that may still fire.

        `head` and `waiting` are what the look before found: while the head stays, so does what waits.
        """
        now = inbox.head()
        return now, waiting if now == head else inbox.waiting(), inbox.newest(self.expires_s)


def inbox_asset(settings: Settings) -> Asset:
    """The asset that the watcher updates when alerts wait."""
    rules = settings.config.alerts
    trigger = InboxTrigger(
        ledger_url=settings.config.path(settings.config.ledger_url),
        poll_s=rules.poll_s,
        recheck_s=rules.recheck_s,
        expires_s=rules.expires_s,
    )
    watcher = AssetWatcher(name="nightshift_inbox", trigger=trigger)
    return Asset("nightshift_inbox", uri="nightshift://inbox", watchers=[watcher])


class RouteOperator(StepOperator):
    """Runs `python -m pipelines alerts-route`; returns the runs to start, as arguments of their operators.

    People are told before the task succeeds: a routing that broke off tells them when it is tried again.
    """

    ui_color = "#f6ecd9"

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            file = Path(folder) / "result.json"
            where = ["--home", str(self.settings.home), "--config", str(self.settings.config_path)]
            command = [str(self.settings.python), "-m", "pipelines", "alerts-route", *where]
            status, last = self._run([*command, "--result", str(file)])
            if status or not file.exists():
                fault = sentence("alerts-route", status, last)
                context["ti"].xcom_push(FAULT, fault)
                raise AirflowFailException(fault) if status == USER_ERROR else AirflowException(fault)
            result = RoutingResult.model_validate_json(file.read_bytes())
        for notice in result.tell:
            notify(self.settings, notice.subject, notice.text, run_link(context["dag_run"]))
        return [
            {"trigger_dag_id": run.dag_id, "trigger_run_id": run.dag_run_id, "conf": run.conf}
            for run in result.start
        ]
