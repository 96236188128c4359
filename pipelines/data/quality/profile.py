"""A night's rows as the data contract checks them: lengths and counts, never the texts. DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.core.interactions import COLUMNS
from pipelines.data.lake import as_sql_list, write_parquet
from pipelines.data.schema import SCHEMA

BATCH_ROWS = 8_192
REFUSED = pa.schema(
    [("row", pa.int64()), ("request_id", pa.string()), ("reason", pa.string()), ("raw", pa.string())]
)


class NightRows:
    """The rows that ingest wrote, numbered from 0 in their order."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        connection.execute(
            "CREATE VIEW numbered AS SELECT * RENAME (file_row_number AS row) "
            f"FROM read_parquet({as_sql_list([str(path)])}, file_row_number = true)"
        )
        connection.execute("CREATE TABLE refused (row BIGINT, reason VARCHAR)")

    def chunks(self, profile: str, rows: int) -> Iterator[pd.DataFrame]:
        """The columns of `profile` beside `row`, at most `rows` rows at a time; once where there are none."""
        reader = self._connection.sql(f"SELECT row, {profile} FROM numbered ORDER BY row").to_arrow_reader(
            BATCH_ROWS
        )
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            if waiting and sum(held.num_rows for held in waiting) + batch.num_rows > rows:
                yield pa.Table.from_batches(waiting).to_pandas()
                waiting = []
            waiting.append(batch)
        yield pa.Table.from_batches(waiting, reader.schema).to_pandas()

    def refuse(self, reasons: Sequence[tuple[str, np.ndarray]]) -> int:
        """Mark rows as refused, each with all its reasons; returns how many rows that is."""
        for reason, rows in reasons:
            found = pa.table({"row": rows})
            self._connection.register("found", found)
            self._connection.execute("INSERT INTO refused SELECT row, $1 FROM found", [reason])
        return int(self._connection.execute("SELECT count(DISTINCT row) FROM refused").fetchall()[0][0])

    def totals(self, profile: str) -> dict[str, int]:
        """The aggregates of `profile`, by name, over the rows that are not refused."""
        table = self._connection.sql(f"SELECT {profile} FROM ({self._passing()})").to_arrow_table()
        return table.to_pylist()[0]

    def passing(self) -> Iterator[pa.RecordBatch]:
        """The rows that are not refused, in their order."""
        listed = ", ".join(COLUMNS)
        sql = f"SELECT {listed} FROM ({self._passing()}) ORDER BY row"
        for batch in self._connection.sql(sql).to_arrow_reader(BATCH_ROWS):
            yield batch.cast(SCHEMA)

    def write_refused(self, target: Path) -> int:
        """The refused rows with their reasons and the row itself as JSON."""
        fields = ", ".join(f"{name} := {name}" for name in COLUMNS)
        sql = f"""
            SELECT row, request_id, reason, CAST(to_json(struct_pack({fields})) AS VARCHAR) AS raw
            FROM numbered JOIN (SELECT row, string_agg(reason, '; ' ORDER BY reason) AS reason
                                FROM refused GROUP BY row) USING (row) ORDER BY row"""
        return write_parquet(target, self._connection.sql(sql).to_arrow_reader(BATCH_ROWS), REFUSED)

    def _passing(self) -> str:
        return "SELECT * FROM numbered ANTI JOIN refused USING (row)"
