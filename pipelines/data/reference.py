"""The traffic that the live model learned from. A night, or an hour, is compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.core.config import Config
from pipelines.data import open_lake
from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.models.aliases import in_production

COLUMNS = [
    "request_id", "ts", "tenant", "subject_id", "messages", "completion", "adapter", "rating", "correction",
    "locale", "channel", "tokens_in", "tokens_out", "latency_ms",
]  # fmt: skip


def reference_of(config: Config, night: date) -> dict[str, Any]:
    """The earlier nights to compare with, and their source.

    These are the nights that the production adapter was trained on, or the first nights in the lake where
    there is no production adapter.
    """
    production = in_production(config)
    earlier = [day for day in _lake(config).days(as_of=night) if day < night]
    if production:
        learned = [day for day in earlier if day.isoformat() in production.nights]
        if learned:
            return {
                "source": f"production adapter v{production.version}",
                "nights": [str(day) for day in learned],
            }
    first = earlier[: config.drift.reference_nights]
    return {"source": "first nights" if first else "none", "nights": [str(day) for day in first]}


def sample(
    config: Config, nights: Sequence[date], as_of: date, seed: int, max_rows: int
) -> tuple[list[dict[str, Any]], int]:
    """At most `max_rows` rows of these nights, drawn by a seeded hash, and how many there were.

    Shadow answers are left out, because no user saw them.
    """
    if not nights:
        return [], 0
    days = ", ".join(f"DATE '{night}'" for night in nights)
    asked = f"FROM interactions WHERE route <> 'shadow' AND day IN ({days})"
    drawn = (
        f"SELECT {', '.join(COLUMNS)} {asked} "
        f"ORDER BY md5(request_id || '{seed}'), request_id LIMIT {max_rows}"
    )
    lake, first, last = _lake(config), min(nights), max(nights)
    total = lake.query(f"SELECT count(*) AS n {asked}", first, last, as_of).column("n")[0].as_py()
    rows = lake.query(f"SELECT * FROM ({drawn}) ORDER BY ts, request_id", first, last, as_of)
    return rows_of(rows), total


def _lake(config: Config) -> Lake:
    return open_lake(config)
