"""The version that this process runs."""

from __future__ import annotations

import functools

from pipelines.core.code import git_commit, lock_digest, whole_code_digest
from pipelines.core.version import Version
from pipelines.stores.gateways import tables as gateways
from pipelines.stores.journal import tables as journal
from pipelines.stores.ledger import tables as ledger


@functools.cache
def own_version() -> Version:
    """Of the files that lie beside this one, which takes a tenth of a second."""
    stores = (ledger.MIGRATIONS, journal.MIGRATIONS, gateways.MIGRATIONS)
    migrations = {store.name: store.head for store in stores}
    return Version(whole_code_digest(), lock_digest(), git_commit() or "", migrations)
