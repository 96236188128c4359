"""Alert routing under Airflow: the trigger that starts it when alerts wait, and its task."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nightshift.channels import notify
from nightshift.notify import run_link
from nightshift.operators.command import CommandOperator
from nightshift.settings import Settings
from pipelines.core.config import Config
from pipelines.core.errors import UnavailableError
from pipelines.core.results import RoutingResult
from pipelines.stores import open_inbox

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.stores.inbox import Inbox

AGAIN_S = 30.0  # an event that started no routing is sent again


class InboxTrigger(BaseEventTrigger):
    """Starts the router when deliveries wait, and every `recheck_s` seconds while an alert may still fire.

    An event carries no alert: the router reads the ledger. A repeated event therefore does nothing, and a
    lost one is sent again while the same deliveries wait.
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
                if inbox is None:
                    inbox = await asyncio.to_thread(self._open)
                head, waiting, newest = await asyncio.to_thread(self._look, inbox, head, waiting)
            except (OperationalError, UnavailableError) as error:
                self.log.warning("The ledger cannot be read now: %s", error)
            since = time.monotonic() - told_at
            if waiting and (newest != told or since > AGAIN_S):
                told, told_at = newest, time.monotonic()
                yield TriggerEvent({"waiting": waiting})
            elif newest and since > self.recheck_s:
                told_at = time.monotonic()
                yield TriggerEvent({"waiting": 0})
            await asyncio.sleep(self.poll_s)

    def _open(self) -> Inbox:
        return open_inbox(Config(profile="trigger", ledger_url=self.ledger_url))

    def _look(self, inbox: Inbox, head: str, waiting: int) -> tuple[str, int, str]:
        """The ledger's head, how many deliveries wait, and the newest delivery that may still fire.

        `head` and `waiting` are those of the last look. While the head is the same, so is the count.
        """
        now = inbox.head()
        return now, waiting if now == head else inbox.waiting(), inbox.newest(self.expires_s)


def inbox_asset(settings: Settings) -> Asset:
    """The asset that is updated when alerts wait."""
    rules = settings.config.alerts
    trigger = InboxTrigger(
        ledger_url=settings.config.path(settings.config.ledger_url),
        poll_s=rules.poll_s,
        recheck_s=rules.recheck_s,
        expires_s=rules.expires_s,
    )
    watcher = AssetWatcher(name="nightshift_inbox", trigger=trigger)
    return Asset("nightshift_inbox", uri="nightshift://inbox", watchers=[watcher])


class RouteOperator(CommandOperator):
    """Runs `alerts-route`. Returns the DAG runs to start, as arguments of a TriggerDagRunOperator each.

    People are told before the task succeeds, so a routing that was interrupted tells them when it is retried.
    """

    RESULT = RoutingResult
    ui_color = "#f6ecd9"

    def words(self, context: Context) -> list[str]:
        return ["alerts-route"]

    def act(self, context: Context, result: RoutingResult) -> list[dict[str, Any]]:
        for notice in result.tell:
            notify(self.settings, notice.subject, notice.text, run_link(context["dag_run"]))
        return [
            {"trigger_dag_id": run.dag_id, "trigger_run_id": run.dag_run_id, "conf": run.conf}
            for run in result.start
        ]
