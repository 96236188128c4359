"""`python -m pipelines prepare`: what a first night needs, made once; returns at once when it is there."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.models.registry import Registry
from pipelines.sample.workload import prepare_model, prepare_suite
from pipelines.stores.ledger.ledger import Ledger


def prepare(config: Config) -> None:
    """Databases, the packaged model where it is the base, and the sample's frozen suite where it is read."""
    Ledger(config.path(config.ledger_url))
    Registry(config.path(config.tracking_uri), config.register_.name).prepare()
    prepare_model(config)
    if config.ingest.is_sample:
        prepare_suite(config)
