"""Verdicts, artifacts, manifests, digests and the order of a night: shared by steps and DAGs.

Needs pydantic and the standard library only, so that a DAG file which imports it parses fast.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.core.errors import InputError

MANIFEST_NAME = "manifest.json"
FAULT_NAME = "fault.json"

# Each step of a night and the steps whose manifests it reads. `report` and `record` close every
# night, whichever step ended it.
NIGHTLY: dict[str, tuple[str, ...]] = {
    "ingest": (),
    "validate": ("ingest",),
    "features": ("validate",),
    "drift": ("validate",),
    "decide": ("validate", "features", "drift"),
    "curate": ("validate", "decide"),
    "train": ("decide", "curate"),
    "evaluate": ("decide", "curate", "train"),
    "fairness": ("decide", "curate", "train"),
    "safety": ("decide", "curate", "train"),
    "gate": ("decide", "train", "evaluate", "fairness", "safety"),
    "register": ("decide", "curate", "train", "evaluate", "gate"),
}
CLOSING: tuple[str, ...] = ("report", "record")


class Verdict(StrEnum):
    """How a step ended. A step that broke has no verdict: it raised an exception."""

    PROCEED = "proceed"
    SKIP = "skip"  # nothing worth doing tonight
    HOLD = "hold"  # a person should look before the loop goes on
    REJECT = "reject"  # the candidate is not good enough
    WAIT = "wait"  # the candidate waits for more rows


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Frozen):
    """A file that a step wrote, by its path inside the folder of its outputs (POSIX separators)."""

    path: str
    sha256: str
    size_bytes: int


class Metric(Frozen):
    value: float
    unit: str


class Usage(Frozen):
    """What a step used. Not part of its identity: a second run may be faster."""

    started_at: datetime
    seconds: float
    cpu_seconds: float
    gpu_seconds: float = 0.0
    peak_memory_mib: float = 0.0


class Manifest(Frozen):
    """The record of a finished step. It is written last, so its presence means the step is done."""

    schema_version: int = 1
    run_id: str
    night: date
    step: str
    attempt: str = Field("", description="the outputs' folder inside the step's; empty on a local disk")
    fingerprint: str
    verdict: Verdict
    reasons: tuple[str, ...]
    headline: str = Field(description="the one number or sentence that matters")
    inputs: dict[str, str] = Field(description="what was read, by name, as a sha256")
    outputs: dict[str, Artifact]
    metrics: dict[str, Metric]
    facts: dict[str, Any] = Field(description="structured details for later steps and the report")
    readings: dict[str, Any] = Field(description="like facts, but read off a clock: another run differs")
    settings: dict[str, Any] | None = Field(None, description="section by section; older ones have none")
    seed: int
    code_digest: str
    lock_digest: str
    git_commit: str | None
    usage: Usage

    @property
    def digest(self) -> str:
        """sha256 of all but usage, readings, commit and place: equal work has an equal digest."""
        left_out = {"usage", "readings", "git_commit", "attempt"}
        left_out |= {"settings"} if self.settings is None else set()
        return digest_of(self.model_dump(mode="json", exclude=left_out))

    def place(self, artifact: Artifact) -> str:
        """The path of an output inside the run's folder."""
        return "/".join(part for part in (self.step, self.attempt, artifact.path) if part)


class Fault(Frozen):
    """Why a step broke, for the person who mends it."""

    step: str
    error: str
    message: str
    at: datetime


def canonical_json(value: Any) -> bytes:
    """Bytes that are equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: Any) -> str:
    """sha256 (hex) of a JSON value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def fingerprint(step: str, settings: Any, inputs: dict[str, str], code_digest: str) -> str:
    """The identity of a piece of work: equal fingerprints mean equal outputs."""
    return digest_of({"step": step, "settings": settings, "inputs": inputs, "code": code_digest})


def night_of(run_id: str) -> date:
    """The night of a run id `YYYY-MM-DD` or `YYYY-MM-DD-<suffix>`. Raises InputError for any other."""
    try:
        if len(run_id) > 10 and run_id[10] != "-":
            raise ValueError
        return date.fromisoformat(run_id[:10])
    except ValueError:
        raise InputError(
            f"The run folder's name {run_id!r} does not begin with its night.",
            "Name it YYYY-MM-DD or YYYY-MM-DD-<suffix>.",
        ) from None


def run_id_for(night: date, overrides: dict[str, Any], attempt: int = 1) -> str:
    """The run id of a night under these overrides (a forced retrain, an alert).

    Equal overrides give the same run. A decided run stays as it is: to decide again, count `attempt` up.
    """
    changed = f"-{digest_of(overrides)[:8]}" if overrides else ""
    return f"{night}{changed}" + (f"-{attempt}" if attempt > 1 else "")
