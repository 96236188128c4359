"""The features of a night, computed from the lake: what tenants and people did lately."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import pyarrow as pa

from feature_repo.activity import VIEWS
from pipelines.data.lake import Lake


def activity(lake: Lake, view: str, windows_days: Sequence[int], night: date, zone: tzinfo = UTC) -> pa.Table:
    """A view's rows as of the end of a night: one for each entity seen in the longest window."""
    entity, at = ", ".join(VIEWS[view]), end_of(night, zone)
    columns = []
    for days in windows_days:
        inside = f"FILTER (WHERE day > DATE '{night - timedelta(days=days)}')"
        columns += [
            f"count(*) {inside} AS requests_{days}d",
            f"avg(CAST(rating = -1 AS DOUBLE)) {inside} AS negative_rate_{days}d",
            f"avg(CAST(correction IS NOT NULL AS DOUBLE)) {inside} AS correction_rate_{days}d",
        ]
    first = night - timedelta(days=max(windows_days) - 1)
    return lake.query(
        f"SELECT {entity}, TIMESTAMPTZ '{at}' AS event_timestamp, {', '.join(columns)} "
        f"FROM interactions GROUP BY {entity} ORDER BY {entity}",
        first,
        night,
        night,
    )


def end_of(night: date, zone: tzinfo = UTC) -> datetime:
    """The first instant after the night's day in a time zone, as UTC."""
    return datetime.combine(night + timedelta(days=1), time(), zone).astimezone(UTC)
