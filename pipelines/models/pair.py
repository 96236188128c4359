"""The two models that a night compares, production and candidate, on one engine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Baseline
from pipelines.core.facts.train import TrainFacts
from pipelines.models import open_registry
from pipelines.models.answering import Answering, Embedded
from pipelines.models.base import base_folder
from pipelines.models.engine import Engine
from pipelines.models.registry import adapter_digest
from pipelines.models.served import Served, Server

PRODUCTION, CANDIDATE = "production", "candidate"


class ModelPair:
    """Iterate for `(name, engine)`: the engine answers as production first, then as the candidate.

    `baseline` is what `decide` pinned; of the kind `base`, production is the bare base model.
    `digests` are those of their adapters; empty for the bare base.
    Raises InputError when the candidate was trained on another base than the configured one, or on prompts
    that are rendered in another way.
    """

    def __init__(
        self, config: Config, baseline: Baseline, candidate: Path, trained: TrainFacts, step: str = ""
    ) -> None:
        """`step`: who asks; steps that run at once load adapters at a server under names of their own."""
        self._config, self._baseline, self._candidate, self._step = config, baseline, candidate, step
        self.digests = {PRODUCTION: baseline.digest, CANDIDATE: adapter_digest(candidate)}
        self._anchors: list[Baseline] = []
        self.engine = Engine(config.model, str(base_folder(config)), config.task.system_prompt)
        if self.engine.base_digest != trained.base_digest:
            raise InputError(
                f"The candidate was trained on another base model ({trained.base_digest[:12]}) "
                f"than the one at {config.path(config.model.base)} ({self.engine.base_digest[:12]}).",
                "Train again, or point model.base to the base it was trained on.",
            )
        if trained.rendering_digest not in (None, self.engine.rendering.digest):
            raise InputError(
                "The candidate was trained with another chat template or system prompt than today's.",
                "Train again, or restore the tokenizer's files and task.system_prompt.",
            )
        self._production = None
        if baseline.kind == "adapter":
            self._production = PRODUCTION
            registry = open_registry(config)
            self.engine.load(PRODUCTION, registry.fetch(baseline.version))
        self.engine.load(CANDIDATE, candidate)

    def as_anchor(self, anchor: Baseline) -> Engine:
        """The engine, answering as this model until the pair is iterated again.

        Raises InputError where the anchor was trained on another base.
        """
        if anchor.kind == "base":
            self.engine.use(None)
            return self.engine
        registry = open_registry(self._config)
        trained_on = registry.version(anchor.version).tags.get("base_digest", self.engine.base_digest)
        if trained_on != self.engine.base_digest:
            raise InputError(
                f"The anchor, {anchor.name}, was trained on another base model ({trained_on[:12]}) than the"
                f" one at {self._config.path(self._config.model.base)} ({self.engine.base_digest[:12]}).",
                "Choose another version with `nightshift anchor`, or none.",
            )
        if anchor not in self._anchors:
            self.engine.load(f"anchor_{anchor.version}", registry.fetch(anchor.version))
            self._anchors.append(anchor)
        self.engine.use(f"anchor_{anchor.version}")
        return self.engine

    def answering(self, name: str) -> Answering:
        """Who answers for production or the candidate."""
        if self._server is None:
            return Embedded(lambda: self.answering_as(name))
        if name == PRODUCTION:
            return self.answering_as_anchor(self._baseline)
        return Served(self._server, f"{self._step}-candidate-{self.digests[name][:16]}", self._candidate)

    def answering_as_anchor(self, anchor: Baseline) -> Answering:
        """Who answers for an anchor."""
        if self._server is None:
            return Embedded(lambda: self.as_anchor(anchor))
        folder = None if anchor.kind == "base" else open_registry(self._config).fetch(anchor.version)
        return Served(self._server, f"{self._step}-v{anchor.version}-{anchor.digest[:16]}", folder)

    @cached_property
    def _server(self) -> Server | None:
        return Server(self._config) if self._config.evaluate.engine == "openai" else None

    def close(self) -> None:
        """Take what was loaded off the server."""
        if self._server is not None:
            self._server.close()

    def answering_as(self, name: str) -> Engine:
        """The engine, answering as production or as the candidate."""
        self.engine.use(self._production if name == PRODUCTION else CANDIDATE)
        return self.engine

    def __iter__(self) -> Iterator[tuple[str, Engine]]:
        for name in (PRODUCTION, CANDIDATE):
            yield name, self.answering_as(name)
