"""What each step of a run used and what that costs."""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa

from pipelines.core.config import Cost
from pipelines.core.contract import Usage
from pipelines.stores.ledger.tables import COSTS

CPU, GPU = COSTS.c.cpu_seconds, COSTS.c.gpu_seconds


def cost_row(run_id: str, night: date, step: str, usage: Usage, prices: Cost) -> dict[str, Any]:
    """The row of what a step used, at these prices."""
    amount = usage.cpu_seconds / 3600 * prices.cpu_hour + usage.gpu_seconds / 3600 * prices.gpu_hour
    return {
        "run_id": run_id,
        "step": step,
        "night": night.isoformat(),
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "gpu_seconds": usage.gpu_seconds,
        "amount": round(amount, 6),
        "currency": prices.currency,
    }


def costs_of(run_id: str) -> sa.Select[Any]:
    """The rows of one run, one a step."""
    return sa.select(COSTS).where(COSTS.c.run_id == run_id)


def seconds_of(first: date, last: date) -> sa.Select[Any]:
    """CPU and GPU seconds of the steps of all nights from `first` to `last`, both included, as one row."""
    sums = [sa.func.coalesce(sa.func.sum(column), 0.0).label(column.name) for column in (CPU, GPU)]
    # Not BETWEEN: PostgreSQL takes no COLLATE in it, and the column's type brings one along.
    return sa.select(*sums).where(COSTS.c.night >= first.isoformat(), COSTS.c.night <= last.isoformat())
