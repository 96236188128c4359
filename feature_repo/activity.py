"""Feast definitions: the activity of tenants and people over the last days.

The `features` step and `local.py` use them. There is one row for each entity and night, stamped with the end
of that night. For each window of w days it has requests_wd (count), negative_rate_wd (disliked of the
rated; null without ratings) and correction_rate_wd (corrected of all requests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64, Int64

WINDOWS_DAYS = (1, 7, 28)
VIEWS: dict[str, tuple[str, ...]] = {  # view -> the columns that together name its entity
    "tenant_activity": ("tenant",),
    "person_activity": ("tenant", "subject_id"),  # ids of people are a tenant's own
}


def feature_names(windows_days: Sequence[int]) -> list[str]:
    kinds = ("requests", "negative_rate", "correction_rate")
    return [f"{kind}_{days}d" for days in windows_days for kind in kinds]


def define(source_of: Callable[[str], str], windows_days: Sequence[int], max_age: timedelta) -> list[Any]:
    """Entities and views. `source_of` names a view's Parquet files."""
    names = sorted({column for columns in VIEWS.values() for column in columns})
    entities = {name: Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in names}
    objects: list[Any] = [*entities.values()]
    for view, columns in VIEWS.items():
        source = FileSource(
            name=f"{view}_files",
            path=source_of(view),
            file_format=ParquetFormat(),  # named, because the folder has no file ending
            timestamp_field="event_timestamp",
        )
        schema = [
            Field(name=name, dtype=Int64 if name.startswith("requests") else Float64)
            for name in feature_names(windows_days)
        ]
        own = [entities[column] for column in columns]
        objects.append(FeatureView(name=view, entities=own, ttl=max_age, schema=schema, source=source))
    return objects
