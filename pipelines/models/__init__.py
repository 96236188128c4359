"""Base models, adapters, training, and the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.config import Config

if TYPE_CHECKING:
    from pipelines.models.registry import Registry
    from pipelines.models.tracker import Tracker


def open_registry(config: Config) -> Registry:
    """The versions of this configuration's adapter."""
    from pipelines.models.registry import Registry

    cache = Path(config.home) / "cache" / "adapters"
    return Registry(config.path(config.tracking_uri), config.register_.name, cache)


def open_tracker(config: Config) -> Tracker:
    """The training runs of this configuration."""
    from pipelines.models.tracker import Tracker

    return Tracker(config.path(config.tracking_uri), config.path(config.artifact_root))
