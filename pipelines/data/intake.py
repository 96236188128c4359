"""Each delivered row is kept, quarantined or dropped, with one reason. DuckDB, over the typed rows.

Of several copies of a request the one with the newest feedback is kept: by `feedback_ts`, else by its place
in the delivery. It keeps the time that the request had first, so that a request never counts in two nights.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.core.interactions import COLUMNS
from pipelines.data.lake import REMOVALS, Lake, as_sql_list, write_parquet
from pipelines.data.schema import FEEDBACK, SCHEMA

QUARANTINE = pa.schema(
    [
        ("file", pa.string()),  # its path below ingest.source
        ("row", pa.int64()),  # from 1, blank lines not counted
        ("request_id", pa.string()),
        ("reason", pa.string()),
        ("found", pa.string()),  # what was there instead, shortened; "" where nothing can be shown
        ("raw", pa.string()),  # JSON: the row, or {"text", "bytes"} when cut, or {"withheld", "bytes"}
    ]
)

_TYPED = """
    CREATE VIEW typed AS
    SELECT * REPLACE (coalesce(opt_out, {silent}) AS opt_out) FROM read_parquet({{files}})
"""
# A row without a consent among rows that have one is refused, and its text is shown nowhere.
_REFUSING = """
    CREATE VIEW typed AS
    WITH rows AS (
      SELECT *, opt_out IS NULL AND is_clear AS silent FROM read_parquet({files}))
    SELECT * EXCLUDE silent REPLACE (
      coalesce(opt_out, false) AS opt_out,
      if(silent, coalesce(fault, 'opt_out is missing'), fault) AS fault,
      if(silent, '', found) AS found,
      if(silent, '{{"withheld": "opt_out is missing"}}', raw) AS raw) FROM rows
"""
# Everything but the texts. A row without a name is named by its content, and counted where that repeats.
_LIGHT = """
    CREATE TABLE light AS
    SELECT file_no, row_no, ts, fault, is_chat, is_clear, content_key,
      if(fault IS NULL, hash(tenant, completion, messages), NULL) AS content,
      t.opt_out OR coalesce(t.request_id IN (SELECT request_id FROM withdrawn), false) AS opt_out,
      coalesce(t.request_id, content_key || '-' || row_number() OVER (
        PARTITION BY content_key ORDER BY file_no, row_no)) AS request_id,
      if(f.newer, f.rating, t.rating) AS rating,
      if(f.newer, f.correction, t.correction) AS correction,
      if(f.newer, f.feedback_ts, t.feedback_ts) AS feedback_ts
    FROM typed AS t LEFT JOIN LATERAL (
      SELECT *, t.feedback_ts IS NULL OR feedback.feedback_ts IS NULL
        OR feedback.feedback_ts >= t.feedback_ts OR (t.rating IS NULL AND t.correction IS NULL) AS newer
      FROM feedback WHERE feedback.request_id = t.request_id) AS f ON true
"""
# `unclear`: another copy of the request has a consent that cannot be read. `content`: two answers of one name
# are no copies, and nobody knows which of them the feedback means.
_CLASSIFIED = """
    CREATE TABLE classified AS
    WITH wished AS (
      SELECT *, rating IS NOT NULL OR correction IS NOT NULL AS told,
        coalesce(bool_or(opt_out) OVER person, false) OR coalesce(request_id IN ({removed}), false) AS out,
        NOT bool_and(is_clear) OVER person AS unclear
      FROM light
      WINDOW person AS (PARTITION BY coalesce(content_key, request_id, concat(file_no, ':', row_no)))),
    ranked AS (
      SELECT *, min(ts) OVER same AS first_ts, min(content) OVER same <> max(content) OVER same AS differ,
        row_number() OVER (same ORDER BY told DESC, feedback_ts DESC NULLS LAST,
          if(told, -file_no, file_no), if(told, -row_no, row_no)) AS copy
      FROM wished WINDOW same AS (PARTITION BY request_id, fault IS NULL)),
    reasoned AS (
      SELECT file_no, row_no, ranked.request_id, ranked.rating, ranked.correction, ranked.feedback_ts,
        coalesce(known.ts, first_ts) AS ts,
        CASE WHEN out THEN 'opted out' WHEN fault IS NOT NULL THEN fault
             WHEN unclear THEN 'a copy has an opt_out that cannot be read'
             WHEN differ THEN 'several answers have this request_id'
             WHEN copy > 1 THEN 'twice in the delivery'
             WHEN known.content <> ranked.content THEN 'another answer in the lake has this request_id'
             WHEN known.request_id IS NOT NULL AND NOT coalesce({news}, false) THEN 'already in the lake'
        END AS reason,
        NOT out AND ((fault IS NOT NULL AND is_chat) OR (fault IS NULL AND (differ OR unclear))) AS bad
      FROM ranked LEFT JOIN known ON known.request_id = ranked.request_id AND fault IS NULL)
    SELECT *, CASE WHEN reason IS NULL THEN 'kept' WHEN bad THEN 'quarantined' ELSE 'dropped' END AS answer
    FROM reasoned
"""
# New feedback: there is some, it differs, and it is not older. A row without feedback takes none back.
_NEWS = """
    ({new}.rating IS NOT NULL OR {new}.correction IS NOT NULL)
    AND (known.rating, known.correction) IS DISTINCT FROM ({new}.rating, {new}.correction)
    AND NOT coalesce(known.feedback_ts > {new}.feedback_ts, false)
"""
# A row that is refused for another one. It has no `raw` of its own; a person's unclear consent shows no text.
_GOOD = (
    "CASE WHEN starts_with(reason, 'a copy has') THEN {'withheld': reason} "
    "ELSE {'request_id': typed.request_id, 'tenant': tenant, 'messages': messages, "
    "'completion': completion} END"
)
_SUBJECT = "coalesce(subject_id, conversation_id, classified.request_id)"


class Intake:
    """The typed rows of one delivery, and the feedback that came apart from it.

    The connection has the tables `feedback` and `withdrawn` of `separate_feedback`.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, typed: Path, opt_out_if_silent: bool | None
    ) -> None:
        """`opt_out_if_silent` is what a row means that says nothing of it; None: such a row is refused."""
        self._connection = connection
        view = _REFUSING if opt_out_if_silent is None else _TYPED.format(silent=opt_out_if_silent)
        connection.execute(view.format(files=as_sql_list([str(typed)])))

    def classify(self, night: date, late_days: int, lake: Lake) -> None:
        """Keep, quarantine or drop every row, and find the feedback for answers of earlier nights.

        Rows are known again for `late_days`.
        """
        before = night - timedelta(days=1)
        files = lake.files(night - timedelta(days=late_days), night, before)
        run = self._connection.execute
        run(f"CREATE VIEW lake AS {lake.scan(self._connection, files, before)}")
        run(_LIGHT)
        asked = "SELECT request_id FROM light UNION ALL SELECT request_id FROM feedback"
        run(
            "CREATE TABLE known AS SELECT request_id, min(ts) AS ts, max_by(rating, delivered) AS rating, "
            "max_by(correction, delivered) AS correction, max(feedback_ts) AS feedback_ts, "
            "max_by(hash(tenant, completion, messages), delivered) AS content "
            f"FROM lake WHERE request_id IN ({asked}) GROUP BY request_id"
        )
        removed = lake.removed(self._connection, before) or "SELECT NULL"
        run(_CLASSIFIED.format(removed=removed, news=_NEWS.format(new="ranked")))
        run(
            "CREATE TABLE redelivered AS SELECT feedback.* FROM feedback JOIN known USING (request_id) "
            f"WHERE request_id NOT IN (SELECT request_id FROM classified WHERE request_id IS NOT NULL) "
            f"AND {_NEWS.format(new='feedback')}"
        )

    def accounting(self) -> list[tuple[str, str, int]]:
        """(answer, reason, number of rows), most rows first."""
        return self._rows(
            "SELECT answer, coalesce(reason, 'clean'), count(*) FROM classified "
            "GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        )

    def accounting_by_file(self) -> list[tuple[int, str, int]]:
        """(number of the file, answer, number of rows)."""
        return self._rows("SELECT file_no, answer, count(*) FROM classified GROUP BY ALL ORDER BY 1, 2")

    def commonest_faults(self, most: int) -> list[tuple[str, int, str]]:
        """(reason, number of rows, an example of what was found) of the quarantined rows."""
        return self._rows(
            f"SELECT reason, count(*), coalesce(min(nullif(found, '')), '') FROM classified "
            "JOIN typed USING (file_no, row_no) WHERE answer = 'quarantined' "
            f"GROUP BY reason ORDER BY 2 DESC, 1 LIMIT {most}"
        )

    def feedback_fates(self) -> dict[str, int]:
        """What became of the separate feedback, request by request."""
        fates = """
            SELECT CASE WHEN request_id IN (SELECT request_id FROM classified WHERE answer = 'kept')
                          THEN 'joined'
                        WHEN request_id IN (SELECT request_id FROM redelivered) THEN 'redelivered'
                        WHEN request_id IN (SELECT request_id FROM known) THEN 'unchanged'
                        ELSE 'unmatched' END AS fate, count(*) FROM feedback GROUP BY fate"""
        return dict(self._rows(fates))

    def write_kept(self, target: Path) -> int:
        """The kept rows and the answers that got new feedback, typed, sorted by ts and request_id."""
        own = {name: f"classified.{name}" for name in (*FEEDBACK.names, "ts")} | {"subject_id": _SUBJECT}
        kept = ", ".join(f"{own.get(name, f'typed.{name}')} AS {name}" for name in COLUMNS)
        new = ("rating", "correction", "feedback_ts")
        again = ", ".join(f"redelivered.{name}" if name in new else f"lake.{name}" for name in COLUMNS)
        sql = (
            f"SELECT {kept} FROM typed JOIN classified USING (file_no, row_no) "
            f"WHERE answer = 'kept' UNION ALL BY NAME "
            f"SELECT {again} FROM lake JOIN redelivered ON lake.request_id = redelivered.request_id "
            "ORDER BY ts, request_id"
        )
        return write_parquet(target, self._read(sql), SCHEMA)

    def write_quarantined(self, target: Path, names: list[str]) -> int:
        """The refused rows with their reason. Where consent cannot be read, the row's text is withheld."""
        self._connection.register(
            "names", pa.table({"file_no": range(len(names)), "file": pa.array(names, pa.string())})
        )
        sql = (
            "SELECT file, row_no AS row, left(classified.request_id, 200) AS request_id, reason, found, "
            f"coalesce(raw, to_json({_GOOD}), '') AS raw "
            "FROM typed JOIN classified USING (file_no, row_no) JOIN names USING (file_no) "
            "WHERE answer = 'quarantined' ORDER BY file_no, row_no"
        )
        return write_parquet(target, self._read(sql), QUARANTINE)

    def write_opted_out(self, target: Path) -> int:
        """The requests whose people want no learning from them."""
        sql = (
            "SELECT request_id FROM light WHERE opt_out AND request_id IS NOT NULL "
            "UNION SELECT request_id FROM withdrawn ORDER BY 1"
        )
        return write_parquet(target, self._read(sql), REMOVALS)

    def late_rows(self, midnight: str) -> int:
        """Kept rows from before the night's day, which begins at `midnight` (ISO 8601)."""
        sql = f"SELECT count(*) FROM classified WHERE answer = 'kept' AND ts < TIMESTAMPTZ '{midnight}'"
        return int(self._rows(sql)[0][0])

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def _read(self, sql: str) -> Iterator[pa.RecordBatch]:
        yield from self._connection.sql(sql).to_arrow_reader(8_192)
