"""Which version people chose as the anchor: one row a choice, and the newest counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from pipelines.stores.ledger.tables import ANCHORS

NEWEST = sa.select(ANCHORS).order_by(ANCHORS.c.at.desc(), ANCHORS.c.id.desc()).limit(1)


@dataclass(frozen=True)
class Anchor:
    """A choice. An empty version means that there is no chosen anchor from then on."""

    at: str
    version: str
    digest: str
    actor: str
    reason: str


def anchor_row(version: str, digest: str, actor: str, reason: str) -> dict[str, str]:
    """The row of a choice that is made now."""
    at = datetime.now(UTC).isoformat()
    words = {"at": at, "version": version, "digest": digest, "actor": actor, "reason": reason}
    return {"id": f"{at}.{version}", **words}
