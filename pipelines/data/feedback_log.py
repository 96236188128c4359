"""Feedback in the lake: how much of it some nights delivered, and their labelled rows.

A row counts for the night that delivered it: a correction that comes days after the answer is new then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from pipelines.policy.night.dataset import Part
from pipelines.policy.night.feedback import COLUMNS, labelled

# The rule of pipelines.policy.night.feedback.label_of as SQL, so that counting loads no text.
CORRECTED = "trim(coalesce(correction, '')) <> ''"
LIKED = f"(rating IS NOT DISTINCT FROM 1 AND trim(completion) <> '' AND NOT {CORRECTED})"
COUNTS = f"count(*) AS rows, count(*) FILTER ({CORRECTED}) AS corrections, count(*) FILTER ({LIKED}) AS likes"


def feedback_counts(lake: Lake, first: date, last: date, as_of: date) -> dict[str, int]:
    """How many rows, corrections and liked answers the nights first..last delivered.

    A row that a later night up to `as_of` delivered again counts for that later night only.
    """
    counted = f"SELECT {COUNTS} FROM interactions WHERE delivered <= DATE '{last}'"
    return lake.query(counted, date.min, as_of, as_of, since=first).to_pylist()[0]


def labelled_rows(
    lake: Lake, first: date, last: date, as_of: date, most: int, seed: int, labels: Sequence[str]
) -> Part:
    """At most `most` labelled rows that the nights first..last delivered, sorted by ts and request_id.

    Where there are more, a seeded hash of the messages decides, so that all rows of a question come or none.
    """
    counts = feedback_counts(lake, first, last, as_of)
    drawn = (
        f"SELECT {', '.join(COLUMNS)} FROM interactions "
        f"WHERE delivered <= DATE '{last}' AND ({CORRECTED} OR {LIKED}) "
        f"ORDER BY md5(CAST(messages AS VARCHAR) || '{seed}'), request_id LIMIT {most}"
    )
    in_order = f"SELECT * FROM ({drawn}) ORDER BY ts, request_id"
    rows = rows_of(lake.query(in_order, date.min, as_of, as_of, since=first))
    fit = labelled(rows, labels)
    with_label = counts["corrections"] + counts["likes"]
    went = {
        "without_label": counts["rows"] - with_label,
        "beyond_the_pool": with_label - len(rows),
        "not_an_allowed_answer": len(rows) - len(fit),
    }
    return Part(fit, {"read": counts["rows"], **went, "kept": len(fit)})
