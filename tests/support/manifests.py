"""A manifest as a step writes it, with what the test changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines.core.contract import Manifest, Usage, Verdict, night_of


def make_manifest(step: str = "ingest", run_id: str = "2026-01-01", **changes: Any) -> Manifest:
    """A step of a run that proceeded and wrote nothing."""
    usual = {
        "night": night_of(run_id),
        "fingerprint": "0" * 64,
        "verdict": Verdict.PROCEED,
        "reasons": (),
        "headline": f"{step} is done",
        "inputs": {},
        "outputs": {},
        "metrics": {},
        "facts": {},
        "readings": {},
        "seed": 7,
        "code_digest": "0",
        "lock_digest": "0",
        "git_commit": None,
        "usage": Usage(started_at=datetime(2026, 1, 1, tzinfo=UTC), seconds=1.0, cpu_seconds=1.0),
    }
    return Manifest(step=step, run_id=run_id, **(usual | changes))
