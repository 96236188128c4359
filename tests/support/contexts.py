"""A step's context for tests: real folders, real earlier manifests, no runner."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import Manifest, Usage, Verdict
from pipelines.runner import Context
from pipelines.stores.runs import Run
from tests.support.facts import facts_like


def manifest(step: str, night: date, facts: dict[str, Any]) -> Manifest:
    """A finished step that proceeded with these facts."""
    return Manifest.model_validate(
        {
            "run_id": str(night), "night": night, "step": step, "fingerprint": "0" * 64,
            "verdict": Verdict.PROCEED, "reasons": (), "headline": "", "inputs": {}, "outputs": {},
            "metrics": {}, "facts": facts, "readings": {}, "seed": 7, "code_digest": "", "lock_digest": "",
            "git_commit": None, "usage": Usage(started_at=f"{night}T02:00:00Z", seconds=0, cpu_seconds=0),
        }
    )  # fmt: skip


def context(home: Path, config: Config, step: str, night: date, **facts: dict[str, Any]) -> Context:
    """A context of `step` on `night`; a keyword is an earlier step with what differs from its usual facts."""
    run = Run(f"{home}/runs/{night}")
    inputs = {name: manifest(name, night, facts_like(name, **given)) for name, given in facts.items()}
    return Context(run, step, config, inputs, "0" * 64, run.begin(step, run.manifest(step)).out)
