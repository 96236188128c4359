"""The feature store: Feast on one machine, with Parquet offline (read by DuckDB) and SQLite online.

Point-in-time reads and online reads use the definitions in `feature_repo/activity.py`.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path

import feast
import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import FeastObjectNotFoundException
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.infra.registry.sql import SqlRegistryConfig
from feast.repo_config import RepoConfig

from feature_repo.activity import VIEWS, define, feature_names
from pipelines.core.files import replacing
from pipelines.core.locks import holding
from pipelines.data.lake import Lake, write_parquet
from pipelines.policy.night.parity import Value

logging.getLogger("feast").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=DeprecationWarning, module="ibis")  # Feast turns them on again
Entity = tuple[str, ...]  # the values of a view's columns, such as tenant and subject_id
Rows = dict[Entity, dict[str, Value]]  # entity -> feature -> value


class FeatureStore:
    """The store in `folder`. One writer at a time holds `writing`; readers need no lock."""

    def __init__(self, folder: Path, windows_days: Sequence[int], max_age: timedelta) -> None:
        self.folder = folder
        self._windows, self._max_age = tuple(windows_days), max_age
        self._names = feature_names(windows_days)
        folder.mkdir(parents=True, exist_ok=True)
        self._feast = feast.FeatureStore(
            config=RepoConfig(
                project="nightshift",
                provider="local",
                registry=SqlRegistryConfig(  # a file registry is not written atomically
                    registry_type="sql",
                    path=f"sqlite:///{folder}/registry.db",
                    serve_features_while_materializing=True,  # else reads are refused meanwhile
                ),
                online_store=SqliteOnlineStoreConfig(path=str(folder / "online.db")),
                offline_store=DuckDBOfflineStoreConfig(),
                entity_key_serialization_version=3,
            )
        )

    @contextmanager
    def writing(self, home: Path) -> Iterator[None]:
        """Hold the writer's lock of a home. At the end, close the DuckDB that Feast leaves open."""
        with holding(home, "features"):
            yield
        if ibis.options.default_backend is not None:
            ibis.options.default_backend.disconnect()
            ibis.options.default_backend = None

    def put(self, view: str, night: date, rows: pa.Table) -> None:
        """Store a night's rows offline, in place of those that the night had."""
        target = self.folder / "data" / view / f"night={night}.parquet"
        with replacing(target) as partial:
            write_parquet(partial, rows.to_batches(), rows.schema)

    def apply(self) -> None:
        """Bring the registry and the online tables in line with the definitions."""
        for view, columns in VIEWS.items():
            self._forget_other_keys(view, columns)
        self._feast.apply(define(self.folder / "data", self._windows, self._max_age))
        with closing(sqlite3.connect(self.folder / "online.db")) as online:
            online.execute("PRAGMA journal_mode = WAL")  # readers go on while a night is written

    def _forget_other_keys(self, view: str, columns: Entity) -> None:
        """Remove what an older version stored of a view by other columns: nobody can ask for it any more."""
        for file in (self.folder / "data" / view).glob("night=*.parquet"):
            if not {*columns} <= {*pq.read_schema(file).names}:
                file.unlink()
        try:
            known = self._feast.get_feature_view(view)
        except FeastObjectNotFoundException:
            return
        if {*known.entities} != {*columns}:
            self._feast.apply([], objects_to_delete=[known], partial=False)

    def newest(self) -> datetime | None:
        """The instant up to which the online store is filled."""
        try:
            times = [self._feast.get_feature_view(view).most_recent_end_time for view in VIEWS]
        except FeastObjectNotFoundException:
            return None
        return max((time for time in times if time), default=None)

    def entities(self, view: str, night: date) -> list[Entity]:
        """The entities that have a row of that night, sorted."""
        file = self.folder / "data" / view / f"night={night}.parquet"
        return entities_of(view, pq.read_table(file, columns=[*VIEWS[view]]))

    def offline(self, view: str, entities: Sequence[Entity], at: datetime) -> pa.Table:
        """Features of these entities as they were at an instant, one row each, by a point-in-time join."""
        asked = pd.DataFrame(list(entities), columns=[*VIEWS[view]])
        asked["event_timestamp"] = pd.Series(pd.Timestamp(at), index=asked.index).dt.as_unit("us")
        found = self._feast.get_historical_features(asked, [f"{view}:{name}" for name in self._names])
        kinds = [(name, pa.int64() if name.startswith("requests") else pa.float64()) for name in self._names]
        schema = pa.schema([*((column, pa.string()) for column in VIEWS[view]), *kinds])
        in_order = [(column, "ascending") for column in VIEWS[view]]
        return found.to_arrow().select(schema.names).cast(schema).sort_by(in_order)

    def materialise(self, at: datetime) -> None:
        """Copy the rows stamped with this instant into the online store. Doing it again changes nothing."""
        with redirect_stdout(StringIO()):  # Feast prints its progress
            self._feast.materialize(start_date=at, end_date=at, feature_views=list(VIEWS))

    def online(self, view: str, entities: Sequence[Entity]) -> tuple[Rows, dict[Entity, datetime | None]]:
        """The values that a service would read now, and the instant that each entity's row describes."""
        answer = self._feast.get_online_features(
            features=[f"{view}:{name}" for name in self._names],
            entity_rows=[dict(zip(VIEWS[view], entity, strict=True)) for entity in entities],
        ).to_dict(include_event_timestamps=True)
        values = {e: {n: answer[n][i] for n in self._names} for i, e in enumerate(entities)}
        stamps = {e: _instant(answer[f"{self._names[0]}__ts"][i]) for i, e in enumerate(entities)}
        return values, stamps


def entities_of(view: str, rows: pa.Table) -> list[Entity]:
    """The entity of each row of a view."""
    return list(zip(*(rows[column].to_pylist() for column in VIEWS[view]), strict=True))


def activity(lake: Lake, view: str, windows_days: Sequence[int], night: date) -> pa.Table:
    """A view's rows as of the end of a night (UTC): one for each entity seen in the longest window."""
    entity, at = ", ".join(VIEWS[view]), end_of(night)
    columns = []
    for days in windows_days:
        inside = f"FILTER (WHERE day > DATE '{night - timedelta(days=days)}')"
        columns += [
            f"count(*) {inside} AS requests_{days}d",
            f"avg(CAST(rating = -1 AS DOUBLE)) {inside} AS negative_rate_{days}d",
            f"avg(CAST(correction IS NOT NULL AS DOUBLE)) {inside} AS correction_rate_{days}d",
        ]
    first = (at - timedelta(days=max(windows_days))).date()
    return lake.query(
        f"SELECT {entity}, TIMESTAMPTZ '{at}' AS event_timestamp, {', '.join(columns)} "
        f"FROM interactions GROUP BY {entity} ORDER BY {entity}",
        first,
        night,
        night,
    )


def end_of(night: date) -> datetime:
    """The first instant after the night's day, UTC."""
    return datetime(night.year, night.month, night.day, tzinfo=UTC) + timedelta(days=1)


def _instant(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
