"""`nightshift prepare`: create what a first night needs, where it is missing."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.models import open_registry
from pipelines.operations.databases import upgrade_databases
from pipelines.sample.prepare import prepare_model, prepare_suite


def prepare(config: Config) -> None:
    """The databases; the packaged base model and the sample's frozen suite, where the profile uses them."""
    upgrade_databases(config)
    open_registry(config).prepare()
    prepare_model(config)
    if config.ingest.kind == "sample":
        prepare_suite(config)
