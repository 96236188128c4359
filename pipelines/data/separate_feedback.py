"""Separate feedback as tables of a connection, in bounded memory: one file may grow for years.

`feedback` has the newest of each request: by feedback_ts, else by its place. `withdrawn` has the requests
whose people want no learning from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import CONSENT, FEEDBACK_COLUMNS
from pipelines.data import delivery
from pipelines.data.lake import as_sql_list
from pipelines.data.reader.columns import listed, misspelt, unread_consents
from pipelines.data.reader.feedback import FeedbackReader, Told
from pipelines.data.reader.files import rows_of_file
from pipelines.data.schema import FEEDBACK
from pipelines.data.typed import Seen

BATCH_ROWS = 8_192
TOLD = pa.schema([*FEEDBACK, ("opt_out", pa.bool_()), ("problem", pa.string()), ("place", pa.int64())])
_TABLES = """
    CREATE TABLE withdrawn AS SELECT DISTINCT request_id FROM {told} WHERE opt_out;
    CREATE TABLE feedback AS SELECT * EXCLUDE (opt_out, problem, place) FROM {told}
      WHERE problem IS NULL AND NOT opt_out
      AND request_id NOT IN (SELECT request_id FROM withdrawn)
      QUALIFY row_number() OVER (
        PARTITION BY request_id ORDER BY feedback_ts DESC NULLS LAST, place DESC) = 1;
"""
_COUNTS = """
    SELECT count(*), count(*) FILTER (problem IS NULL AND request_id IN (SELECT request_id FROM withdrawn)),
      (SELECT count(*) FROM feedback) FROM {told}
"""
_REFUSED = (
    "SELECT problem, count(*) FROM {told} WHERE problem IS NOT NULL GROUP BY problem ORDER BY 2 DESC, 1"
)


@dataclass(frozen=True)
class SeparateFeedback:
    """read = refused + withdrawn + superseded + the rows of `feedback`."""

    files: int = 0
    read: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # by reason
    withdrawn: int = 0  # rows of requests whose people opted out
    superseded: int = 0  # another row of the same request is newer
    unusable: tuple[str, ...] = ()  # why the files cannot be used with these settings


def read_separate_feedback(
    source: str, settings: Ingest, work: Path, connection: duckdb.DuckDBPyConnection
) -> SeparateFeedback | None:
    """Read `ingest.feedback` into tables. None, and empty tables, where `source` is empty.

    Raises InputError where a file cannot be read at all.
    """
    files = delivery.fetch(source, work / "feedback") if source else []
    seen = [Seen(name) for name, _ in files]
    reader = FeedbackReader(settings)

    def rows() -> Iterator[Told]:
        for one, (name, file) in zip(seen, files, strict=True):
            for raw in rows_of_file(file, name, settings.csv_nulls, settings.encoding):
                one.note(raw)
                yield reader.read(raw)

    found = load_feedback(rows(), work / "feedback.parquet", connection)
    if not source:
        return None
    return SeparateFeedback(
        **{**vars(found), "files": len(files), "unusable": tuple(_unusable(seen, settings))}
    )


def load_feedback(
    rows: Iterable[Told], target: Path, connection: duckdb.DuckDBPyConnection
) -> SeparateFeedback:
    """Write the rows to `target`, and make the tables `feedback` and `withdrawn` of them."""
    told, place = iter(rows), 0
    with pq.ParquetWriter(target, TOLD) as writer:
        while batch := list(islice(told, BATCH_ROWS)):
            columns = dict(zip(Told._fields, zip(*batch, strict=True), strict=True))
            places = range(place, place := place + len(batch))
            writer.write_table(pa.table({**columns, "place": places}, TOLD))
    table = f"read_parquet({as_sql_list([str(target)])})"
    connection.execute(_TABLES.format(told=table))
    ((read, withdrawn, newest),) = connection.execute(_COUNTS.format(told=table)).fetchall()
    refused = dict(connection.execute(_REFUSED.format(told=table)).fetchall())
    superseded = read - sum(refused.values()) - withdrawn - newest
    return SeparateFeedback(read=read, refused=refused, withdrawn=withdrawn, superseded=superseded)


def _unusable(seen: list[Seen], settings: Ingest) -> Iterator[str]:
    """Feedback needs request_id, and a rating or a correction. None of them is ignored for its spelling."""
    mapping, setting = settings.feedback_columns, "ingest.feedback_columns"
    for one in seen:
        columns = list(one.columns)
        sentences = unread_consents(one.consents, mapping, settings.ignore, setting)
        sentences += misspelt(FEEDBACK_COLUMNS, columns, mapping, settings.ignore, setting)
        if columns and not sentences and not _suffices(one, mapping):
            sentences.append(
                f"needs request_id and a rating or a correction; its columns are {listed(columns)}. "
                f"Name them under [{setting}]."
            )
        yield from (f"The feedback {one.name} {sentence}" for sentence in sentences)


def _suffices(one: Seen, mapping: dict[str, str]) -> bool:
    dotted = {path for path in mapping.values() if path.partition(".")[0] in one.columns}
    heads = {*one.columns, *dotted}
    has = [name for name in chain(FEEDBACK_COLUMNS[:3], CONSENT) if mapping.get(name, name) in heads]
    return "request_id" in has and len(has) > 1
