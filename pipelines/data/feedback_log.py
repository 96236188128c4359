"""Feedback in the lake: how much of it some nights delivered, and their labelled rows.

A row counts for the night that delivered it: a correction that comes days after the answer is new then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.core.config.training import Objective
from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.policy.night.caps import capped_by_person, limit_of_a_person, person_limit
from pipelines.policy.night.dataset import Part
from pipelines.policy.night.feedback import COLUMNS, Read
from pipelines.policy.night.flags import NightCounts
from pipelines.policy.night.preferences import TAKES, learnable, told_rows

# The rule of pipelines.policy.night.feedback.label_of as SQL, so that counting loads no text.
CORRECTED = "trim(coalesce(correction, '')) <> ''"
LIKED = f"(rating IS NOT DISTINCT FROM 1 AND trim(completion) <> '' AND NOT {CORRECTED})"
DISLIKED = f"(rating IS NOT DISTINCT FROM -1 AND NOT {CORRECTED})"
LABELLED = f"({CORRECTED} OR {LIKED})"
COUNTED = {
    "corrections": CORRECTED,
    "likes": LIKED,
    "dislikes": f"({DISLIKED} AND trim(completion) <> '')",
    "pairs": f"({CORRECTED} AND trim(completion) NOT IN ('', trim(correction)))",
}
TOLD: dict[Objective, str] = {  # the rows that an objective learns from
    objective: f"({' OR '.join(COUNTED[name] for name in names)})" for objective, names in TAKES.items()
}

NAMES = ("rows", *COUNTED)
COUNTS = ", ".join(f"count(*) FILTER ({rule}) AS {name}" for name, rule in COUNTED.items())
SUMS = ", ".join(f"sum({name})::BIGINT AS {name}" for name in NAMES)
GIVEN: dict[str, tuple[str, ...]] = dict(TAKES) | {name: (name,) for name in TAKES["kto"]}  # by a person
OF_A_PERSON = ", ".join(f"sum({' + '.join(names)})::BIGINT AS {one}" for one, names in GIVEN.items())

# Both parts in one reading: a night's rows, and how many people of a tenant gave how many rows to learn from.
FEEDBACK = f"""
WITH people AS MATERIALIZED (
    SELECT delivered, tenant, subject_id, count(*) AS rows, {COUNTS}
    FROM interactions WHERE {{of}} GROUP BY ALL
)
SELECT delivered, {SUMS} FROM people GROUP BY delivered
UNION ALL BY NAME
SELECT tenant, kind, given, count(*) AS people FROM (
    UNPIVOT (SELECT tenant, {OF_A_PERSON} FROM people GROUP BY tenant, subject_id)
    ON {", ".join(GIVEN)} INTO NAME kind VALUE given
) WHERE given > 0 GROUP BY ALL
"""


@dataclass(frozen=True)
class Feedback:
    """What some nights delivered. `nights`: the counts `NAMES` of each.

    `people`: for each objective, and for corrections, likes and dislikes: tenant -> rows of a person -> how
    many people gave so many.
    """

    nights: dict[date, dict[str, int]]
    people: dict[str, dict[str, dict[int, int]]]


def feedback_of(lake: Lake, nights: Collection[date], as_of: date) -> Feedback:
    """Count the feedback that these nights delivered.

    A row that a later night up to `as_of` delivered again counts for that later night only.
    """
    sql = FEEDBACK.format(of=_of(nights))
    found = Feedback({night: dict.fromkeys(NAMES, 0) for night in sorted(nights)}, {one: {} for one in GIVEN})
    for row in lake.query(sql, date.min, as_of, as_of, since=min(nights, default=as_of)).to_pylist():
        if row["delivered"] is None:
            found.people[row["kind"]].setdefault(row["tenant"], {})[row["given"]] = row["people"]
        else:
            found.nights[row["delivered"]] = {name: row[name] for name in NAMES}
    return found


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums over some nights."""
    found = list(counts)
    return {name: sum(one[name] for one in found) for name in NAMES}


def counts_by_night(lake: Lake, first: date, night: date, objective: Objective) -> dict[date, NightCounts]:
    """The rows to learn from that each night from `first` to `night` delivered, and who gave most of them."""
    counted = f"""
        WITH of_people AS (SELECT delivered, tenant, subject_id, count(*) AS n FROM interactions
            WHERE delivered BETWEEN DATE '{first}' AND DATE '{night}' AND {TOLD[objective]} GROUP BY ALL),
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
    objective: Objective = "sft",
) -> Part:
    """At most `most` rows to learn from that these nights delivered, sorted by ts and request_id.

    Of a person at most `per_person` rows, once enough people gave some. A seeded hash of the messages decides
    which.
    """
    feedback = feedback_of(lake, nights, as_of)
    counts = total(feedback.nights.values())
    people = feedback.people[objective]
    limit = limit_of_a_person(people, per_person)
    by_tenant = capped_by_person(people, limit).values()
    drawn = _drawn(most, seed, _of(nights), TOLD[objective], per_person=limit)
    rows = rows_of(lake.query(drawn, date.min, as_of, as_of, since=min(nights, default=as_of)))
    fit = told_rows(rows, objective, read, system_prompt)
    with_label, capped = learnable(counts, objective), sum(one.capped for one in by_tenant)
    went = {
        "without_label": counts["rows"] - with_label,
        "over_the_persons_cap": with_label - capped,
        "beyond_the_pool": capped - len(rows),
        "not_an_allowed_answer": len(rows) - len(fit),
    }
    return Part(fit, {"read": counts["rows"], **went, "kept": len(fit)})


def _of(nights: Collection[date]) -> str:
    """SQL for the rows that these nights delivered."""
    listed = ", ".join(f"DATE '{night}'" for night in sorted(nights))
    return f"delivered IN ({listed})" if listed else "false"


def unrated_turns(lake: Lake, request_ids: Collection[str], night: date) -> dict[str, list[int]]:
    """The assistant turns of these requests' conversations that nobody rated or corrected, as of a night.

    Request -> the turns' places, counted from the conversation's end.
    """
    told = f"({LABELLED} OR {DISLIKED})"
    sql = f"""
        WITH turns AS (
            SELECT request_id, messages, unnest(range(2, len(messages) + 1)) AS place FROM interactions
            WHERE request_id IN ({", ".join(map(_quoted, sorted(request_ids)))})
        ), said AS (
            SELECT request_id, len(messages) - place + 1 AS from_end, messages[1:place - 1] AS before
            FROM turns WHERE messages[place].role = 'assistant'
        )
        SELECT request_id, list(from_end ORDER BY from_end DESC) AS places FROM said
        WHERE NOT EXISTS (SELECT 1 FROM interactions AS own WHERE own.messages = said.before AND {told})
        GROUP BY request_id"""
    rows = lake.query(sql, date.min, night, night).to_pylist() if request_ids else []
    return {row["request_id"]: row["places"] for row in rows}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


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


def _drawn(most: int, seed: int, condition: str, told: str, per_person: int | None = None) -> str:
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
