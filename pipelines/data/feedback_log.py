"""Feedback in the lake: how much of it some nights delivered, and their labelled rows.

A row counts for the night that delivered it: a correction that comes days after the answer is new then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.policy.night.caps import capped_by_person, limit_of_a_person, person_limit
from pipelines.policy.night.dataset import Part
from pipelines.policy.night.feedback import COLUMNS, Read, labelled, uses_tools
from pipelines.policy.night.flags import NightCounts

# The rule of pipelines.policy.night.feedback.label_of as SQL, so that counting loads no text.
CORRECTED = "trim(coalesce(correction, '')) <> ''"
LIKED = f"(rating IS NOT DISTINCT FROM 1 AND trim(completion) <> '' AND NOT {CORRECTED})"
DISLIKED = f"(rating IS NOT DISTINCT FROM -1 AND NOT {CORRECTED})"
LABELLED = f"({CORRECTED} OR {LIKED})"
COUNTS = f"count(*) AS rows, count(*) FILTER ({CORRECTED}) AS corrections, count(*) FILTER ({LIKED}) AS likes"

NAMES = ("rows", "corrections", "likes")


# Both parts in one reading: a night's rows, and how many people of a tenant gave how many labelled rows.
FEEDBACK = f"""
WITH people AS MATERIALIZED (
    SELECT delivered, tenant, subject_id, {COUNTS} FROM interactions WHERE {{of}} GROUP BY ALL
)
SELECT
    delivered,
    sum(rows)::BIGINT AS rows, sum(corrections)::BIGINT AS corrections, sum(likes)::BIGINT AS likes
FROM people GROUP BY delivered
UNION ALL BY NAME
SELECT tenant, labelled, count(*) AS people FROM (
    SELECT tenant, sum(corrections + likes)::BIGINT AS labelled FROM people GROUP BY tenant, subject_id
) WHERE labelled > 0 GROUP BY tenant, labelled
"""


@dataclass(frozen=True)
class Feedback:
    """What some nights delivered. `nights`: rows, corrections and liked answers of each.

    `people`: for each tenant, how many people gave so many labelled rows (rows -> people).
    """

    nights: dict[date, dict[str, int]]
    people: dict[str, dict[int, int]]


def feedback_of(lake: Lake, nights: Collection[date], as_of: date) -> Feedback:
    """Count the feedback that these nights delivered.

    A row that a later night up to `as_of` delivered again counts for that later night only.
    """
    sql = FEEDBACK.format(of=_of(nights))
    found = Feedback({night: dict.fromkeys(NAMES, 0) for night in sorted(nights)}, {})
    for row in lake.query(sql, date.min, as_of, as_of, since=min(nights, default=as_of)).to_pylist():
        if row["delivered"] is None:
            found.people.setdefault(row["tenant"], {})[row["labelled"]] = row["people"]
        else:
            found.nights[row["delivered"]] = {name: row[name] for name in NAMES}
    return found


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums over some nights."""
    found = list(counts)
    return {name: sum(one[name] for one in found) for name in NAMES}


def counts_by_night(lake: Lake, first: date, night: date) -> dict[date, NightCounts]:
    """The labelled rows that each night from `first` to `night` delivered, and who gave most of them."""
    counted = f"""
        WITH of_people AS (SELECT delivered, tenant, subject_id, count(*) AS n FROM interactions
            WHERE delivered BETWEEN DATE '{first}' AND DATE '{night}' AND {LABELLED} GROUP BY ALL),
        of_tenants AS (SELECT delivered, tenant, sum(n)::BIGINT AS n, count(*) AS people, max(n) AS most
            FROM of_people GROUP BY ALL)
        SELECT delivered, sum(n)::BIGINT AS rows, sum(people)::BIGINT AS people, max(most) AS of_person,
            count(*) AS tenants, first(tenant ORDER BY n DESC, tenant) AS tenant, max(n) AS of_tenant
        FROM of_tenants GROUP BY delivered ORDER BY delivered"""
    rows = lake.query(counted, date.min, night, night, since=first).to_pylist()
    return {row.pop("delivered"): NightCounts(**row) for row in rows}


def labelled_rows(
    lake: Lake,
    nights: Collection[date],
    as_of: date,
    most: int,
    per_person: int,
    seed: int,
    read: Read,
    system_prompt: str,
) -> Part:
    """At most `most` labelled rows that these nights delivered, sorted by ts and request_id.

    Of a person at most `per_person` rows, once enough people gave some. A seeded hash of the messages decides
    which.
    """
    feedback = feedback_of(lake, nights, as_of)
    counts = total(feedback.nights.values())
    limit = limit_of_a_person(feedback.people, per_person)
    by_tenant = capped_by_person(feedback.people, limit).values()
    drawn = _drawn(most, seed, _of(nights), per_person=limit)
    rows = rows_of(lake.query(drawn, date.min, as_of, as_of, since=min(nights, default=as_of)))
    plain = [row for row in rows if not uses_tools(row)]
    fit = labelled(plain, read, system_prompt)
    with_label, capped = counts["corrections"] + counts["likes"], sum(one.capped for one in by_tenant)
    went = {
        "without_label": counts["rows"] - with_label,
        "over_the_persons_cap": with_label - capped,
        "beyond_the_pool": capped - len(rows),
        "tool_calls": len(rows) - len(plain),
        "not_an_allowed_answer": len(plain) - len(fit),
    }
    return Part(fit, {"read": counts["rows"], **went, "kept": len(fit)})


def _of(nights: Collection[date]) -> str:
    """SQL for the rows that these nights delivered."""
    listed = ", ".join(f"DATE '{night}'" for night in sorted(nights))
    return f"delivered IN ({listed})" if listed else "false"


def earlier_rated(lake: Lake, night: date, most: int, seed: int) -> list[dict[str, Any]]:
    """At most `most` labelled or disliked rows of the days before a night, as of it. Memory stays bounded."""
    days = [day for day in lake.days(night) if day < night]
    if not days:
        return []
    return rows_of(
        lake.query(_drawn(most, seed, "true", f"({LABELLED} OR {DISLIKED})"), days[0], days[-1], night)
    )


def corrected_rows(
    lake: Lake, first: date, night: date, most: int, per_person: int, seed: int
) -> list[dict[str, Any]]:
    """At most `most` rows with a correction that the nights from `first` to `night` delivered, as of `night`.

    Of a person at most `per_person`, once ten people corrected answers. A seeded hash decides which.
    """
    corrected = f"{CORRECTED} AND trim(completion) <> ''"
    of = f"delivered BETWEEN DATE '{first}' AND DATE '{night}' AND {corrected}"
    counted = f"SELECT count(DISTINCT (tenant, subject_id)) AS people FROM interactions WHERE {of}"
    people = lake.query(counted, date.min, night, night, since=first).to_pylist()[0]["people"]
    drawn = _drawn(most, seed, of, corrected, person_limit(people, per_person))
    return rows_of(lake.query(drawn, date.min, night, night, since=first))


def _drawn(most: int, seed: int, condition: str, told: str = LABELLED, per_person: int | None = None) -> str:
    """SQL for at most `most` rows with such feedback, sorted by ts. Rows of a conversation come together.

    Of a person at most `per_person`, where it is set.
    """
    order = f"md5(CAST(messages AS VARCHAR) || '{seed}'), request_id"
    place = f"row_number() OVER (PARTITION BY tenant, subject_id ORDER BY {order})"
    cap = "" if per_person is None else f"QUALIFY {place} <= {per_person} "
    columns = ", ".join(COLUMNS)
    drawn = (
        f"SELECT {columns} FROM interactions WHERE {condition} AND {told} {cap}ORDER BY {order} LIMIT {most}"
    )
    return f"SELECT * FROM ({drawn}) ORDER BY ts, request_id"
