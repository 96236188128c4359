"""The trace that a run belongs to, as a W3C traceparent: one trace from alert to gateway."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pipelines.core.contract import CLOSING

if TYPE_CHECKING:
    from airflow.sdk import Context

TRACEPARENT = "traceparent"  # in a run's conf, and as an XCom of the task that ends a night
_W3C = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(context: Context) -> str:
    """What the run was given, or what the night that woke it was given, or one made from the run's name.

    A made one is the same for all tasks of the run, so their spans lie in one trace.
    """
    run = context["dag_run"]
    given = (run.conf or {}).get(TRACEPARENT) or _of_the_night(context)
    if isinstance(given, str) and _W3C.fullmatch(given):
        return given
    made = hashlib.sha256(f"{run.dag_id}|{run.run_id}".encode()).hexdigest()
    return f"00-{made[:32]}-{made[32:48]}-01"


def _of_the_night(context: Context) -> str | None:
    """The trace of the run whose event woke this one."""
    for events in context["triggering_asset_events"].values():
        for event in events:
            if event.source_run_id:
                place = {
                    "dag_id": event.source_dag_id,
                    "run_id": event.source_run_id,
                    "task_ids": CLOSING[-1],
                }
                return context["ti"].xcom_pull(**place, key=TRACEPARENT)
    return None
