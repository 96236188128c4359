"""What each step of a run used and what that costs."""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa

from pipelines.stores.ledger.tables import COSTS


def costs_of(run_id: str) -> sa.Select[Any]:
    """The rows of one run, one a step."""
    return sa.select(COSTS).where(COSTS.c.run_id == run_id)


def cpu_seconds_of(first: date, last: date) -> sa.Select[Any]:
    """CPU seconds of the steps of all nights from `first` to `last`, both included, as one number."""
    nights = COSTS.c.night.between(first.isoformat(), last.isoformat())
    return sa.select(sa.func.coalesce(sa.func.sum(COSTS.c.cpu_seconds), 0.0).label("cpu_seconds")).where(
        nights
    )
