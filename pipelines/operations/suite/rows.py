"""The rows that evaluation items are drawn from: of the lake, or of files that no night has read yet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.data import delivery, open_lake
from pipelines.data.delivered import read_delivery
from pipelines.data.intake import Intake
from pipelines.data.lake import Lake, as_sql_list, connect
from pipelines.data.row_reader import RowReader
from pipelines.data.schema import rows_of
from pipelines.data.separate_feedback import read_separate_feedback

MOST_ROWS = 5_000  # of a log; embedding them takes about half a minute
EVERY_DAY = 36_500
DRAWN = f"ORDER BY md5(request_id) LIMIT {MOST_ROWS}"


def rows_of_lake(config: Config, today: date) -> list[dict[str, Any]]:
    """Rows of the lake, at most MOST_ROWS, drawn by a hash. Raises InputError where it has none."""
    lake = open_lake(config)
    rows = rows_of(lake.query(f"SELECT * FROM interactions {DRAWN}", date.min, today, today))
    if not rows:
        raise InputError(
            "The lake has no rows yet.",
            "Name a log file: `nightshift suite propose FILE`, or run a night first.",
        )
    return rows


def rows_of_files(config: Config, source: str, today: date) -> list[dict[str, Any]]:
    """Good rows of log files with their feedback, at most MOST_ROWS, drawn by a hash.

    They are read as `ingest` reads them, whatever their day. Raises InputError where there is no log, or one
    that the profile does not understand.
    """
    settings = config.ingest.model_copy(update={"late_days": EVERY_DAY})
    config = config.model_copy(update={"ingest": settings})
    if not delivery.names(source):
        raise InputError(f"There is no log at {source}.", "Correct the path.")
    with _work_folder(config) as work, connect(settings.memory_mib, work) as connection:
        files = read_delivery(source, settings, RowReader(config, today), work)
        told = read_separate_feedback(config.path(settings.feedback, today), settings, work, connection)
        if unusable := [*files.unusable(settings), *(told.unusable if told else ())]:
            raise InputError(" ".join(unusable), "`nightshift inspect FILE` proposes a mapping.")
        intake = Intake(connection, files.typed, files.opt_out_if_silent)
        intake.classify(today, EVERY_DAY, Lake(str(work / "empty"), settings.memory_mib))
        intake.write_kept(work / "rows.parquet")
        kept = f"read_parquet({as_sql_list([str(work / 'rows.parquet')])})"
        rows = rows_of(connection.sql(f"SELECT * FROM {kept} {DRAWN}").to_arrow_table())
    if not rows:
        raise InputError(
            f"The log {source} has no row that can be used: all are faulty, or their people opted out.",
            "`nightshift inspect FILE` says what is wrong with each.",
        )
    return rows


@contextmanager
def _work_folder(config: Config) -> Iterator[Path]:
    """A folder of the home for copies of the log. They may hold the text of people who opted out."""
    scratch = Path(config.home) / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="suite-", dir=scratch) as work:
        yield Path(work)
