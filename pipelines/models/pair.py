"""The two models that a night compares, production and candidate, on one engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Baseline
from pipelines.models import open_registry
from pipelines.models.base import digest_base, resolve_base
from pipelines.models.engine import Engine

PRODUCTION, CANDIDATE = "production", "candidate"


def base_digest(config: Config) -> str:
    """sha256 of the base model that both models share."""
    return digest_base(resolve_base(config.path(config.model.base)))


class ModelPair:
    """Iterate for `(name, engine)`: the engine answers as production first, then as the candidate.

    `baseline` is what `decide` pinned; of the kind `base`, production is the bare base model.
    Raises InputError when the candidate was trained on another base than the configured one.
    """

    def __init__(self, config: Config, baseline: Baseline, candidate: Path, trained_on: str) -> None:
        self.engine = Engine(config.model, config.path(config.model.base), config.task.system_prompt)
        if self.engine.base_digest != trained_on:
            raise InputError(
                f"The candidate was trained on another base model ({trained_on[:12]}) than the one at "
                f"{config.path(config.model.base)} ({self.engine.base_digest[:12]}).",
                "Train again, or point model.base to the base it was trained on.",
            )
        self._production = None
        if baseline.kind == "adapter":
            self._production = PRODUCTION
            registry = open_registry(config)
            self.engine.load(PRODUCTION, registry.fetch(baseline.version))
        self.engine.load(CANDIDATE, candidate)

    def __iter__(self) -> Iterator[tuple[str, Engine]]:
        for name, adapter in ((PRODUCTION, self._production), (CANDIDATE, CANDIDATE)):
            self.engine.use(adapter)
            yield name, self.engine
