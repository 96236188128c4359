"""The head of the ledger, in a file outside the database: how many links the chain has, and the newest hash.

The chain alone cannot tell that its last links were cut off, or that an old copy of the database was put
back. The file is written after each append. A kill between the two leaves it behind the database, which is no
harm: the link that it names is still there. It is signed (HMAC-SHA256) with a key that only the owner reads.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.core.contract import canonical_json
from pipelines.core.errors import IntegrityError
from pipelines.core.files import write_atomically
from pipelines.core.keys import key_in
from pipelines.core.locks import holding

REMEDY = (
    "Put the database and its head file back from one backup, or `nightshift verify --accept-end` as it is."
)
log = logging.getLogger("nightshift")
HashOf = Callable[[int], str | None]  # the hash of a link by its number; None where there is none


@dataclass(frozen=True)
class Head:
    """The end of the chain: the number of links, and the hash of the last one."""

    links: int
    hash: str


class HeadFile:
    """The file, and the folder with its key, `ledger.key`."""

    def __init__(self, file: Path, keys: Path) -> None:
        self._file, self._keys = file, keys

    @classmethod
    def beside(cls, database: Path) -> HeadFile:
        """That of an SQLite file: `<database>.head`, with the key in `keys/` beside it."""
        return cls(database.with_name(f"{database.name}.head"), database.parent / "keys")

    def advance(self, head: Head, hash_of: HashOf, is_expected: bool) -> None:
        """Name a newer end. A file that does not fit the chain stays as it is, for `check` to tell of it."""
        with holding(self._file.parent, "ledger_head"):
            try:
                self.check(head.links, hash_of, is_expected)
                known = self._read()
                if not known or head.links > known.links:
                    self.accept(head)
            except (IntegrityError, OSError) as error:  # the rows are written; `check` tells what is wrong
                log.error("%s", error)

    def accept(self, head: Head) -> None:
        """Name this end, whatever was named before."""
        signed = {**asdict(head), "signature": self._signature(head)}
        write_atomically(self._file, canonical_json(signed))

    def check(self, links: int, hash_of: HashOf, is_expected: bool) -> None:
        """Raises IntegrityError where the chain is not the one that the file names, or has lost the file."""
        known = self._read()
        if known is None:
            if is_expected:
                raise IntegrityError(
                    f"The ledger's head file {self._file} is missing: rows may have been cut off.",
                    REMEDY,
                )
        elif known.links and hash_of(known.links) != known.hash:
            raise IntegrityError(_cut(known, links), REMEDY)

    def _read(self) -> Head | None:
        if not self._file.exists():
            return None
        try:
            found = json.loads(self._file.read_bytes())
            head = Head(int(found["links"]), str(found["hash"]))
            is_signed = hmac.compare_digest(str(found["signature"]), self._signature(head))
        except (ValueError, KeyError, TypeError):
            is_signed = False
        if not is_signed:
            raise IntegrityError(
                f"The ledger's head file {self._file} was changed: its signature does not fit.", REMEDY
            )
        return head

    def _signature(self, head: Head) -> str:
        return hmac.digest(key_in(self._keys, "ledger.key"), canonical_json(asdict(head)), "sha256").hex()


def _cut(known: Head, links: int) -> str:
    now = "and it is another one now" if links >= known.links else f"and it has {links} now"
    return (
        f"The ledger was cut or replaced: it had {known.links} links and link {known.links} was"
        f" {known.hash[:12]}, {now}."
    )
