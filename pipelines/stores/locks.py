"""Locks of what several processes, perhaps on several machines, must not do at once.

With a ledger in SQLite a lock is a file of the home, which a kill releases. With one in PostgreSQL it is a
lease, see `leases`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.core import locks
from pipelines.core.config import Config
from pipelines.stores.sql.database import SQLITE, dialect


@contextmanager
def holding(config: Config, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock `name`. While somebody else holds it, calls `on_wait` once and waits."""
    url = config.path(config.ledger_url)
    if dialect(url, "ledger_url") == SQLITE:
        with locks.holding(config.home, name, on_wait):
            yield
        return
    from pipelines.stores.sql.leases import leasing

    with leasing(url, name, on_wait):
        yield


def refuse_lost(config: Config) -> None:
    """Raises LeaseLost where another process has taken over what this one holds."""
    from pipelines.stores import open_ledger

    url = config.path(config.ledger_url)
    if dialect(url, "ledger_url") != SQLITE:
        open_ledger(config).refuse_lost()
