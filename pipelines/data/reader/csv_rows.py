"""Rows of CSV, with the separator that the header shows. A bad record costs its first line and not the file.

Python's reader does not tell `None` from `"None"`. A cell that reads like a null is therefore looked up in
the record's own text: only one without quotes is missing.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from pipelines.core.errors import InputError
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.text import MAX_LINE, NOT_UTF8, is_sound, mended

SEPARATORS = ",;\t|"
MAX_READ_AGAIN = 1 << 28  # characters; behind a quote that is not closed, lines are read again


def csv_rows(text: TextIO, name: str, nulls: Sequence[str]) -> Iterator[Raw]:
    """Every record below the header. Raises InputError for a header that cannot be used."""
    csv.field_size_limit(MAX_LINE)
    lines = _Lines(text)
    form = _form(lines)
    titles = _titles(lines, form, name)
    header = _header(titles, name)
    for record, problem, written in _records(lines, form, name):
        if not problem and len(record) != len(header):
            problem, count = (
                "another number of cells than the header",
                f"{len(record)} instead of {len(header)}",
            )
            yield Raw(None, problem, count, str(mended(written)))
        elif problem:
            yield Raw(None, "not CSV", problem, str(mended(written)))
        elif record == titles:
            yield Raw(None, "the header again", "", str(mended(written)))
        else:
            cells = _with_nulls(record, written, form, nulls)
            values = {key: cell for key, cell in zip(header, cells, strict=True) if key}
            yield Raw(values) if is_sound(written) else Raw(mended(values), NOT_UTF8)


def separator_of(header: str) -> str:
    """The sign that cuts the first line into the most cells; a comma where none does."""
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=outside_quotes.count)


class _Form(NamedTuple):
    """How the file is written; `is_spaced` where a space stands between a separator and a quote."""

    separator: str
    is_spaced: bool

    def reader(self, lines: Iterator[str]) -> Any:
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=self.is_spaced, strict=True)


def _form(lines: _Lines) -> _Form:
    separator = lines.declared_separator() or separator_of(lines.ahead())
    return _Form(separator, re.search(f'{re.escape(separator)} +"', lines.ahead()) is not None)


def _titles(lines: _Lines, form: _Form, name: str) -> list[str]:
    """The cells of the first line."""
    try:
        return next(form.reader(lines), [])
    except csv.Error as error:
        raise InputError(
            f"The first line of {name} cannot be read as a CSV header ({error}).",
            "Its lines must end in a line feed, and its quotes must be closed.",
        ) from error


def _header(titles: list[str], name: str) -> list[str]:
    """The names of the columns. Raises InputError for one that stands twice."""
    header = [str(mended(title)).strip() for title in titles]
    twins = sorted({key for key in header if key and header.count(key) > 1})
    if twins:
        raise InputError(f"{name} has the column {twins[0]} twice.", "Rename or remove one of them.")
    return header


def _records(lines: _Lines, form: _Form, name: str) -> Iterator[tuple[list[str], str, str]]:
    """(cells, problem or "", the record's text) of every record that is not blank."""
    reader, read_again = form.reader(lines), 0
    while True:
        lines.record = []
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            read_again += sum(map(len, lines.record[1:]))
            if read_again > MAX_READ_AGAIN:
                raise InputError(
                    f"{name} has quotes that are not closed.",
                    "Write its cells as RFC 4180 says, or as JSON lines.",
                ) from error
            yield [], str(error), lines.give_back_all_but_one()
            continue
        written = "".join(lines.record)
        if written.strip():
            yield record, "", written


def _with_nulls(record: list[str], written: str, form: _Form, nulls: Sequence[str]) -> list[str | None]:
    """The cells, None where a word of `nulls` stands without quotes."""
    if not any(cell in nulls for cell in record):
        return [*record]
    has_quotes = '"' in written
    bare = _cells(written, form) if has_quotes else written.rstrip("\r\n").split(form.separator)
    if len(bare) != len(record):  # cannot happen with a record that Python's strict reader takes
        return [*record]
    return [
        None if cell in nulls and not raw.startswith('"') else cell
        for cell, raw in zip(record, bare, strict=True)
    ]


def _cells(written: str, form: _Form) -> list[str]:
    """The record cut into cells, each with its quotes."""
    sign, space = re.escape(form.separator), " *" if form.is_spaced else ""
    cell = rf'(?:\A|(?<={sign})){space}("(?:[^"]|"")*"|[^{sign}\r\n]*)(?={sign}|\r?\n?\Z)'
    return re.findall(cell, written)


class _Lines:
    """The lines of a file for Python's reader. It knows the lines of the record that is being read."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._again = text, deque[str]()
        self.record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.record.append(line)
        return line

    def ahead(self) -> str:
        """The next line that is not blank. It stays to be read."""
        while not self._again and (line := self._text.readline(MAX_LINE)):
            if line.strip():
                self._again.append(line)
        return self._again[0] if self._again else ""

    def declared_separator(self) -> str:
        """Excel may begin a file with `sep=;`. That line is no record."""
        declared = re.fullmatch(r"sep=(.)\s*", self.ahead())
        if not declared:
            return ""
        self._again.clear()
        return declared[1]

    def give_back_all_but_one(self) -> str:
        """The record's first line; its others will be read again."""
        first, *others = self.record
        self._again.extendleft(reversed(others))
        return first
