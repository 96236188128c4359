"""The trace that a run belongs to, as a W3C traceparent: one trace from alert to gateway."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pipelines.core.contract import CLOSING

if TYPE_CHECKING:
    from airflow.sdk import Context

TRACEPARENT = "traceparent"  # in a run's conf, and as an XCom of the task that ends a night
# Version 00; neither id may be all zeros (W3C Trace Context, section 3.2).
W3C = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(context: Context) -> str:
    """The traceparent in the run's conf, or that of the night that started it, or one made from the run's id.

    All tasks of a run get the same one, so their spans are in one trace.
    """
    run = context["dag_run"]
    given = (run.conf or {}).get(TRACEPARENT) or _of_the_night(context)
    if isinstance(given, str) and W3C.fullmatch(given):
        return given
    made = hashlib.sha256(f"{run.dag_id}|{run.run_id}".encode()).hexdigest()
    return f"00-{made[:32]}-{made[32:48]}-01"


def _of_the_night(context: Context) -> str | None:
    """The traceparent of the run whose asset event started this one."""
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
