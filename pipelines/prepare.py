"""`python -m pipelines prepare`: what a first night needs, made once; returns at once when it is there."""

from __future__ import annotations

from pipelines.adapters.ledger import Ledger
from pipelines.adapters.registry import Registry
from pipelines.config import Config
from pipelines.sample import prepare as prepare_sample


def prepare(config: Config) -> None:
    """Databases, and the sample workload's model and frozen suite."""
    Ledger(config.path(config.ledger_url))
    Registry(config.path(config.tracking_uri), config.register_.name).prepare()
    prepare_sample(config)
