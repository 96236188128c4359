"""What `gate` writes down."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Baseline, Waiting
from pipelines.core.facts.reading import Facts, Part

CheckAnswer = Literal["pass", "fail", "cannot conclude"]
Number = int | float


class Check(Part):
    """One row of the gate's table. Numbers are None where there is none to show."""

    check: str
    measure: str
    answer: CheckAnswer
    detail: str
    limit: Number | None = None
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    p_value: Number | None = None  # of the value against the limit
    blocks: bool = True  # whether `cannot conclude` holds the candidate back; `fail` always rejects it


class GateFacts(Facts):
    """`asks_before`: earlier runs that asked a suite which shares items with tonight's.

    `alpha_tonight`: tonight's level.
    """

    step = "gate"
    rows: tuple[Check, ...]
    asks_before: NonNegativeInt
    alpha_tonight: float
    promise: str = ""  # what the levels of all nights guarantee, in one sentence
    suite_digest: str | None
    baseline: Baseline
    waiting: Waiting | None = None  # the candidate, where it waits


class GateReadings(Facts):
    """The check of latencies with its times, which another run would read differently."""

    step = "gate"
    latency: Check | None = None
