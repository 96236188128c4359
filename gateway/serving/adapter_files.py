"""Where the files of a routed adapter are: the registry's, checked against the digest that was promoted."""

from __future__ import annotations

from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import IntegrityError
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry
from pipelines.models.registry import adapter_digest


class Folders:
    """Fetches from the registry of a configuration. Blocks: call it from a thread."""

    def __init__(self, config: Config) -> None:
        self._registry = open_registry(config)

    def __call__(self, adapter: Adapter) -> Path:
        """Raises IntegrityError where the files are not those that were promoted."""
        folder = self._registry.fetch(adapter.version)
        if (found := adapter_digest(folder)) != adapter.digest:
            raise IntegrityError(
                f"version {adapter.version} with digest {adapter.digest[:12]}, as promoted",
                found[:12],
                "The version was replaced after its promotion: promote it anew.",
            )
        return folder
