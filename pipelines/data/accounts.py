"""What became of everything that a delivery held, as tables and as sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from pipelines.core.config.columns import RatingScale
from pipelines.core.config.data import Ingest
from pipelines.core.facts.ingest import Accounted, FeedbackAccount, FileAccount
from pipelines.data.intake import Intake
from pipelines.data.separate_feedback import SeparateFeedback

WHERE = {
    "kept": "ingest/rows.parquet",
    "quarantined": "ingest/quarantine.parquet",
    "dropped": "nowhere",
}
REASONS = 3  # of the commonest are told


class Account:
    """read = kept + quarantined + dropped, for the delivery and for each file."""

    def __init__(
        self,
        reasons: Sequence[tuple[str, str, int]],
        files: Sequence[tuple[int, str, int]],
        names: Sequence[str],
    ) -> None:
        self.by_reason = tuple(
            Accounted(answer=answer, reason=reason, rows=rows, where=WHERE[answer])
            for answer, reason, rows in reasons
        )
        counts = Counter[str]()
        for answer, _, rows in reasons:
            counts[answer] += rows
        self.kept, self.quarantined, self.dropped = (counts[answer] for answer in WHERE)
        self.read = counts.total()
        self.by_file = tuple(_file(number, name, files) for number, name in enumerate(names))

    @property
    def totals(self) -> dict[str, int]:
        return {
            "read": self.read,
            "kept": self.kept,
            "quarantined": self.quarantined,
            "dropped": self.dropped,
        }


def feedback_account(told: SeparateFeedback | None, intake: Intake) -> FeedbackAccount | None:
    """The account of separate feedback; None where none is set up."""
    if told is None:
        return None
    fates = dict.fromkeys(("joined", "redelivered", "unchanged", "unmatched"), 0) | intake.feedback_fates()
    return FeedbackAccount(
        files=told.files,
        read=told.read,
        superseded=told.superseded,
        withdrawn=told.withdrawn,
        refused=told.refused,
        **fates,
    )


def unread_ratings(numbers: Collection[float], told: SeparateFeedback | None, settings: Ingest) -> list[str]:
    """Why a night's ratings cannot be used: another scale was meant. A 1 of five stars is no like."""
    wrong = []
    if numbers and settings.rating == RatingScale():
        some = ", ".join(f"{number:g}" for number in sorted(numbers)[:REASONS])
        wrong.append(
            f"Ratings such as {some} are not in the scale of ingest.rating (1, 0 and -1). "
            "Write good, bad and neutral under [ingest.rating]."
        )
    if told and told.read and sum(told.refused.values()) == told.read:
        why = ", ".join(f"{reason} ({rows})" for reason, rows in told.refused.items())
        wrong.append(
            f"No row of the separate feedback can be used: {why}. Correct [ingest.feedback_columns]."
        )
    return wrong


def reasons_of_nothing(account: Account, intake: Intake) -> list[str]:
    """Why no row is left: the commonest reasons, each with an example of what was found."""
    if not account.read:
        return ["The night is empty: its files hold no rows."]
    faults = intake.commonest_faults(REASONS)
    if not faults:
        dropped = ", ".join(f"{one.reason} ({one.rows})" for one in account.by_reason)
        return [f"No row of {account.read} is new: {dropped}."]
    sentences = [
        f"{rows} of {account.read} rows: {reason}{f', such as {found!r}' if found else ''}."
        for reason, rows, found in faults
    ]
    return [*sentences, "Quarantine holds each of them: ingest/quarantine.parquet."]


def _file(number: int, name: str, files: Sequence[tuple[int, str, int]]) -> FileAccount:
    rows = {answer: count for file_no, answer, count in files if file_no == number}
    counts = {answer: rows.get(answer, 0) for answer in WHERE}
    return FileAccount(file=name, read=sum(counts.values()), **counts)
