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
    """The feature store of a configuration, or another one in `folder`. Feast takes seconds to import."""
    from pipelines.data.feature_places import Places
    from pipelines.data.features import FeatureStore

    settings = config.features
    max_age = timedelta(hours=settings.max_age_hours)
    places = Places.within(folder) if folder else Places.of(config)
    return FeatureStore(places, settings.windows_days, max_age)


def has_feature_store(config: Config) -> bool:
    """Whether a night has stored features; asking does not load Feast."""
    from pipelines.stores.blobs import Folder

    return bool(Folder(features_uri(config), "shared_root").folders())


def features_uri(config: Config) -> str:
    """Where the offline files of the features lie."""
    return f"{config.path(config.shared_root)}/feast/data"
