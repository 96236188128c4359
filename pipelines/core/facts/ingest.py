"""What `ingest` writes down. A night that cannot be read has no facts."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from pipelines.core.facts.reading import Facts, Part


class Accounted(Part):
    """Rows that share an answer and a reason, and the file that holds them."""

    answer: str  # kept, quarantined or dropped
    reason: str
    rows: NonNegativeInt
    where: str


class FileAccount(Part):
    """The rows of one file, by its path below the source. read = kept + quarantined + dropped."""

    file: str
    read: NonNegativeInt
    kept: NonNegativeInt
    quarantined: NonNegativeInt
    dropped: NonNegativeInt


class FeedbackAccount(Part):
    """Feedback that came apart from the answers. read is the sum of all others but `files`."""

    read: NonNegativeInt
    joined: NonNegativeInt  # to answers of tonight
    redelivered: NonNegativeInt  # to answers of earlier nights, which are published again
    unchanged: NonNegativeInt  # of an answer that says the same already, or is not kept tonight
    unmatched: NonNegativeInt  # no answer of these nights has its request_id
    superseded: NonNegativeInt  # a newer one for the same request came with it
    refused: dict[str, NonNegativeInt]  # by reason
    withdrawn: NonNegativeInt = 0  # of requests whose people opted out with it
    files: NonNegativeInt | None = None  # that ingest.feedback names; None: written before they were counted


class IngestFacts(Facts):
    """read = kept + quarantined + dropped; `accounting` says why.

    `rows.parquet` holds the kept rows, and the answers of earlier nights that got new feedback.
    """

    step = "ingest"
    read: NonNegativeInt
    kept: NonNegativeInt
    quarantined: NonNegativeInt
    dropped: NonNegativeInt
    accounting: tuple[Accounted, ...]
    files: tuple[str, ...]
    ignored_columns: tuple[str, ...]
    kept_late: NonNegativeInt
    by_file: tuple[FileAccount, ...] = ()
    # column -> good rows that had no value, so that its default stands
    defaulted: dict[str, NonNegativeInt] = Field(default={})
    opted_out: NonNegativeInt = 0  # requests that no night reads from now on
    feedback: FeedbackAccount | None = None  # None: no separate feedback is set up
