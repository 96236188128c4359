"""What `evaluate` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Comparison, Fresh, Interval, Kind, PairedCounts, Ratio
from pipelines.core.facts.reading import Facts, Part


class Accuracy(Part):
    """Share of frozen items answered rightly."""

    production: Interval
    candidate: Interval


class SubjectAccuracy(Part):
    n: NonNegativeInt
    production: float
    candidate: float


class Disliked(Part):
    """Kept-back answers that were disliked without correction, by what candidate minus production may be."""

    same: NonNegativeInt = 0  # both models answer alike: 0
    not_lost: NonNegativeInt = 0  # production repeats the wrong answer: 0 or 1
    not_won: NonNegativeInt = 0  # the candidate repeats it: -1 or 0
    open: NonNegativeInt = 0  # both answer otherwise: -1, 0 or 1

    @property
    def count(self) -> int:
        return self.same + self.not_lost + self.not_won + self.open


class Forgetting(Comparison):
    """On the kept-back rows of earlier nights; all but `disliked` count those whose right answer is known."""

    paired: PairedCounts
    disliked: Disliked = Disliked()


class AnchorFacts(Part):
    """The candidate compared with an anchor, which stands as `production` in each part.

    `digest` of the anchor's adapter is empty for the bare base. `forgetting` is None without earlier rows.
    """

    name: str  # "the base" or "version 3"
    digest: str
    general: Comparison
    perplexity: Ratio
    forgetting: Forgetting | None = None


class EvaluateFacts(Facts):
    """`forgetting` is None on a first night: there are no earlier rows. Older ones have no `anchors`."""

    step = "evaluate"
    baseline: Kind | None = None
    suite_digest: str | None = None  # of what is asked, and of the answers
    suite_file_digest: str | None = None  # of the file; older versions counted asks by it
    accuracy: Accuracy | None = None
    paired: PairedCounts | None = None
    difference: Interval | None = None
    by_subject: dict[str, SubjectAccuracy] | None = None
    forgetting: Forgetting | None = None
    general: Comparison | None = None
    perplexity: Ratio | None = None
    anchors: tuple[AnchorFacts, ...] | None = None
    fresh: Fresh | None = None  # rows that the candidate cannot know; older ones have none


class EvaluateReadings(Facts):
    step = "evaluate"
    latency_ms: Ratio | None = None
