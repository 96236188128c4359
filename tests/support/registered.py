"""Versions that the step `register` made: a night up to its gate, with a trained adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import Manifest
from pipelines.models.registry import adapter_digest
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.support.nightfall import finish


def trained(config: Config, adapter: Path, **more: Any) -> dict[str, Any]:
    """The facts of the training."""
    from pipelines.models.base import base_digest

    digests = {"adapter_digest": adapter_digest(adapter), "base_digest": base_digest(config)}
    return digests | {"tokenizer_digest": "t" * 64} | more


def night(config: Config, adapter: Path, day: str) -> Run:
    """Finished steps of a night whose candidate is `adapter`, up to the gate."""
    run = Run(f"{config.home}/runs/{day}")
    data = adapter.parent / "train.jsonl"
    data.write_text("{}\n")
    finish(run, "decide", {"baseline": {"kind": "base"}})
    finish(run, "curate", {"nights": ["2026-01-01", day]}, {"train": data})
    finish(run, "train", trained(config, adapter), {"adapter": adapter})
    finish(run, "evaluate", {})
    finish(run, "gate", {})
    return run


def register(config: Config, run: Run, **how: Any) -> Manifest:
    """Run the step."""
    run_step("register", run.folder.uri, config, **how)
    found = run.manifest("register")
    assert found is not None
    return found
