"""What the page is made from, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.core.alerts import Delivery, Silence
from pipelines.stores.journal.comparison import Outcome

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """All that was read for one view of the page. Rows are those of the ledger's tables, oldest first."""

    now: datetime
    name: str  # of the registered model
    stages: Sequence[tuple[str, float]]  # name, share of people
    decisions: Sequence[Row] = ()
    promotions: Sequence[Row] = ()
    held_move: str = ""  # which gateways the newest promotion waits for
    deliveries: Sequence[Delivery] = ()
    rulings: Sequence[Row] = ()
    watches: Sequence[Row] = ()
    silences: Sequence[Silence] = ()  # in force
    alert_expires_s: float = 86_400
    sample_night: str = ""  # the next one, where the sample is read
    outcomes: Sequence[Outcome] = ()
    analysis: Row | None = None  # the last one of the rollout under way
    approvals: Sequence[Row] = ()
    running: Sequence[Row] = ()
    failed: Sequence[Row] = ()  # runs that failed lately, newest first
    states: Mapping[tuple[str, str], str] = field(default_factory=dict)  # of the runs that rulings started
    watch_schedule: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)  # a night's run id -> Airflow's run id
    allowed: frozenset[str] = frozenset()  # DAGs that this person may start
    paused: frozenset[str] = frozenset()
    root: str = ""  # Airflow's path prefix
    mlflow: str = ""  # address of its pages
