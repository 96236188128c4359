"""The feature store: Feast over Parquet files (read by DuckDB), and SQLite or Redis online.

Point-in-time reads and online reads use the definitions in `feature_repo/activity.py`.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from io import StringIO
from pathlib import Path

import feast
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import FeastObjectNotFoundException

from feature_repo.activity import VIEWS, define, feature_names
from pipelines.core.config import Config
from pipelines.core.files import replacing
from pipelines.data.feature_places import Places
from pipelines.data.lake import write_parquet
from pipelines.policy.night.parity import Value
from pipelines.stores.blobs import Folder
from pipelines.stores.locks import holding

logging.getLogger("feast").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=DeprecationWarning, module="ibis")  # Feast turns them on again
log = logging.getLogger("nightshift")
NIGHT_FILE = re.compile(r"/night=([0-9-]{10})[.]parquet$")
Entity = tuple[str, ...]  # the values of a view's columns, such as tenant and subject_id
Rows = dict[Entity, dict[str, Value]]  # entity -> feature -> value


class FeatureStore:
    """The store at `places`. One writer at a time holds `writing`; readers need no lock.

    Every method that asks a server raises UnavailableError while it is away.
    """

    def __init__(self, places: Places, windows_days: Sequence[int], max_age: timedelta) -> None:
        self.places = places
        self._files = Folder(places.files, "shared_root")
        self._windows, self._max_age = tuple(windows_days), max_age
        self._names = feature_names(windows_days)

    @cached_property
    def _feast(self) -> feast.FeatureStore:
        return self.places.open(timedelta(days=max(self._windows)) + self._max_age)

    @contextmanager
    def writing(self, config: Config) -> Iterator[None]:
        """Hold the writer's lock."""
        with holding(config, "features", lambda: log.info("waiting: another process writes features")):
            yield

    def put(self, view: str, night: date, rows: pa.Table) -> None:
        """Store a night's rows offline, in place of those that the night had."""
        relative = _file(view, night)
        if self._files.is_local:
            with replacing(self._files.path(relative)) as partial:
                write_parquet(partial, rows.to_batches(), rows.schema)
            return
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            path = Path(folder) / "rows.parquet"
            write_parquet(path, rows.to_batches(), rows.schema)
            self._files.put_file(path, relative)

    def apply(self) -> None:
        """Bring the registry and the online tables in line with the definitions."""
        self.places.asking(self._apply)
        if not self.places.online_url:
            with closing(sqlite3.connect(self.places.online_file)) as online:
                online.execute("PRAGMA journal_mode = WAL")  # readers go on while a night is written

    def _apply(self) -> None:
        for view, columns in VIEWS.items():
            self._forget_other_keys(view, columns)
        self._feast.apply(define(self.places.source, self._windows, self._max_age))

    def _forget_other_keys(self, view: str, columns: Entity) -> None:
        """Remove what an older version stored of a view by other columns: nobody can ask for it any more."""
        try:
            known = self._feast.get_feature_view(view)
        except FeastObjectNotFoundException:
            known = None
        if known and {*known.entities} == {*columns}:
            return
        for file in self._files.files(view):
            with self._files.fs.open(self._files.at(file), "rb") as opened:
                has_keys = {*columns} <= {*pq.read_schema(opened).names}
            if not has_keys:
                self._files.remove(file)
        if known:
            self._feast.apply([], objects_to_delete=[known], partial=False)

    def newest(self) -> datetime | None:
        """The instant up to which the online store is filled."""

        def ask() -> list[datetime | None]:
            return [self._feast.get_feature_view(view).most_recent_end_time for view in VIEWS]

        try:
            times = self.places.asking(ask)
        except FeastObjectNotFoundException:
            return None
        return max(
            (time if time.tzinfo else time.replace(tzinfo=UTC) for time in times if time), default=None
        )

    def newest_night(self) -> date | None:
        """The newest night whose rows are stored offline, of every view."""
        nights = [
            {
                date.fromisoformat(found[1])
                for file in self._files.files(view)
                if (found := NIGHT_FILE.search(file))
            }
            for view in VIEWS
        ]
        return max(set.intersection(*nights), default=None)

    def entities(self, view: str, night: date) -> list[Entity]:
        """The entities that have a row of that night, sorted."""
        return entities_of(view, self._read(view, night, [*VIEWS[view]]))

    def stamp(self, night: date) -> datetime | None:
        """The instant that the night's rows describe; None where it has no rows."""
        for view in VIEWS:
            stamps = self._read(view, night, ["event_timestamp"])["event_timestamp"]
            if len(stamps):
                found: datetime = stamps[0].as_py()
                return found.astimezone(UTC)
        return None

    def _read(self, view: str, night: date, columns: list[str]) -> pa.Table:
        with self._files.fs.open(self._files.at(_file(view, night)), "rb") as file:
            return pq.read_table(file, columns=columns)

    def offline(self, view: str, entities: Sequence[Entity], at: datetime) -> pa.Table:
        """Features of these entities as they were at an instant, one row each, by a point-in-time join."""
        asked = pd.DataFrame(list(entities), columns=[*VIEWS[view]])
        asked["event_timestamp"] = pd.Series(pd.Timestamp(at), index=asked.index).dt.as_unit("us")
        wanted = [f"{view}:{name}" for name in self._names]

        def join() -> pa.Table:
            with self.places.reading_files():
                return self._feast.get_historical_features(asked, wanted).to_arrow()

        kinds = [(name, pa.int64() if name.startswith("requests") else pa.float64()) for name in self._names]
        schema = pa.schema([*((column, pa.string()) for column in VIEWS[view]), *kinds])
        in_order = [(column, "ascending") for column in VIEWS[view]]
        return self.places.asking(join).select(schema.names).cast(schema).sort_by(in_order)

    def materialise(self, at: datetime) -> None:
        """Copy the rows stamped with this instant into the online store. Doing it again changes nothing."""

        def copy() -> None:
            with self.places.reading_files(), redirect_stdout(StringIO()):  # Feast prints its progress
                self._feast.materialize(start_date=at, end_date=at, feature_views=list(VIEWS))

        self.places.asking(copy)

    def online(self, view: str, entities: Sequence[Entity]) -> tuple[Rows, dict[Entity, datetime | None]]:
        """The values that a service would read now, and the instant that each entity's row describes."""
        names = [f"{view}:{name}" for name in self._names]
        asked = [dict(zip(VIEWS[view], entity, strict=True)) for entity in entities]
        answer = self.places.asking(
            lambda: self._feast.get_online_features(features=names, entity_rows=asked)
        ).to_dict(include_event_timestamps=True)
        values = {e: {n: answer[n][i] for n in self._names} for i, e in enumerate(entities)}
        stamps = {e: _instant(answer[f"{self._names[0]}__ts"][i]) for i, e in enumerate(entities)}
        return values, stamps


def entities_of(view: str, rows: pa.Table) -> list[Entity]:
    """The entity of each row of a view."""
    return list(zip(*(rows[column].to_pylist() for column in VIEWS[view]), strict=True))


def _file(view: str, night: date) -> str:
    return f"{view}/night={night}.parquet"


def _instant(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
