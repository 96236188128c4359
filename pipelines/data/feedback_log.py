"""Feedback in the lake: how much of it some nights delivered, and their labelled rows.

A row counts for the night that delivered it: a correction that comes days after the answer is new then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from pipelines.core.config import Task
from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.policy.night.caps import TenantFeedback, person_limit
from pipelines.policy.night.dataset import Part
from pipelines.policy.night.feedback import COLUMNS, labelled, uses_tools

# The rule of pipelines.policy.night.feedback.label_of as SQL, so that counting loads no text.
CORRECTED = "trim(coalesce(correction, '')) <> ''"
LIKED = f"(rating IS NOT DISTINCT FROM 1 AND trim(completion) <> '' AND NOT {CORRECTED})"
DISLIKED = f"(rating IS NOT DISTINCT FROM -1 AND NOT {CORRECTED})"
LABELLED = f"({CORRECTED} OR {LIKED})"
COUNTS = f"count(*) AS rows, count(*) FILTER ({CORRECTED}) AS corrections, count(*) FILTER ({LIKED}) AS likes"

NAMES = ("rows", "corrections", "likes")


def feedback_counts(lake: Lake, nights: Collection[date], as_of: date) -> dict[date, dict[str, int]]:
    """How many rows, corrections and liked answers each of these nights delivered.

    A row that a later night up to `as_of` delivered again counts for that later night only.
    """
    counted = f"SELECT delivered, {COUNTS} FROM interactions WHERE {_of(nights)} GROUP BY delivered"
    rows = lake.query(counted, date.min, as_of, as_of, since=min(nights, default=as_of)).to_pylist()
    counts = {row.pop("delivered"): row for row in rows}
    return {night: counts.get(night) or dict.fromkeys(NAMES, 0) for night in sorted(nights)}


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums over some nights."""
    found = list(counts)
    return {name: sum(one[name] for one in found) for name in NAMES}


def feedback_by_tenant(
    lake: Lake, nights: Collection[date], as_of: date, limit: int | None
) -> dict[str, TenantFeedback]:
    """The labelled rows that these nights delivered, by tenant, and what is left with `limit` of a person."""
    capped = "n" if limit is None else f"least(n, {limit})"
    counted = f"""
        SELECT tenant, sum(n)::BIGINT AS rows, sum({capped})::BIGINT AS capped,
            list({capped} ORDER BY n DESC)[1:3] AS largest
        FROM (SELECT tenant, subject_id, count(*) AS n FROM interactions
            WHERE {_of(nights)} AND {LABELLED} GROUP BY tenant, subject_id)
        GROUP BY tenant ORDER BY tenant"""
    rows = lake.query(counted, date.min, as_of, as_of, since=min(nights, default=as_of)).to_pylist()
    return {row.pop("tenant"): TenantFeedback(**row) for row in rows}


def limit_of_a_person(lake: Lake, nights: Collection[date], as_of: date, per_person: int) -> int | None:
    """The most labelled rows of one person that count on these nights; None is no limit."""
    people = f"""SELECT count(*) AS people FROM (
        SELECT DISTINCT tenant, subject_id FROM interactions WHERE {_of(nights)} AND {LABELLED})"""
    found = lake.query(people, date.min, as_of, as_of, since=min(nights, default=as_of)).to_pylist()
    return person_limit(found[0]["people"], per_person)


def labelled_rows(
    lake: Lake, nights: Collection[date], as_of: date, most: int, per_person: int, seed: int, task: Task
) -> Part:
    """At most `most` labelled rows that these nights delivered, sorted by ts and request_id.

    Of a person at most `per_person` rows, once enough people gave some. A seeded hash of the messages decides
    which.
    """
    counts = total(feedback_counts(lake, nights, as_of).values())
    limit = limit_of_a_person(lake, nights, as_of, per_person)
    by_tenant = feedback_by_tenant(lake, nights, as_of, limit).values()
    drawn = _drawn(most, seed, _of(nights), per_person=limit)
    rows = rows_of(lake.query(drawn, date.min, as_of, as_of, since=min(nights, default=as_of)))
    plain = [row for row in rows if not uses_tools(row)]
    fit = labelled(plain, task.labels, task.system_prompt)
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
