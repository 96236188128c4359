"""What `evaluate` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Asked, Comparison, Fresh, Interval, Kind, PairedCounts, Ratio
from pipelines.core.facts.judge import JudgeCost, JudgeFacts
from pipelines.core.facts.reading import Facts, Part

Favour = Literal["candidate", "production"]


class Accuracy(Part):
    """Mean score on the frozen items: where an answer is right or wrong, the share of right ones."""

    production: Interval
    candidate: Interval


class GroupScores(Part):
    """The comparison by each scorer on the items of one group, such as the subject `cardiology`."""

    of: str
    group: str
    scores: dict[str, Comparison]


class ClassMeasures(Part):
    """`precision` is None where no answer is the class."""

    precision: float | None
    recall: float
    f1: float


class ClassScores(Part):
    """Both models on one label. `n` items have it as their right answer; `f1` is the change."""

    n: NonNegativeInt
    production: ClassMeasures
    candidate: ClassMeasures
    f1: Interval


class SubjectAccuracy(Part):
    n: NonNegativeInt
    production: float
    candidate: float


class Disliked(Part):
    """Kept-back rows of which people tell too little, by what candidate minus production may be.

    They were disliked without correction. Or the task writes free text: then another text than the one that
    people call right may be right too.
    """

    same: NonNegativeInt = 0  # both models answer alike: 0
    not_lost: NonNegativeInt = (
        0  # production repeats the wrong answer, or only the candidate a right one: 0 or 1
    )
    not_won: NonNegativeInt = 0  # the candidate repeats it, or only production a right one: -1 or 0
    open: NonNegativeInt = 0  # both answer otherwise: -1, 0 or 1

    @property
    def count(self) -> int:
        return self.same + self.not_lost + self.not_won + self.open


class Forgetting(Comparison):
    """On the kept-back rows of earlier nights; all but `disliked` count those whose right answer is known."""

    paired: PairedCounts
    disliked: Disliked = Disliked()


class LeftOut(Part):
    """The kept-back rows without those of a tenant, or of three people, on whom the comparison rests most.

    `p_value`: the share of clean worlds in which as much rests on as few. People are never named.
    """

    favour: Favour  # for whom the rows that are left out speak
    tenant: str | None  # None: people
    rows: NonNegativeInt  # left out
    paired: PairedCounts  # of the others
    disliked: Disliked
    p_value: float

    @property
    def who(self) -> str:
        return "three people" if self.tenant is None else f"the tenant {self.tenant}"


class Instructions(Comparison):
    """Share of packaged instructions that each model follows; `paired` decides at the gate."""

    paired: PairedCounts


class AnchorFacts(Part):
    """The candidate compared with an anchor, which stands as `production` in each part.

    `digest` of the anchor's adapter is empty for the bare base. `forgetting` is None without earlier rows.
    """

    name: str  # "the base" or "version 3"
    digest: str
    general: Comparison
    perplexity: Ratio
    forgetting: Forgetting | None = None
    instructions: Instructions | None = None  # older ones have none


class SuiteFacts(Part):
    """What tonight's suite is made of, and what is new in it.

    `before` is the digest of the suite that the run before this one asked, on the night `since`; both are
    None on a first night. `new` and `changed` are None where that suite is not kept. `kin`: the digests of
    earlier suites that ask one of tonight's questions too.
    """

    items: NonNegativeInt
    unreviewed: NonNegativeInt = 0  # marked as proposed, and no person has reviewed them
    since: date | None = None
    before: str | None = None
    new: NonNegativeInt | None = None  # their question is new
    changed: NonNegativeInt | None = None  # they have another answer than then
    kin: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What people should know before they read the scores; none where nothing is new and all is read."""
        said = []
        if self.new or self.changed:
            are, have = ("is" if self.new == 1 else "are"), ("has" if self.changed == 1 else "have")
            other = f", and {self.changed} {have} another answer," if self.changed else ""
            said.append(f"{self.new} of {self.items} items {are} new{other} since the suite of {self.since}.")
        if self.unreviewed:
            said.append(f"No person has reviewed {self.unreviewed} of the {self.items} items of the suite.")
        return tuple(said)


class EvaluateFacts(Facts):
    """`forgetting` is None on a first night: there are no earlier rows. Older ones have no `anchors`."""

    step = "evaluate"
    baseline: Kind | None = None
    measure: str = "accuracy"  # what the score is
    suite_digest: str | None = None  # of what is asked, and of the answers
    suite_file_digest: str | None = None  # of the file; older versions counted asks by it
    suite: SuiteFacts | None = None  # older ones have none
    accuracy: Accuracy | None = None
    scores: dict[str, Comparison] | None = None  # by the scorers that are shown only
    paired: PairedCounts | None = None
    difference: Interval | None = None
    by_subject: dict[str, SubjectAccuracy] | None = None
    by_group: tuple[GroupScores, ...] | None = None  # topics, tenants and languages; older ones have none
    by_class: dict[str, ClassScores] | None = None  # of a task that chooses labels
    forgetting: Forgetting | None = None
    general: Comparison | None = None
    perplexity: Ratio | None = None
    instructions: Instructions | None = None  # None where none were asked; older ones have none
    anchors: tuple[AnchorFacts, ...] | None = None
    fresh: Fresh | None = None  # rows that the candidate cannot know; older ones have none
    pool: Asked | None = None  # items that no other claim asked; None without a pool, and once it is used up
    left_out: tuple[LeftOut, ...] | None = None  # from the rows of `forgetting`; older ones have none
    judge: JudgeFacts | None = None  # None without `[judge]`


class EvaluateReadings(Facts):
    step = "evaluate"
    latency_ms: Ratio | None = None
    judge_cost: JudgeCost | None = None
