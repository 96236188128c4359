"""What `evaluate` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Comparison, Interval, Kind, PairedCounts, Ratio
from pipelines.core.facts.reading import Facts, Part


class Accuracy(Part):
    """Share of frozen items answered rightly."""

    production: Interval
    candidate: Interval


class SubjectAccuracy(Part):
    n: NonNegativeInt
    production: float
    candidate: float


class Forgetting(Comparison):
    """On the kept-back rows of earlier nights."""

    paired: PairedCounts


class EvaluateFacts(Facts):
    """`forgetting` is None on a first night: there are no earlier rows."""

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


class EvaluateReadings(Facts):
    step = "evaluate"
    latency_ms: Ratio | None = None
