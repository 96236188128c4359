"""The lake: clean interactions as Parquet files by day, read as of a night by DuckDB with bounded memory.

Layout: `<root>/interactions/dt=DAY/delivery=NIGHT[...].parquet`, with the day that a row belongs to and the
night that delivered it; see `publications`. A reading as of night N sees the deliveries up to N, so a replay
of N reads what N read.

`<root>/removals/delivery=NIGHT.parquet` names the requests whose people opted out later: their rows are read
by no night from then on.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of
from pipelines.core.interactions import COLUMNS
from pipelines.data.digests import FileDigests
from pipelines.data.publications import DataFile, Publications, claim, finish, name_of, plain_name
from pipelines.data.schema import SCHEMA
from pipelines.stores.blobs import Folder, Stored

GROUP_ROWS = 50_000  # rows of a Parquet row group; fixed, so that equal rows give equal bytes
PATH = "dt=([0-9-]{10})/delivery=([0-9-]{10})[0-9a-f.]*[.]parquet$"
ROW = (
    f"* EXCLUDE (filename), CAST(regexp_extract(filename, '{PATH}', 1) AS DATE) AS day, "
    f"CAST(regexp_extract(filename, '{PATH}', 2) AS DATE) AS delivered"
)
VIEW = SCHEMA.append(pa.field("day", pa.date32())).append(pa.field("delivered", pa.date32()))
REMOVAL = re.compile("removals/delivery=([0-9-]{10})[.]parquet")
REMOVALS = pa.schema([("request_id", pa.string())])


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


def as_sql_list(paths: Iterable[str]) -> str:
    """Paths as a DuckDB list literal. Signs of a glob stand for themselves."""
    return "[" + ", ".join("'" + _GLOB.sub(r"[\1]", path).replace("'", "''") + "'" for path in paths) + "]"


_GLOB = re.compile(r"([*?[])")


class Lake:
    """Interactions at any fsspec URI; `memory_mib` bounds DuckDB. A day begins at midnight in `timezone`.

    `digests`: a file that keeps the digests of files between steps.
    """

    def __init__(
        self, root: str, memory_mib: int, timezone: str = "UTC", digests: Path | None = None
    ) -> None:
        self._folder = Folder(root, "lake_root")
        self._digests = FileDigests(self._folder.fs, digests)
        self._memory_mib, self._timezone = memory_mib, timezone

    def _deliveries(self) -> list[DataFile]:
        """Every file that counts, sorted by day and delivery night."""
        return Publications(self._folder.files()).files

    def files(self, first: date, last: date, as_of: date, since: date = date.min) -> list[str]:
        """Paths of the files that hold rows of the days first..last, delivered by the nights since..as_of."""
        return [f.path for f in _wanted(self._deliveries(), first, last, as_of, since)]

    def days(self, as_of: date) -> list[date]:
        """The days that have rows, sorted."""
        return sorted({file.day for file in self._deliveries() if file.night <= as_of})

    def digest(self, first: date, last: date, as_of: date, since: date = date.min) -> str:
        """sha256 over the bytes of every file that `files` returns."""
        listing = self._folder.files()
        files = _wanted(Publications(listing).files, first, last, as_of, since)
        digests = self._sha256_of(listing, files, _removals(listing, as_of))
        return digest_of({_inside(path): sha256 for path, sha256 in digests.items()})

    def day_digests(self, days: Collection[date], as_of: date) -> dict[date, str]:
        """For each of these days, a sha256 over the bytes of every file that a reading of it reads."""
        if not days:
            return {}
        listing = self._folder.files()
        files = _wanted(Publications(listing).files, min(days), max(days), as_of, date.min)
        removals = _removals(listing, as_of)
        digests = self._sha256_of(listing, files, removals)
        common = {_inside(path): digests[path] for path in removals}
        return {
            day: digest_of(common | {_inside(f.path): digests[f.path] for f in files if f.day == day})
            for day in days
        }

    def deliveries(self, as_of: date) -> dict[date, str]:
        """The nights up to `as_of` that delivered rows, each with a sha256 over the bytes of its files."""
        listing = self._folder.files()
        files = _wanted(Publications(listing).files, date.min, date.max, as_of, date.min)
        digests = self._sha256_of(listing, files)
        by_night: dict[date, dict[str, str]] = {}
        for file in files:
            by_night.setdefault(file.night, {})[_inside(file.path)] = digests[file.path]
        return {night: digest_of(found) for night, found in sorted(by_night.items())}

    def _sha256_of(
        self, listing: Mapping[str, Stored], files: Sequence[DataFile], more: Sequence[str] = ()
    ) -> dict[str, str]:
        """Path -> sha256 of the bytes of these files, which are read only where their names do not say it."""
        known = {file.path: file.sha256 for file in files if file.sha256}
        others = [*(file.path for file in files if not file.sha256), *more]
        versions = {self._folder.at(path): listing[path].version for path in others}
        read = self._digests.of(list(versions), versions)
        return known | {path: read[self._folder.at(path)] for path in others}

    def changed(self) -> Iterator[str]:
        """The files whose bytes are not those that were published."""
        for file in self._deliveries():
            if file.sha256 and self._folder.sha256(file.path) != file.sha256:
                yield f"{self._folder.uri}/{file.path}"

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

        The view has the columns of the schema, `day`, and `delivered`: the night that delivered the row.
        """
        files = self.files(first, last, as_of, since)
        with connect(self._memory_mib) as connection:
            try:
                connection.sql(f"CREATE VIEW interactions AS {self.scan(connection, files, as_of)}")
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error:  # it keeps a store's error as text only: the store is asked what is wrong
                self._folder.files("removals")
                raise

    def scan(self, connection: duckdb.DuckDBPyConnection, files: list[str], as_of: date) -> str:
        """SQL that reads these files in `connection`, wherever the lake lies; older files lack some columns.

        Where a later night delivered a request again, with other feedback, that night's row is read. Requests
        that a night up to `as_of` removed are not.
        """
        connection.register("no_interactions", VIEW.empty_table())
        if not files:
            return "SELECT * FROM no_interactions"
        every, conditions = self._reading(connection, files), []
        folders = [path.rsplit("/", 1)[0] for path in files]
        later = [path for i, path in enumerate(files) if folders.index(folders[i]) < i]
        if later:
            again = "newer.request_id = kept.request_id AND newer.filename > kept.filename"
            newer = f"SELECT 1 FROM {self._reading(connection, later)} AS newer WHERE {again}"
            conditions.append(f"NOT EXISTS ({newer})")
        if removals := self.removed(connection, as_of):
            conditions.append(f"request_id NOT IN ({removals})")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT * FROM no_interactions UNION ALL BY NAME SELECT {ROW} FROM {every} AS kept {where}"

    def removed(self, connection: duckdb.DuckDBPyConnection, as_of: date) -> str:
        """SQL for the requests that the nights up to `as_of` removed; "" where there are none."""
        files = _removals(self._folder.files("removals"), as_of)
        return f"SELECT request_id FROM {self._reading(connection, files)}" if files else ""

    def _reading(self, connection: duckdb.DuckDBPyConnection, files: list[str]) -> str:
        paths = [self._folder.at(file) for file in files]
        if not self._folder.is_local:
            protocol = self._folder.uri.partition("://")[0]
            if protocol not in connection.list_filesystems():
                connection.register_filesystem(self._folder.listed())
            paths = [self._folder.fs.unstrip_protocol(path) for path in paths]
        options = "hive_partitioning = false, filename = true, union_by_name = true"
        return f"read_parquet({as_sql_list(paths)}, {options})"

    def remove(self, night: date, request_ids: pa.Table) -> int:
        """Take requests out of every reading as of `night` and later; returns how many.

        A second call replaces what the same night removed before.
        """
        target = f"removals/delivery={night}.parquet"
        if request_ids.num_rows:
            return self._put(lambda sha256: target, REMOVALS, request_ids.to_batches())
        self._folder.remove(target)
        return 0

    def publish(self, night: date, rows: pa.Table | Iterable[pa.RecordBatch]) -> dict[date, int]:
        """Put the rows that `night` delivered into their days; returns rows a day.

        All days appear at once. A second call replaces what the same night published before, also in days
        that no longer have rows. Batches must come sorted by ts.
        """
        if isinstance(rows, pa.Table):
            rows = rows.sort_by([("ts", "ascending"), ("request_id", "ascending")]).to_batches()
        number, published = claim(self._folder, night), dict[date, int]()
        for day, pieces in groupby(_pieces(rows, self._timezone), key=itemgetter(0)):
            assert day not in published, "batches must be sorted by ts"
            batches = (batch for _, batch in pieces)
            published[day] = self._put(partial(name_of, day, night, number), SCHEMA, batches)
        finish(self._folder, night, number)
        return published

    def _put(self, name: Callable[[str], str], schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Store a file under the name that goes with its sha256; returns its rows."""
        beside = self._folder.path("") if self._folder.is_local else None  # on the same disk
        if beside:
            beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=beside) as work:
            file = Path(work) / "part.parquet"
            count = write_parquet(file, batches, schema)
            self._folder.put_file(file, name(sha256_of(file)))
        return count


def _wanted(files: Iterable[DataFile], first: date, last: date, as_of: date, since: date) -> list[DataFile]:
    return [file for file in files if first <= file.day <= last and since <= file.night <= as_of]


def _removals(listing: Iterable[str], as_of: date) -> list[str]:
    """The files of removals that the nights up to `as_of` delivered, sorted."""
    found = ((date.fromisoformat(m[1]), path) for path in listing if (m := REMOVAL.fullmatch(path)))
    return [path for night, path in sorted(found) if night <= as_of]


def _inside(path: str) -> str:
    """The path as digests name it; interactions are named as older versions did."""
    return plain_name(path).removeprefix("interactions")


def _pieces(batches: Iterable[pa.RecordBatch], timezone: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    """Cut each batch where the day changes: (day, rows of that day)."""
    for batch in batches:
        local = pc.local_timestamp(pc.cast(batch.column("ts"), pa.timestamp("us", timezone)))
        days = pc.cast(local, pa.date32(), safe=False)
        for day in pc.unique(days).to_pylist():
            yield day, batch.filter(pc.equal(days, pa.scalar(day, pa.date32())))
