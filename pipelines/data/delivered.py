"""A whole delivery: its files, read into one Parquet file of typed rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import COLUMNS, READ_BESIDES
from pipelines.data import delivery
from pipelines.data.reader.columns import absent_columns, unusable_columns
from pipelines.data.reader.files import rows_of_file
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import RowReader
from pipelines.data.typed import Seen, write_typed

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # in a folder's name


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
            unusable_columns(one.name, one.columns, settings, one.consents, one.systems) for one in self.seen
        )
        return [*by_file, *absent_columns(self.columns, settings.columns, "ingest.columns")]

    def ignored(self, settings: Ingest) -> list[str]:
        """Columns that nothing reads. Another format's are read by name, deep inside."""
        if settings.format != "nightshift":
            return []
        read = {*COLUMNS, *READ_BESIDES, *(path.partition(".")[0] for path in settings.columns.values())}
        return sorted(set(self.columns) - read - {*settings.columns.values(), *settings.ignore})


def with_partitions(name: str, rows: Iterable[Raw]) -> Iterator[Raw]:
    """The rows with what their folders say: tables are often parted into `tenant=acme/` and the like."""
    parts = (part.partition("=") for part in PurePosixPath(name).parts[:-1])
    values = {
        key: None if value == NO_VALUE else unquote(value) for key, sign, value in parts if sign and key
    }
    for raw in rows:
        yield raw._replace(values={**values, **raw.values}) if values and raw.values is not None else raw


def read_delivery(source: str, settings: Ingest, reader: RowReader, work: Path) -> ReadDelivery:
    """Read every file of a source. Raises InputError where one cannot be read at all."""
    files = delivery.fetch(source, work / "delivery")
    rows = [
        (name, with_partitions(name, rows_of_file(file, name, settings.csv_nulls, settings.encoding)))
        for name, file in files
    ]
    typed = work / "typed.parquet"
    seen = write_typed(typed, rows, reader.read)
    return ReadDelivery(typed, seen, settings.opt_out_if_missing if reader.states_consent else False)
