"""A whole delivery: its files, read into one Parquet file of typed rows, and its separate feedback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import COLUMNS
from pipelines.data import delivery
from pipelines.data.reader.columns import absent_columns, unusable_columns
from pipelines.data.reader.feedback import read_feedback
from pipelines.data.reader.files import rows_of_file
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import RowReader
from pipelines.data.schema import FEEDBACK
from pipelines.data.typed import Seen, write_typed


@dataclass(frozen=True)
class ReadDelivery:
    """The typed rows, and what each file held."""

    typed: Path
    seen: list[Seen]

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.seen]

    @property
    def columns(self) -> list[str]:
        """Every column of any file, in the order of their appearance."""
        return list(dict.fromkeys(chain.from_iterable(one.columns for one in self.seen)))

    def unusable(self, settings: Ingest) -> list[str]:
        """Why these files cannot be used with these settings; none where they can."""
        by_file = chain.from_iterable(unusable_columns(one.name, one.columns, settings) for one in self.seen)
        return [*by_file, *absent_columns(self.columns, settings.columns, "ingest.columns")]

    def ignored(self, settings: Ingest) -> list[str]:
        """Columns that nothing reads. Another format's are read by name, deep inside."""
        if settings.format != "nightshift":
            return []
        read = {*COLUMNS, "prompt", *(path.partition(".")[0] for path in settings.columns.values())}
        return sorted(set(self.columns) - read - set(settings.columns.values()))


@dataclass(frozen=True)
class ReadFeedback:
    """Separate feedback: the newest of each request, what was left out, what is wrong with its columns."""

    newest: pa.Table
    read: int = 0
    superseded: int = 0
    refused: dict[str, int] | None = None  # by reason; None where no separate feedback is set up
    unusable: tuple[str, ...] = ()


def read_delivery(source: str, settings: Ingest, reader: RowReader, work: Path) -> ReadDelivery:
    """Read every file of a source. Raises InputError where one cannot be read at all."""
    files = delivery.fetch(source, work / "delivery")
    rows = [(name, rows_of_file(file, name, settings.csv_nulls)) for name, file in files]
    typed = work / "typed.parquet"
    return ReadDelivery(typed, write_typed(typed, rows, reader.read))


def read_separate_feedback(source: str, settings: Ingest, work: Path) -> ReadFeedback:
    """Read `ingest.feedback`, where it is set. Raises InputError where a file cannot be read at all."""
    if not source:
        return ReadFeedback(FEEDBACK.empty_table())
    files = delivery.fetch(source, work / "feedback")
    seen = [Seen(name) for name, _ in files]

    def rows() -> Iterator[Raw]:
        for one, (name, file) in zip(seen, files, strict=True):
            for raw in rows_of_file(file, name, settings.csv_nulls):
                one.note(raw)
                yield raw

    found = read_feedback(rows(), settings)
    return ReadFeedback(
        pa.Table.from_pylist(found.newest, FEEDBACK),
        found.read,
        found.superseded,
        found.refused,
        tuple(_unusable_feedback(seen, settings)),
    )


def _unusable_feedback(seen: list[Seen], settings: Ingest) -> list[str]:
    """Feedback needs request_id, and a rating or a correction."""
    mapping = settings.feedback_columns
    wrong = []
    for one in seen:
        has = [
            name
            for name in ("request_id", "rating", "correction")
            if mapping.get(name, name) in _heads(one, mapping)
        ]
        if one.rows and one.columns and ("request_id" not in has or len(has) < 2):
            wrong.append(
                f"The feedback {one.name} needs request_id and a rating or a correction; its columns are "
                f"{', '.join(one.columns)}. Name them under [ingest.feedback_columns]."
            )
    return wrong


def _heads(one: Seen, mapping: dict[str, str]) -> set[str]:
    dotted = {path for path in mapping.values() if path.partition(".")[0] in one.columns}
    return {*one.columns, *dotted}
