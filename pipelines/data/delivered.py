"""A whole delivery: its files, read into one Parquet file of typed rows, and its separate feedback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import COLUMNS, CONSENT, FEEDBACK_COLUMNS, READ_BESIDES
from pipelines.data import delivery
from pipelines.data.reader.columns import absent_columns, listed, misspelt, unread_consents, unusable_columns
from pipelines.data.reader.feedback import Feedback, read_feedback
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
    opt_out_if_silent: bool | None  # what a row means that says nothing of it; None: it is refused

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.seen]

    @property
    def columns(self) -> list[str]:
        """Every column of any file, in the order of their appearance."""
        return list(dict.fromkeys(chain.from_iterable(one.columns for one in self.seen)))

    def unusable(self, settings: Ingest) -> list[str]:
        """Why these files cannot be used with these settings; none where they can."""
        by_file = chain.from_iterable(
            unusable_columns(one.name, one.columns, one.consents, settings) for one in self.seen
        )
        return [*by_file, *absent_columns(self.columns, settings.columns, "ingest.columns")]

    def ignored(self, settings: Ingest) -> list[str]:
        """Columns that nothing reads. Another format's are read by name, deep inside."""
        if settings.format != "nightshift":
            return []
        read = {*COLUMNS, *READ_BESIDES, *(path.partition(".")[0] for path in settings.columns.values())}
        return sorted(set(self.columns) - read - {*settings.columns.values(), *settings.ignore})


@dataclass(frozen=True)
class ReadFeedback:
    """Separate feedback: the newest of each request, what was left out, what is wrong with its columns."""

    newest: pa.Table
    told: Feedback | None = None  # None where no separate feedback is set up
    files: int = 0
    unusable: tuple[str, ...] = ()

    @property
    def opted_out(self) -> list[str]:
        """The requests whose people took their consent back."""
        return sorted(self.told.opted_out) if self.told else []


def read_delivery(source: str, settings: Ingest, reader: RowReader, work: Path) -> ReadDelivery:
    """Read every file of a source. Raises InputError where one cannot be read at all."""
    files = delivery.fetch(source, work / "delivery")
    rows = [(name, rows_of_file(file, name, settings.csv_nulls, settings.encoding)) for name, file in files]
    typed = work / "typed.parquet"
    seen = write_typed(typed, rows, reader.read)
    return ReadDelivery(typed, seen, settings.opt_out_if_missing if reader.states_consent else False)


def read_separate_feedback(source: str, settings: Ingest, work: Path) -> ReadFeedback:
    """Read `ingest.feedback`, where it is set. Raises InputError where a file cannot be read at all."""
    if not source:
        return ReadFeedback(FEEDBACK.empty_table())
    files = delivery.fetch(source, work / "feedback")
    seen = [Seen(name) for name, _ in files]

    def rows() -> Iterator[Raw]:
        for one, (name, file) in zip(seen, files, strict=True):
            for raw in rows_of_file(file, name, settings.csv_nulls, settings.encoding):
                one.note(raw)
                yield raw

    told = read_feedback(rows(), settings)
    newest = pa.Table.from_pylist(told.newest, FEEDBACK)
    return ReadFeedback(newest, told, len(files), tuple(_unusable_feedback(seen, settings)))


def _unusable_feedback(seen: list[Seen], settings: Ingest) -> list[str]:
    """Feedback needs request_id, and a rating or a correction. None of them is ignored for its spelling."""
    mapping, setting = settings.feedback_columns, "ingest.feedback_columns"
    wrong = []
    for one in seen:
        heads, columns = _heads(one, mapping), list(one.columns)
        sentences = unread_consents(one.consents, mapping, settings.ignore, setting)
        sentences += misspelt(FEEDBACK_COLUMNS, columns, mapping, settings.ignore, setting)
        has = [name for name in (*FEEDBACK_COLUMNS[:3], *CONSENT) if mapping.get(name, name) in heads]
        if columns and not sentences and ("request_id" not in has or len(has) < 2):
            sentences.append(
                f"needs request_id and a rating or a correction; its columns are {listed(columns)}. "
                f"Name them under [{setting}]."
            )
        wrong += [f"The feedback {one.name} {sentence}" for sentence in sentences]
    return wrong


def _heads(one: Seen, mapping: dict[str, str]) -> set[str]:
    dotted = {path for path in mapping.values() if path.partition(".")[0] in one.columns}
    return {*one.columns, *dotted}
