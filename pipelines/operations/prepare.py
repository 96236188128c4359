"""`nightshift prepare`: create what a first night needs, where it is missing."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.keys import key_in
from pipelines.models import open_registry
from pipelines.operations.databases import upgrade_databases
from pipelines.sample.prepare import prepare_model, prepare_suite
from pipelines.stores.signer import open_signer


def prepare(config: Config) -> None:
    """Keys and databases; the packaged base model and the sample's suite, where the profile uses them."""
    make_keys(config)
    upgrade_databases(config)
    open_registry(config).prepare()
    prepare_model(config)
    if config.ingest.kind == "sample":
        prepare_suite(config)


def make_keys(config: Config) -> None:
    """Every key that is missing. Where machines share them, this is done once."""
    open_signer(config).make_once()
    for name in ("ledger.key", "pseudonyms.key", "routing.key"):
        key_in(config.keys_folder, name)
