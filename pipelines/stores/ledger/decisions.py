"""What was decided each night: one signed row a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from pipelines.core.contract import canonical_json
from pipelines.core.errors import IntegrityError
from pipelines.stores.ledger.tables import AUDIT, DECISIONS


@dataclass(frozen=True)
class Decision:
    """One night's decision, as it was signed."""

    run_id: str
    night: date
    outcome: str
    reasons: tuple[str, ...]
    facts: dict[str, Any]
    evidence: dict[str, str]  # step -> digest of its manifest
    ledger_head: str  # hash of the chain's newest link when it was signed
    document: str
    signature: str


def decision_row(document: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """The row of a decision; `document` is what was signed."""
    return {
        "run_id": document["run_id"],
        "night": document["night"],
        "outcome": document["outcome"],
        "document": canonical_json(dict(document)).decode(),
        "signature": signature,
    }


def decision_from(row: Mapping[str, Any]) -> Decision:
    """The decision that a row holds."""
    document = json.loads(row["document"])
    return Decision(
        run_id=row["run_id"],
        night=date.fromisoformat(row["night"]),
        outcome=row["outcome"],
        reasons=tuple(document["reasons"]),
        facts=document["facts"],
        evidence=document["evidence"],
        ledger_head=document["ledger_head"],
        document=row["document"],
        signature=row["signature"],
    )


def decisions_by_night(before: date | None = None) -> sa.Select[Any]:
    """All decisions, oldest night first; with `before`, only those of earlier nights."""
    query = sa.select(DECISIONS).order_by(DECISIONS.c.night, DECISIONS.c.run_id)
    return query.where(DECISIONS.c.night < before.isoformat()) if before else query


def decisions_as_recorded() -> sa.Select[Any]:
    """All decisions in the order in which they were recorded, whatever their night."""
    of_decision = sa.and_(AUDIT.c.table_name == DECISIONS.name, AUDIT.c.row_key == DECISIONS.c.run_id)
    return sa.select(DECISIONS).join(AUDIT, of_decision).order_by(AUDIT.c.seq)


def refuse_another_decision(recorded: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Raises IntegrityError where a run's recorded decision differs from the one to be written."""
    if recorded["document"] != row["document"]:
        raise IntegrityError(
            f"The ledger already holds another decision for run {row['run_id']}, and a decision is final.",
            "Run the night again under a new run id.",
        )
