"""A task of a night in pod mode, without Airflow's servers: its turns, and its trigger at work."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from airflow.triggers.base import BaseTrigger
from nightshift.launchers.pods.trigger import CommandPodTrigger
from nightshift.operators.step import StepOperator
from nightshift.settings import Settings

POLL_S = 0.1


class Store(dict[str, Any]):
    """Airflow's task state store: it outlives a try."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class Killed(BaseException):
    """A worker dies. No code of ours catches it."""


@contextmanager
def dying(owner: type, name: str) -> Iterator[None]:
    """The worker dies when it comes to call this; leaves once it has."""
    with mock.patch.object(owner, name, side_effect=Killed):
        try:
            yield
        except Killed:
            return
    raise AssertionError(f"no worker came to {owner.__name__}.{name}")


class PodTask:
    """One task. What it pushes and stores is kept here; `retries` counts the tries that failed."""

    def __init__(self, settings: Settings, step: str, night: date) -> None:
        self.step, self.night, self.run = step, night, f"night-{night}"
        self.pushed: dict[str, Any] = {}
        self.store, self.retries = Store(), 0
        with DAG("nightly_retrain"):
            self.operator = StepOperator(task_id=step, settings=settings)

    @property
    def pod(self) -> str:
        return str(self.store["nightshift_pod"]["name"])

    def context(self) -> Any:
        dag_id, run_id = "nightly_retrain", self.run
        ti = SimpleNamespace(
            dag_id=dag_id, task_id=self.step, map_index=-1, try_number=1,
            xcom_push=self.pushed.__setitem__, xcom_pull=lambda **_: None,
        )  # fmt: skip
        after = datetime.combine(self.night, time(), UTC) + timedelta(days=1)
        run = SimpleNamespace(dag_id=dag_id, run_id=run_id, conf=None, run_after=after)
        return {
            "ti": ti, "dag_run": run, "run_id": run_id, "dag": self.operator.dag, "params": {},
            "triggering_asset_events": {}, "task_state_store": self.store,
        }  # fmt: skip

    def turn(self, event: dict[str, Any] | None = None) -> CommandPodTrigger | None:
        """Let a worker have the task until it ends or gives it back; its trigger, or None at the end."""
        try:
            if event is None:
                self.operator.execute(self.context())
            else:
                self.operator.resume(self.context(), json.loads(json.dumps(event)))
        except TaskDeferred as deferred:
            return copied(deferred.trigger)
        return None

    def finish(self, trigger: CommandPodTrigger | None, event: dict[str, Any] | None = None) -> None:
        """Triggers and turns, until the task ends. A failed try is followed by another one, as in Airflow."""
        while True:
            if trigger:
                event = Watch(trigger).event()
            try:
                trigger = self.turn(event)
            except AirflowException:
                self.retries, trigger = self.retries + 1, None
                assert self.retries < 3, self.pushed
            else:
                if trigger is None:
                    return
            event = None


def copied(trigger: BaseTrigger) -> CommandPodTrigger:
    """The trigger as a triggerer gets it, in a hurry."""
    _, kept = trigger.serialize()
    new = CommandPodTrigger(**json.loads(json.dumps(kept)))
    new.poll_interval = POLL_S
    return new


class Watch:
    """A trigger at work, in a thread of its own."""

    def __init__(self, trigger: CommandPodTrigger) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._first = asyncio.run_coroutine_threadsafe(_first(trigger), self._loop)

    def event(self) -> dict[str, Any]:
        """What it sends."""
        try:
            return self._first.result(60)
        finally:
            self.end()

    def end(self) -> None:
        """As when its triggerer dies: nobody tells it to end its pod."""
        self._first.cancel()
        asyncio.run_coroutine_threadsafe(_others_over(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _first(trigger: CommandPodTrigger) -> dict[str, Any]:
    return (await anext(aiter(trigger.run()))).payload


async def _others_over() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
