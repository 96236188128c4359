"""The reaper of pods: a trigger that looks all the time, and a task that writes down what it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetWatcher, BaseOperator
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nightshift.operators.command import ANSWER, Followed
from nightshift.settings import Settings
from pipelines.core.config import Pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from nightshift.launchers.pods.document import Owner

OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}


class LeftoverTrigger(BaseEventTrigger):
    """Ends pods whose task is over, and sends an event for each.

    It compares what runs with what Airflow wants, every `reaper_poll_s` seconds. So it does not matter what
    was missed: a person's click before a pod was watched, a worker that died, a request that failed.
    """

    def __init__(self, *, pods: dict[str, Any], instance: str) -> None:
        super().__init__()
        self.pods, self.instance = Pods.model_validate(pods), instance

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kept = {"pods": self.pods.model_dump(mode="json"), "instance": self.instance}
        return "nightshift.operators.reaper.LeftoverTrigger", kept

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        from nightshift.launchers.pods.reaper import reap  # the provider takes a second to import

        while True:
            try:
                ended = reap(self.pods, self.instance, partial(_is_over, RuntimeTaskInstance.get_task_states))
                while sentence := await asyncio.to_thread(next, ended, None):
                    self.log.info("ended pod %s", sentence)
                    yield TriggerEvent({"ended": sentence})
            except (ApiException, HTTPError, AirflowRuntimeError) as error:
                self.log.warning("Pods that may be left over cannot be looked for now: %s", error)
            await asyncio.sleep(self.pods.reaper_poll_s)


def leftover_asset(settings: Settings) -> Asset:
    """The asset that is updated when a pod was left over and was ended."""
    from nightshift.launchers.pods.document import instance

    config = settings.config
    trigger = LeftoverTrigger(pods=config.pods.model_dump(mode="json"), instance=instance(config))
    watcher = AssetWatcher(name="nightshift_leftover_pods", trigger=trigger)
    return Asset("nightshift_leftover_pods", uri="nightshift://leftover-pods", watchers=[watcher])


class ReapOperator(Followed, BaseOperator):
    """Notes which pods the trigger ended. Started by hand, it looks for some itself."""

    ui_color = "#eeeeee"

    def __init__(self, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings

    def execute(self, context: Context) -> None:
        from nightshift.launchers.pods.document import instance
        from nightshift.launchers.pods.reaper import reap

        config, states = self.settings.config, context["ti"].get_task_states
        told = [event.extra for events in context["triggering_asset_events"].values() for event in events]
        ended = [extra["payload"]["ended"] for extra in told if extra.get("payload")]
        ended += reap(config.pods, instance(config), partial(_is_over, states))
        headline = f"{len(ended)} pods were ended" if ended else "no pod was left over"
        context["ti"].xcom_push(ANSWER, {"headline": headline, "reasons": ended})


def _is_over(states_of: Callable[..., dict[str, Any]], owner: Owner) -> bool:
    """Whether Airflow has finished with the task that a pod works for, or no longer knows it."""
    states = states_of(
        dag_id=owner.dag_id,
        task_ids=[owner.task_id],
        run_ids=[owner.run_id],
        map_index=owner.map_index if owner.map_index >= 0 else None,
    )
    found = states.get(owner.run_id, {})
    return not found or next(iter(found.values())) in OVER
