"""Homes for tests of rollouts: registered adapters, a base model's folder, traffic in the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry, open_tracker
from pipelines.models.registry import Registry
from pipelines.stores import open_ledger
from pipelines.stores.journal.tables import journal_path, name_and_digest
from pipelines.stores.journal.writer import JournalWriter
from tests.support.configs import make_config
from tests.support.journal import make_interaction

STAGE = {"bake_s": 0, "min_answers": 30}
STAGES = [
    {**STAGE, "name": "shadow", "guards": ["errors", "refusals"]},
    {**STAGE, "name": "canary_05", "weight": 0.05, "min_rated": 20, "margin": 0.3},
    {**STAGE, "name": "canary_25", "weight": 0.25, "min_rated": 20},
]


def rollout_config(home: Path, **settings: Any) -> Config:
    """A home with a base model's folder. The stages ask for few answers and no bake time. `settings` are keys
    of [promote], or dotted.
    """
    base = home / "base"
    base.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (base / name).write_text("{}")
    usual = {"stages": STAGES, "answers_per_person": 0, "model.base": str(base)}
    return make_config(home, "promote", **(usual | settings))


def registry_of(config: Config) -> Registry:
    return open_registry(config)


def register(config: Config, number: int, against: Adapter | None = None) -> Adapter:
    """Register a version; its files are only bytes. It was measured against `against`, or production."""
    from pipelines.models.base import base_digest

    folder = Path(config.home) / f"adapter-{number}"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_text(f"weights of {number}")
    tracker = open_tracker(config)
    mlflow_id = tracker.run(f"2026-01-0{number}", str(number) * 64)
    baseline = against or open_ledger(config).promotion().route.production
    tags = {"base_digest": base_digest(config), "baseline_digest": baseline.digest if baseline else ""}
    made = registry_of(config).register(folder, tracker, mlflow_id, f"2026-01-0{number}", (), tags)
    return Adapter(made.version, made.digest)


def send(
    config: Config,
    candidate: Adapter,
    route: str,
    count: int,
    liked: tuple[float, float],
    production: Adapter | None = None,
    fault: float = 0.0,
    seed: int = 0,
) -> None:
    """`count` questions: each to production, and to the shadow, or one in four to the canary instead.

    `liked`: shares of production and the candidate. `fault`: share of the candidate's answers that fail.
    """
    rng = np.random.default_rng(seed)
    journal = JournalWriter(journal_path(config.home), 1, 100_000)
    stored = []
    for number in range(count):
        name = f"{seed}-{datetime.now(UTC).isoformat()}-{number}"
        ours = route == "canary" and number % 4 == 3
        fails = rng.random() < fault
        wanted, right = "Surgery", rng.random(2) < liked
        said = [wanted if good else "Dental" for good in right]
        main = row(
            name, candidate if ours else production, "canary" if ours else "production", said[int(ours)]
        )
        if ours and fails:
            journal.add(row(f"{name}.0", candidate, "canary", "", parent=name, fault="engine"))
            continue
        journal.add(main)
        if route == "shadow":
            shadow = row(f"{name}.shadow", candidate, "shadow", said[1], parent=name)
            journal.add(row(f"{name}.shadow", candidate, "shadow", "", name, "engine") if fails else shadow)
        good = bool(right[int(ours)])
        stored.append(journal.feedback(name, "t", 1 if good else -1, None if good else wanted))
    for answer in stored:
        assert answer.result(30) == "stored"
    journal.close()


def row(name, adapter, route, completion, parent=None, fault=""):
    """An answer of an adapter, or of the bare base model (None), given now."""
    version, digest = name_and_digest(adapter)
    return make_interaction(
        name,
        datetime.now(UTC),
        tenant="t",
        adapter=version,
        digest=digest,
        route=route,
        completion=completion,
        parent=parent,
        fault=fault,
    )
