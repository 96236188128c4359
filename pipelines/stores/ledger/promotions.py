"""Who answers users: one row a move of the route table, with the whole table after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pipelines.core.contract import canonical_json
from pipelines.core.errors import IntegrityError
from pipelines.core.traffic_split import Route, route_from
from pipelines.stores.ledger.tables import PROMOTIONS


@dataclass(frozen=True)
class Promotion:
    """One move of the route table; number 0 is the start, when the bare base model answers."""

    number: int
    at: str
    move: str
    route: Route
    reason: str
    actor: str
    run_id: str
    evidence: dict[str, Any]


START = Promotion(0, "", "start", Route(), "", "", "", {})
NEWEST = sa.select(PROMOTIONS).order_by(PROMOTIONS.c.number.desc()).limit(1)
OLDEST_FIRST = sa.select(PROMOTIONS).order_by(PROMOTIONS.c.number)


def promotion_row(
    after: Promotion, move: str, route: Route, reason: str, actor: str, run_id: str, evidence: dict[str, Any]
) -> dict[str, Any]:
    """The row of a move that follows `after`, made now."""
    return {
        "number": after.number + 1,
        "at": datetime.now(UTC).isoformat(),
        "move": move,
        "route": canonical_json(asdict(route)).decode(),
        "reason": reason,
        "actor": actor,
        "run_id": run_id,
        "evidence": canonical_json(evidence).decode(),
    }


def promotion_from(row: Mapping[str, Any]) -> Promotion:
    """The move that a row holds."""
    route, evidence = route_from(json.loads(row["route"])), json.loads(row["evidence"])
    return Promotion(**{**row, "route": route, "evidence": evidence})


def is_recorded(connection: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Whether this very move is the newest."""
    newest = connection.execute(NEWEST).mappings().first()
    return newest is not None and dict(newest) == dict(row)


def refuse_stale(connection: sa.Connection, after: Promotion) -> None:
    """Raises IntegrityError when the newest move is not `after`."""
    last = connection.scalar(sa.select(sa.func.max(PROMOTIONS.c.number))) or 0
    if last != after.number:
        raise IntegrityError(
            f"The route table was moved meanwhile: this move follows promotion {after.number},"
            f" and the newest is promotion {last}.",
            "Look at the new route table, then decide again.",
        )
