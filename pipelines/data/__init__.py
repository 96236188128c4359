"""The lake and what is read into it and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.core.config import Config

if TYPE_CHECKING:
    from pipelines.data.lake import Lake


def open_lake(config: Config) -> Lake:
    """The lake of a configuration."""
    from pipelines.data.lake import Lake

    return Lake(config.path(config.lake_root), config.ingest.memory_mib)
