"""`python -m pipelines prepare`: what a first night needs, made once; returns at once when it is there."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.models import open_registry
from pipelines.sample.workload import prepare_model, prepare_suite
from pipelines.stores import open_ledger


def prepare(config: Config) -> None:
    """Databases, the packaged model where it is the base, and the sample's frozen suite where it is read."""
    open_ledger(config)
    open_registry(config).prepare()
    prepare_model(config)
    if config.ingest.kind == "sample":
        prepare_suite(config)
