"""Which files of a lake count. A night's rows appear at once, however many days they belong to.

Each publication of a night has a number, which its files' names carry beside the sha256 of their bytes:
`interactions/dt=DAY/delivery=NIGHT.NUMBER.SHA256.parquet`. They count once
`published/delivery=NIGHT.NUMBER.done` is there, until a higher number is done. A process claims a number by
`.begun`, so no two have the same, and one that was paused and comes late changes nothing. Files of older
versions (`delivery=NIGHT.parquet`) count as number 0.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pipelines.stores.blobs import Folder, Stored

FILE = re.compile(
    r"interactions/dt=([0-9-]{10})/delivery=([0-9-]{10})(?:[.](\d{6})[.]([0-9a-f]{64}))?[.]parquet"
)
MARK = re.compile(r"published/delivery=([0-9-]{10})[.](\d{6})[.](begun|done)")
UNFINISHED = re.compile(r"[.]writing-[^/]*/.*")
LEFT_S = 86_400.0  # what a process that ended left behind goes after this time


@dataclass(frozen=True, order=True)
class DataFile:
    """A file of the lake, by its path below the root. `sha256` is empty for one of an older version."""

    day: date
    night: date
    path: str
    number: int
    sha256: str


class Publications:
    """What one listing of a lake says: `files` are those that count, sorted by day and night."""

    def __init__(self, listing: Mapping[str, Stored]) -> None:
        self._listing = listing
        self._marks = {path: found for path in listing if (found := MARK.fullmatch(path))}
        self._done: dict[date, int] = {}
        for night, number, state in map(re.Match.groups, self._marks.values()):
            if state == "done":
                day = date.fromisoformat(night)
                self._done[day] = max(self._done.get(day, 0), int(number))
        self._every = [file for path in listing if (file := _data_file(path))]
        self.files = sorted(file for file in self._every if file.number == self._done.get(file.night, 0))

    def next_number(self, night: date) -> int:
        """The number of the next publication of a night."""
        return 1 + max((int(m[2]) for m in self._marks.values() if m[1] == str(night)), default=0)

    def left_over(self, night: date, number: int) -> list[str]:
        """What nobody reads any more, once `number` of this night is done, and what others left a day ago."""
        before = time.time() - LEFT_S
        superseded = [file.path for file in self._every if file.night == night and file.number < number]
        superseded += [p for p, m in self._marks.items() if m[1] == str(night) and int(m[2]) < number]
        counted = {file.path for file in self.files}
        abandoned = [file.path for file in self._every if file.path not in counted]
        abandoned += [path for path in self._listing if UNFINISHED.fullmatch(path)]
        return sorted({*superseded, *(p for p in abandoned if self._listing[p].modified_at < before)})


def claim(folder: Folder, night: date) -> int:
    """The number of a publication that begins now, which no other process has."""
    number = Publications(folder.files("published")).next_number(night)
    while not folder.create(_mark(night, number, "begun"), b""):
        number += 1
    return number


def finish(folder: Folder, night: date, number: int) -> None:
    """Let a publication count, and remove what it took the place of."""
    folder.write_bytes(_mark(night, number, "done"), b"")
    for path in Publications(folder.files()).left_over(night, number):
        folder.remove(path)


def name_of(day: date, night: date, number: int, sha256: str) -> str:
    """The path of a publication's file."""
    return f"interactions/dt={day}/delivery={night}.{number:06d}.{sha256}.parquet"


def plain_name(path: str) -> str:
    """The path without number and digest: the name of equal rows, whoever published them."""
    return re.sub(r"[.]\d{6}[.][0-9a-f]{64}[.]parquet$", ".parquet", path)


def _mark(night: date, number: int, state: str) -> str:
    return f"published/delivery={night}.{number:06d}.{state}"


def _data_file(path: str) -> DataFile | None:
    if not (found := FILE.fullmatch(path)):
        return None
    day, night, number, sha256 = found.groups()
    return DataFile(date.fromisoformat(day), date.fromisoformat(night), path, int(number or 0), sha256 or "")
