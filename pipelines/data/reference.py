"""The traffic that the live model learned from. A night, or an hour, is compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.core.config import Config
from pipelines.data import open_lake
from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.models.aliases import in_production
from pipelines.policy.night.caps import person_limit

COLUMNS = [
    "request_id", "ts", "tenant", "subject_id", "messages", "completion", "adapter", "rating", "correction",
    "locale", "channel", "tokens_in", "tokens_out", "latency_ms",
]  # fmt: skip
ASKED = "FROM interactions WHERE route <> 'shadow' AND day IN ({days})"
PEOPLE = f"SELECT count(*) AS people FROM (SELECT DISTINCT tenant, subject_id {ASKED})"
COUNTS = f"""
SELECT day, sum(n)::BIGINT AS in_lake, sum(greatest(n - {{rows_per_person}}, 0))::BIGINT AS over_the_cap
FROM (SELECT day, count(*) AS n {ASKED} GROUP BY day, tenant, subject_id) GROUP BY day
"""
# People are drawn first, so that only their rows are sorted.
BY_PERSON = f"""
WITH people AS (
    SELECT *, row_number() OVER (
        PARTITION BY day ORDER BY md5(tenant || ' ' || subject_id || '{{seed}}'), tenant, subject_id
    ) AS person
    FROM (SELECT DISTINCT day, tenant, subject_id {ASKED})
    QUALIFY person <= {{max_rows}}
), capped AS (
    SELECT * FROM interactions JOIN people USING (day, tenant, subject_id) WHERE route <> 'shadow'
    QUALIFY row_number() OVER (
        PARTITION BY day, person ORDER BY md5(request_id || '{{seed}}'), request_id
    ) <= {{rows_per_person}}
)
SELECT day, person, conversation_id, {{columns}} FROM capped
QUALIFY row_number() OVER (PARTITION BY day ORDER BY person, request_id) <= {{max_rows}}
ORDER BY day, person, request_id
"""


def reference_of(config: Config, night: date) -> dict[str, Any]:
    """The earlier nights to compare with, at most `drift.reference_nights`, and their source.

    These are the nights up to the last one that the production adapter was trained on, and the first ones
    after it where those are fewer. Without a production adapter, these are the first nights in the lake.
    Nights that nothing was learned from come last, so that a change stays a change until it is learned.
    """
    production = in_production(config)
    earlier = [day for day in _lake(config).days(as_of=night) if day < night]
    learned = [day for day in earlier if production and day.isoformat() in production.nights]
    source = f"production adapter v{production.version}" if production and learned else "first nights"
    known = [day for day in earlier if learned and day <= learned[-1]][-config.drift.reference_nights :]
    later = [day for day in earlier if not learned or day > learned[-1]]
    nights = [*known, *later[: config.drift.reference_nights - len(known)]]
    return {"source": source if nights else "none", "nights": [str(day) for day in nights]}


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


@dataclass(frozen=True)
class NightRows:
    """A night's rows that are compared, person by person, and what the lake holds of it."""

    night: date
    rows: list[dict[str, Any]]
    in_lake: int
    over_the_cap: int

    @property
    def people(self) -> int:
        return len({(row["tenant"], row["subject_id"]) for row in self.rows})

    @property
    def without_person(self) -> int:
        """Rows whose person is their conversation, or else themselves, because the log names none."""
        return sum(row["subject_id"] in (row["request_id"], row["conversation_id"]) for row in self.rows)


def sample_by_person(config: Config, nights: Sequence[date], as_of: date, seed: int) -> list[NightRows]:
    """Rows of each night: people are drawn by a seeded hash, and at most `rows_per_person` rows of each.

    Where all nights together have few people, their rows are not capped: a lone credential may stand for all
    users of a service.
    The last night sets the size: earlier ones are cut to its rows and its people, so that a night is never
    farther away because it is smaller. Shadow answers are left out, because no user saw them.
    """
    settings, lake = config.drift, _lake(config)
    days = ", ".join(f"DATE '{night}'" for night in nights)
    where = min(nights), max(nights), as_of
    people = lake.query(PEOPLE.format(days=days), *where).to_pylist()[0]["people"]
    per_person = person_limit(people, settings.rows_per_person) or settings.max_rows
    numbers = {"seed": seed, "max_rows": settings.max_rows, "rows_per_person": per_person}
    drawn = lake.query(BY_PERSON.format(days=days, columns=", ".join(COLUMNS), **numbers), *where)
    counts = lake.query(COUNTS.format(days=days, **numbers), *where).to_pylist()
    totals = {row["day"]: (row["in_lake"], row["over_the_cap"]) for row in counts}
    found: dict[date, list[dict[str, Any]]] = {night: [] for night in nights}
    for day, row in zip(drawn.column("day").to_pylist(), rows_of(drawn), strict=True):
        found[day].append(row)
    most_rows = len(found[nights[-1]])
    most_people = max((row["person"] for row in found[nights[-1]]), default=0)
    return [
        NightRows(
            night,
            sorted(
                (row for row in rows[:most_rows] if row["person"] <= most_people),
                key=lambda row: (row["ts"], row["request_id"]),
            ),
            *totals.get(night, (0, 0)),
        )
        for night, rows in found.items()
    ]


def _lake(config: Config) -> Lake:
    return open_lake(config)
