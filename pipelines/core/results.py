"""The short results that a command hands to whoever started it (a file, or a pod's XCom)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from pipelines.core.contract import Frozen, Verdict


class StepResult(Frozen):
    """How a step ended, and where its manifest is."""

    step: str
    verdict: Verdict
    reasons: tuple[str, ...]
    headline: str
    manifest_uri: str
    seconds: float
    reused: bool


class RolloutAnswer(StrEnum):
    """What a rollout's command did, or what it advises."""

    MOVED = "moved"  # the route table is as was asked for, now or already
    NOTHING = "nothing"  # there is nothing to move
    CONTINUE = "continue"  # not yet: ask again later
    PROMOTE = "promote"  # the next stage may begin
    ABORT = "abort"  # the rollout is over, or has to be


class RolloutResult(Frozen):
    """What a rollout's command did and why. `promotion` is the number of the ledger's newest move."""

    command: str
    answer: RolloutAnswer
    reasons: tuple[str, ...]
    headline: str
    version: str = ""
    digest: str = ""
    promotion: int = 0
    evidence: dict[str, Any] = Field(default_factory=dict)


class RunToStart(Frozen):
    """A DAG run that a ruling asks for. The same ruling always asks for the same run id."""

    dag_id: str
    dag_run_id: str
    conf: dict[str, Any]


class Notice(Frozen):
    """A message for a person."""

    subject: str
    text: str


class RoutingResult(Frozen):
    """What `alerts-route` decided: runs to start and people to tell, also when it broke off half-way."""

    headline: str
    start: tuple[RunToStart, ...]
    tell: tuple[Notice, ...]


def progress_line(result: StepResult) -> str:
    """One line a step: name, verdict, seconds, the number that matters."""
    seconds = "reused" if result.reused else f"{result.seconds:.1f} s"
    return f"{result.step:<9} {result.verdict:<8} {seconds:>8}  {result.headline}"
