"""One delivered file as rows, whatever its format. Its content says which that is; its name only helps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.core.errors import InputError
from pipelines.data.reader.csv_rows import csv_rows
from pipelines.data.reader.json_rows import json_rows
from pipelines.data.reader.parquet_rows import parquet_rows
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.text import as_text, encoding_of
from pipelines.data.reader.unpack import packing_of, plain_name, unpacked

JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
HEAD_BYTES = 4_096
FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PK\x05\x06": "an empty zip archive",
    b"ARROW1\x00\x00": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3\x00": "a SQLite database",
    b"%PDF-": "a PDF",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
}
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # bytes that no text has


@dataclass(frozen=True)
class Form:
    """What a file was recognised as. `packing` and `encoding` are None where it has none."""

    kind: str  # JSON, CSV or Parquet
    packing: str | None
    encoding: str | None


def form_of(file: Path, name: str) -> Form:
    """Recognise a file by its first bytes. Raises InputError for what is no log."""
    packing = packing_of(file)
    with unpacked(file, name) as data:
        head = data.read(HEAD_BYTES)
    is_binary = CONTROL.search(head) is not None  # a header may begin with the letters PAR1, ORC or PK_
    if head.startswith(b"PAR1") and is_binary:
        return Form("Parquet", packing, None)
    foreign = next((what for magic, what in FOREIGN.items() if head.startswith(magic) and is_binary), None)
    encoding = encoding_of(head)
    text = head.decode(encoding, "replace").lstrip()
    if foreign or "\x00" in text.partition("\n")[0]:
        raise InputError(
            f"{name} is {foreign or 'binary data'}, which is not read.",
            "Convert it to Parquet, JSON lines or CSV, or narrow ingest.source.",
        )
    ending = PurePosixPath(plain_name(name)).suffix.lower()
    is_json = text.startswith(("{", "[")) or ending in JSON_ENDINGS
    if ending in (".parquet", ".pq"):
        raise InputError(
            f"{name} is not a readable Parquet file (it does not begin as one).", "Deliver the file again."
        )
    return Form("JSON" if is_json else "CSV", packing, encoding)


def rows_of_file(file: Path, name: str, csv_nulls: Sequence[str], encoding: str = "") -> Iterator[Raw]:
    """Every row of a file, in its order. Raises InputError where it cannot be read as a whole.

    `encoding` is of a text without a mark; empty: UTF-8.
    """
    form = form_of(file, name)
    if form.kind == "Parquet" and not form.packing:
        yield from parquet_rows(file, name)
        return
    if form.kind == "Parquet":
        raise InputError(
            f"{name} is a Parquet file inside {form.packing}.", "Unpack it: Parquet is compressed itself."
        )
    with unpacked(file, name) as data:
        text = as_text(data, encoding)
        try:
            yield from json_rows(text, name) if form.kind == "JSON" else csv_rows(text, name, csv_nulls)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name} is not {encoding}: {error.reason}.", "Correct ingest.encoding, or convert the file."
            ) from error
