"""What `ingest` writes down. A night that cannot be read has no facts."""

from __future__ import annotations

from pydantic import NonNegativeInt

from pipelines.core.facts.reading import Facts, Part


class Accounted(Part):
    """Rows that share an answer and a reason, and the file that holds them."""

    answer: str  # kept, quarantined or dropped
    reason: str
    rows: NonNegativeInt
    where: str


class IngestFacts(Facts):
    """read = kept + quarantined + dropped; `accounting` says why."""

    step = "ingest"
    read: NonNegativeInt
    kept: NonNegativeInt
    quarantined: NonNegativeInt
    dropped: NonNegativeInt
    accounting: tuple[Accounted, ...]
    files: tuple[str, ...]
    ignored_columns: tuple[str, ...]
    kept_late: NonNegativeInt
