"""What `record` signs of a night, and what it writes down itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pipelines.core.facts.common import Baseline, Waiting
from pipelines.core.facts.evaluate import Accuracy, SuiteFacts
from pipelines.core.facts.reading import Facts, readable_parts
from pipelines.core.facts.told import Told
from pipelines.core.facts.train import Interruptions


class PricedInterruptions(Interruptions):
    """The interruptions of a training, and what the work that was done again cost, in `currency`."""

    amount: float
    currency: str

    @property
    def sentence(self) -> str:
        times = "once" if self.times == 1 else f"{self.times} times"
        used = f"{self.cpu_seconds:.0f} CPU seconds and {self.gpu_seconds:.0f} GPU seconds"
        return (
            f"The training was interrupted {times}; {self.seconds:.0f} s of work were done again, "
            f"with {used}, for {self.amount:.2f} {self.currency}."
        )


class DecisionFacts(Facts):
    """The facts in a decision document. What the night did not come to is None.

    `interruptions` are read off a clock, so `record` keeps them among its readings.
    """

    step = "record"
    cause: str | None = None
    ruling: str | None = None
    baseline: Baseline | None = None
    drift: bool | None = None
    accuracy: Accuracy | None = None
    measure: str = "accuracy"  # what its values are means of
    suite_digest: str | None = None
    suite: SuiteFacts | None = None  # how many of its items are new; older records have none
    adapter_digest: str | None = None
    base_digest: str | None = None
    registered_version: str | None = None
    method: str | None = None  # continue: the adapter in `baseline` is the parent; fresh: there is none
    nights_seen: tuple[str, ...] | None = None  # spans; with the parent's they are in the version's tags
    datasets: dict[str, str] | None = None  # sha256 of what was trained on, and of what was kept back
    deliveries: dict[date, str] | None = None  # what was trained on: night -> digest of its delivery
    waiting: Waiting | None = None  # the candidate, where it waits for more rows
    measured_again: str | None = None  # the run that trained the candidate, where it was not this one
    training_set: str | None = None  # identity of rows, parent and settings: no set is trained on twice
    pool_position: str | None = None  # of the last item of the pool that was asked tonight
    told: tuple[Told, ...] = ()  # each decision in a sentence and three figures; older records have none
    interruptions: PricedInterruptions | None = None  # None for a training that ran through


class RecordFacts(DecisionFacts):
    """`evidence`: step -> digest of the manifest that the decision rests on."""

    outcome: str
    evidence: dict[str, str]


class RecordReadings(Facts):
    """What another run of the same night may find otherwise."""

    step = "record"
    interruptions: PricedInterruptions | None = None


def decision_facts(stored: Mapping[str, Any]) -> DecisionFacts:
    """The facts of a decision document; a field that cannot be read is None."""
    return readable_parts(stored, DecisionFacts)[0]
