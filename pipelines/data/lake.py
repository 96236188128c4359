"""The lake: clean interactions as Parquet files by day, read as of a night by DuckDB with bounded memory.

Layout: `<root>/interactions/dt=DAY/delivery=NIGHT.parquet`, with the day that a row belongs to and the night
that delivered it. A reading as of night N sees the deliveries up to N, so a replay of N reads what N read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipelines.core.contract import digest_of
from pipelines.core.files import replacing, sha256_of_stream
from pipelines.core.interactions import COLUMNS
from pipelines.data.schema import SCHEMA

GROUP_ROWS = 50_000  # rows of a Parquet row group; fixed, so that equal rows give equal bytes
ROW = "* EXCLUDE (filename), CAST(regexp_extract(filename, 'delivery=([0-9-]+)', 1) AS DATE) AS delivered"


@contextmanager
def connect(memory_mib: int, spill_parent: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB in UTC. It spills to disk above `memory_mib` and never downloads extensions."""
    with tempfile.TemporaryDirectory(prefix="nightshift-spill-", dir=spill_parent) as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": spill,
            "TimeZone": "UTC",
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            yield connection


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Stream batches into a file whose bytes depend on the rows alone; returns the number of rows."""
    rows, waiting = 0, pa.Table.from_batches([], schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            rows += batch.num_rows
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
            while waiting.num_rows >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(GROUP_ROWS)
        if waiting.num_rows or not rows:
            writer.write_table(waiting.combine_chunks())
    return rows


def sha256_at(fs: Any, path: str) -> str:
    """sha256 (hex) of a file in an fsspec file system."""
    with fs.open(path, "rb") as file:
        return sha256_of_stream(file)


def as_sql_list(paths: Iterable[str]) -> str:
    """Paths as a DuckDB list literal."""
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


class Lake:
    """Interactions at any fsspec URI; `memory_mib` bounds DuckDB."""

    def __init__(self, root: str, memory_mib: int) -> None:
        self._fs, path = fsspec.core.url_to_fs(root)
        self._base = f"{path.rstrip('/')}/interactions"
        self._memory_mib = memory_mib
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def _deliveries(self) -> list[tuple[date, date, str]]:
        """Every file as (day, delivery night, path), sorted."""
        self._fs.invalidate_cache()
        found = self._fs.glob(f"{self._base}/dt=*/delivery=*.parquet")
        return sorted((*_dates_of(path), path) for path in found)

    def files(self, first: date, last: date, as_of: date, since: date = date.min) -> list[str]:
        """Paths of the files that hold rows of the days first..last, delivered by the nights since..as_of."""
        found = self._deliveries()
        return [path for day, night, path in found if first <= day <= last and since <= night <= as_of]

    def days(self, as_of: date) -> list[date]:
        """The days that have rows, sorted."""
        return sorted({day for day, delivery, _ in self._deliveries() if delivery <= as_of})

    def digest(self, first: date, last: date, as_of: date, since: date = date.min) -> str:
        """sha256 over the bytes of every file that `files` returns."""
        files = self.files(first, last, as_of, since)
        return digest_of({path.removeprefix(self._base): sha256_at(self._fs, path) for path in files})

    def interactions(
        self, first: date, last: date, as_of: date, columns: list[str] | None = None
    ) -> pa.Table:
        """Rows of the days first..last, sorted by ts and request_id. No rows if there are no files."""
        wanted = list(columns or COLUMNS)
        listed = ", ".join(f'"{name}"' for name in wanted)
        table = self.query(f"SELECT {listed} FROM interactions ORDER BY ts, request_id", first, last, as_of)
        return table.cast(pa.schema([SCHEMA.field(name) for name in wanted]))

    def query(self, sql: str, first: date, last: date, as_of: date, since: date = date.min) -> pa.Table:
        """Run SQL over a view named `interactions`, so that aggregates never load the texts.

        The view has the columns of the schema, and `delivered`: the night that delivered the row.
        """
        files = self.files(first, last, as_of, since)
        with connect(self._memory_mib) as connection:
            if files:
                connection.sql(f"CREATE VIEW interactions AS {self.scan(connection, files)}")
            else:
                none = SCHEMA.append(pa.field("delivered", pa.date32())).empty_table()
                connection.register("interactions", none)
            return connection.sql(sql).to_arrow_table()

    def scan(self, connection: duckdb.DuckDBPyConnection, files: list[str]) -> str:
        """SQL that reads these files in `connection`, wherever the lake lies.

        Where a later night delivered a request again, with other feedback, that night's row is read.
        """
        if not self._is_local:
            connection.register_filesystem(self._fs)
            files = [self._fs.unstrip_protocol(path) for path in files]
        every = f"read_parquet({as_sql_list(files)}, hive_partitioning = false, filename = true)"
        folders = [path.rsplit("/", 1)[0] for path in files]
        later = [path for i, path in enumerate(files) if folders.index(folders[i]) < i]
        if not later:
            return f"SELECT {ROW} FROM {every}"
        newer = f"read_parquet({as_sql_list(later)}, hive_partitioning = false, filename = true)"
        again = "newer.request_id = kept.request_id AND newer.filename > kept.filename"
        replaced = f"SELECT 1 FROM {newer} AS newer WHERE {again}"
        return f"SELECT {ROW} FROM {every} AS kept WHERE NOT EXISTS ({replaced})"

    def publish(self, night: date, rows: pa.Table | Iterable[pa.RecordBatch]) -> dict[date, int]:
        """Put the rows that `night` delivered into their days; returns rows a day.

        Each day's file appears whole or not at all. A second call replaces what the same night published
        before, also in days that no longer have rows. Batches must come sorted by ts.
        """
        if isinstance(rows, pa.Table):
            rows = rows.sort_by([("ts", "ascending"), ("request_id", "ascending")]).to_batches()
        published: dict[date, int] = {}
        for day, pieces in groupby(_pieces(rows), key=itemgetter(0)):
            assert day not in published, "batches must be sorted by ts"
            published[day] = self._put(day, night, (batch for _, batch in pieces))
        for day, delivery, path in self._deliveries():
            if delivery == night and day not in published:
                self._fs.rm_file(path)
        return published

    def _put(self, day: date, night: date, batches: Iterable[pa.RecordBatch]) -> int:
        folder, name = f"{self._base}/dt={day}", f"delivery={night}.parquet"
        if not self._is_local:
            with tempfile.TemporaryDirectory(prefix="nightshift-") as work:
                count = write_parquet(Path(work) / name, batches, SCHEMA)
                self._fs.put_file(f"{work}/{name}", f"{folder}/{name}")
            return count
        with replacing(Path(folder) / name) as partial:  # a dot begins its name: no reader's glob matches
            return write_parquet(partial, batches, SCHEMA)


def _dates_of(path: str) -> tuple[date, date]:
    """The day and the delivery night in a file's path."""
    pure = PurePosixPath(path)
    day, night = pure.parent.name.removeprefix("dt="), pure.stem.removeprefix("delivery=")
    return date.fromisoformat(day), date.fromisoformat(night)


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[date, pa.RecordBatch]]:
    """Cut each batch where the day changes: (day, rows of that day)."""
    for batch in batches:
        days = pc.cast(batch.column("ts"), pa.date32())
        for day in pc.unique(days).to_pylist():
            yield day, batch.filter(pc.equal(days, pa.scalar(day, pa.date32())))
