"""Each delivered row is kept, quarantined or dropped, with one reason. DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.core.interactions import COLUMNS, INTERACTION, TEXT_COLUMNS, Kind
from pipelines.data.lake import Lake, write_parquet
from pipelines.data.scans import Scan
from pipelines.data.schema import SCHEMA

RAW_BYTES = 4_096  # a longer raw row is cut in quarantine
QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),  # from 1, blank lines not counted
        ("request_id", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),  # JSON: the row, or {"text", "bytes"} when cut, or {"withheld", "bytes"}
    ]
)
WORDS: dict[Kind, str] = {
    "text": "text",
    "time": "a time",
    "messages": "a list of messages",
    "int8": "a small whole number",
    "int32": "a whole number",
    "float64": "a finite number",
    "bool": "true or false",
}

_NOTHING_KNOWN = "SELECT NULL::VARCHAR AS request_id, NULL::TINYINT AS rating, NULL::VARCHAR AS correction"
# A row that is delivered again is kept where it brings new feedback; without feedback it takes none back.
_FEEDBACK_CAME = """
    (numbered.rating IS NOT NULL OR numbered.correction IS NOT NULL)
    AND (known.rating, known.correction) IS DISTINCT FROM (numbered.rating, numbered.correction)
"""


class Intake:
    """The rows of one delivery, loaded into `connection`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, scans: list[Scan], max_text_bytes: int) -> None:
        self._connection = connection
        connection.execute(
            f"CREATE VIEW delivery AS SELECT *, {_fault(max_text_bytes)} AS fault FROM ("
            f"{' UNION ALL '.join(f'SELECT * EXCLUDE (whole) FROM ({scan.sql})' for scan in scans)})"
        )
        self._scans = scans

    def classify(self, night: date, late_days: int, lake: Lake) -> list[tuple[str, str, int]]:
        """Keep, quarantine or drop every row. Returns (answer, reason, number of rows), most rows first."""
        oldest = night - timedelta(days=late_days)
        files = lake.files(oldest, night, night - timedelta(days=1))
        known = lake.scan(self._connection, files) if files else _NOTHING_KNOWN
        self._connection.execute(
            f"""
            CREATE TABLE classified AS
            WITH light AS (
              SELECT file_no, row_no, request_id, ts, fault, rating, correction,
                bool_or(opt_out) OVER (
                  PARTITION BY coalesce(request_id, concat(file_no, ':', row_no))) AS out,
                CASE WHEN ts IS NULL THEN NULL
                     WHEN CAST(ts AS DATE) > DATE '{night}' THEN 'from the future'
                     WHEN CAST(ts AS DATE) < DATE '{oldest}' THEN 'more than {late_days} days late'
                END AS misdated
              FROM delivery),
            numbered AS (
              SELECT *, coalesce(fault, misdated) AS refused,
                row_number() OVER (PARTITION BY request_id, coalesce(fault, misdated) IS NULL
                                   ORDER BY ts, file_no, row_no) AS copy
              FROM light),
            reasoned AS (
              SELECT file_no, row_no,
                CASE WHEN out THEN 'opted out' WHEN refused IS NOT NULL THEN refused
                     WHEN copy > 1 THEN 'twice in the delivery'
                     WHEN EXISTS (SELECT 1 FROM ({known}) AS known
                                  WHERE known.request_id = numbered.request_id AND NOT ({_FEEDBACK_CAME}))
                     THEN 'already in the lake' END AS reason,
                NOT coalesce(out, false) AND refused IS NOT NULL AS bad
              FROM numbered)
            SELECT file_no, row_no, reason,
              CASE WHEN reason IS NULL THEN 'kept' WHEN bad THEN 'quarantined' ELSE 'dropped' END AS answer
            FROM reasoned"""
        )
        return self._connection.execute(
            "SELECT answer, coalesce(reason, 'clean'), count(*) FROM classified "
            "GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        ).fetchall()

    def write_kept(self, target: Path) -> int:
        """The kept rows, typed, sorted by ts and request_id."""
        columns = ", ".join(f"delivery.{name}" for name in COLUMNS)
        sql = (
            f"SELECT {columns} FROM delivery JOIN classified USING (file_no, row_no) WHERE answer = 'kept' "
            "ORDER BY ts, request_id"
        )
        return write_parquet(target, self._read(sql, []), SCHEMA)

    def write_quarantined(self, target: Path, names: list[str]) -> int:
        """The refused rows with their reason. Where consent cannot be read, the row's text is withheld."""
        batches = (
            batch
            for name, scan in zip(names, self._scans, strict=True)
            for batch in self._read(_refused(scan), [name])
        )
        return write_parquet(target, batches, QUARANTINE)

    def late_rows(self, night: date) -> int:
        """Kept rows that belong to an earlier day."""
        sql = (
            "SELECT count(*) FROM delivery JOIN classified USING (file_no, row_no) "
            f"WHERE answer = 'kept' AND CAST(ts AS DATE) < DATE '{night}'"
        )
        return int(self._connection.execute(sql).fetchall()[0][0])

    def _read(self, sql: str, parameters: list[str]) -> Iterator[pa.RecordBatch]:
        yield from self._connection.sql(sql, params=parameters).to_arrow_reader(8_192)


def _refused(scan: Scan) -> str:
    """SQL for one file's quarantined rows; its name is the parameter."""
    return f"""
        SELECT $1 AS file, row_no + 1 AS row, left(request_id, 200) AS request_id, reason,
          CASE WHEN opt_out IS NULL
               THEN to_json({{withheld: 'opt_out cannot be read', bytes: strlen(raw)}})
               WHEN strlen(raw) > {RAW_BYTES}
               THEN to_json({{text: left(raw, {RAW_BYTES}), bytes: strlen(raw)}})
               ELSE raw END AS raw
        FROM (SELECT row_no, request_id, opt_out, reason, {scan.raw} AS raw
              FROM ({scan.sql}) JOIN classified USING (file_no, row_no) WHERE answer = 'quarantined')
        ORDER BY row"""


def _fault(max_text_bytes: int) -> str:
    """SQL for the first thing that is wrong with a row, or NULL."""
    cases = [f"WHEN {test} THEN '{words}'" for test, words in _faults(max_text_bytes)]
    return f"CASE WHEN problem IS NOT NULL THEN problem {' '.join(cases)} END"


def _faults(max_text_bytes: int) -> list[tuple[str, str]]:
    found = []
    for name, kind, _, nullable in INTERACTION:
        if not nullable:
            found.append((f"NOT has_{name}", f"{name} is missing"))
        found.append((f"has_{name} AND {name} IS NULL", f"{name} is not {WORDS[kind]}"))
    found.append(("len(messages) = 0", "messages is empty"))
    incomplete = "len(list_filter(messages, lambda m: m.role IS NULL OR m.content IS NULL)) > 0"
    found.append((incomplete, "messages has one without role or content"))
    size = "list_sum(list_transform(messages, lambda m: strlen(m.role) + strlen(m.content)))"
    found.append((f"{size} > {max_text_bytes}", f"messages is longer than {max_text_bytes} bytes"))
    for name in TEXT_COLUMNS:
        found.append((f"strlen({name}) > {max_text_bytes}", f"{name} is longer than {max_text_bytes} bytes"))
    return found
