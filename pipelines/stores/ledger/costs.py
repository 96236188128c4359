"""What each step of a run used and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from pipelines.core.config import Cost
from pipelines.core.contract import Manifest, Usage
from pipelines.core.facts.reading import as_json, readable_parts
from pipelines.core.facts.record import PricedInterruptions
from pipelines.core.facts.train import DoneAgain, TrainReadings
from pipelines.stores.ledger.tables import COSTS

CPU, GPU = COSTS.c.cpu_seconds, COSTS.c.gpu_seconds


def cost_row(run_id: str, night: date, step: str, usage: Usage, prices: Cost) -> dict[str, Any]:
    """The row of what a step used, at these prices."""
    return {
        "run_id": run_id,
        "step": step,
        "night": night.isoformat(),
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "gpu_seconds": usage.gpu_seconds,
        "amount": round(amount_of(usage, prices), 6),
        "currency": prices.currency,
    }


def amount_of(used: Usage | DoneAgain, prices: Cost) -> float:
    """What was used, in the currency of the prices."""
    return used.cpu_seconds / 3600 * prices.cpu_hour + used.gpu_seconds / 3600 * prices.gpu_hour


def priced_interruptions(manifests: Mapping[str, Manifest], prices: Cost) -> PricedInterruptions | None:
    """How often a night's training was interrupted, and what that cost; None where it ran through."""
    trained = manifests.get("train")
    found = readable_parts(trained.readings, TrainReadings)[0].interruptions if trained else None
    if found is None:
        return None
    amount = round(amount_of(found, prices), 6)
    return PricedInterruptions(**as_json(found), amount=amount, currency=prices.currency)


def costs_of(run_id: str) -> sa.Select[Any]:
    """The rows of one run, one a step."""
    return sa.select(COSTS).where(COSTS.c.run_id == run_id)


def seconds_of(first: date, last: date) -> sa.Select[Any]:
    """CPU and GPU seconds of the steps of all nights from `first` to `last`, both included, as one row."""
    sums = [sa.func.coalesce(sa.func.sum(column), 0.0).label(column.name) for column in (CPU, GPU)]
    # Not BETWEEN: PostgreSQL takes no COLLATE in it, and the column's type brings one along.
    return sa.select(*sums).where(COSTS.c.night >= first.isoformat(), COSTS.c.night <= last.isoformat())
