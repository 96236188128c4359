"""The lake and what is read into it and out of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.config import Config

if TYPE_CHECKING:
    from pipelines.data.features import FeatureStore
    from pipelines.data.lake import Lake


def open_lake(config: Config) -> Lake:
    """The lake of a configuration."""
    from pipelines.data.lake import Lake

    kept = Path(config.home) / "cache" / "digests" / "lake.json"
    return Lake(config.path(config.lake_root), config.ingest.memory_mib, config.ingest.timezone, kept)


def open_feature_store(config: Config, folder: Path | None = None) -> FeatureStore:
    """The feature store of the home, or another one in `folder`. Feast takes seconds to import."""
    from pipelines.data.features import FeatureStore

    settings = config.features
    max_age = timedelta(hours=settings.max_age_hours)
    return FeatureStore(folder or _feature_store(config), settings.windows_days, max_age)


def has_feature_store(config: Config) -> bool:
    """Whether the home has a feature store; asking loads no library."""
    return (_feature_store(config) / "registry.db").exists()


def _feature_store(config: Config) -> Path:
    return Path(config.home) / "feast"
