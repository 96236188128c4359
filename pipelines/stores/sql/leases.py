"""Leases on PostgreSQL: who may do a piece of work now, whatever machine they are on.

A lease runs out when its holder stops renewing it. Each holder has a fencing token, one higher than that of
the holder before. Whatever is written to the ledger under a lease is written in a transaction that finds its
token still there. So a holder that was paused or cut off, and has lost its lease meanwhile, can do no harm.
Source: Kleppmann, "How to do distributed locking", 2016. Times are the database's, so no clock matters.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import sqlalchemy as sa

from pipelines.core.errors import LeaseLost
from pipelines.stores.sql.database import connect_to, is_away, patiently

LEASE_S = 30.0  # a holder that is silent for longer loses its lease to whoever waits
RENEW_S = 10.0
POLL_S = 0.5  # between two looks of somebody who waits
WAIT_S = 120.0  # for a database that is away
log = logging.getLogger("nightshift")

TAKE = sa.text(
    """
    INSERT INTO leases (name, token, holder, expires_at)
    VALUES (:name, 1, :holder, clock_timestamp() + make_interval(secs => :lease_s))
    ON CONFLICT (name) DO UPDATE SET
      token = leases.token + 1, holder = excluded.holder, expires_at = excluded.expires_at
      WHERE leases.expires_at <= clock_timestamp()
    RETURNING token
    """
)
EXTEND = sa.text(
    "UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => :lease_s)"
    " WHERE name = :name AND token = :token"
)


@dataclass(frozen=True)
class Lease:
    """The right to do `name` now."""

    name: str
    token: int


_held: ContextVar[tuple[Lease, ...]] = ContextVar("held", default=())


@contextmanager
def leasing(url: str, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[Lease]:
    """Hold the lease `name` of the database. While somebody else holds it, calls `on_wait` once and waits."""
    engine = connect_to(url)
    try:
        lease = _taken(engine, name, on_wait)
        ended = threading.Event()
        renewing = threading.Thread(
            target=_keep, args=(engine, lease, ended), name=f"lease {name}", daemon=True
        )
        renewing.start()
        before = _held.set((*_held.get(), lease))
        try:
            yield lease
        finally:
            _held.reset(before)
            ended.set()
            renewing.join()
            _extend(engine, lease, 0.0)
    finally:
        engine.dispose()


def refuse_lost(connection: sa.Connection) -> None:
    """Raises LeaseLost unless every lease of this process stays in force until the transaction ends."""
    for lease in _held.get():
        if not _extended(connection, lease, LEASE_S):  # the row stays locked until the transaction ends
            raise LeaseLost(
                f"This process lost the lease {lease.name!r}: it was paused or cut off for over"
                f" {LEASE_S:.0f} s, and another one has taken over.",
                "Nothing was written. Look at what the other one did; run this again if it is still needed.",
            )


def _taken(engine: sa.Engine, name: str, on_wait: Callable[[], None] | None) -> Lease:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    while True:
        token = patiently(lambda: _take(engine, name, holder), WAIT_S)
        if token is not None:
            return Lease(name, token)
        if on_wait:
            on_wait()
            on_wait = None
        time.sleep(POLL_S)


def _take(engine: sa.Engine, name: str, holder: str) -> int | None:
    with engine.begin() as connection:
        values = {"name": name, "holder": holder, "lease_s": LEASE_S}
        return connection.scalar(TAKE, values)


def _keep(engine: sa.Engine, lease: Lease, ended: threading.Event) -> None:
    """Renew a lease until it is given back. While the database is away nobody else can take it either."""
    while not ended.wait(RENEW_S):
        try:
            is_kept = _extend(engine, lease, LEASE_S)
        except Exception:  # the outermost loop of a thread; what is written under the lease is checked anyway
            log.exception("the lease %r could not be renewed", lease.name)
            continue
        if not is_kept:
            log.error("the lease %r was lost to another process", lease.name)
            return


def _extend(engine: sa.Engine, lease: Lease, lease_s: float) -> bool:
    """Whether the lease was still this process's. With 0 s it is given back."""
    try:
        with engine.begin() as connection:
            return _extended(connection, lease, lease_s)
    except sa.exc.DBAPIError as error:
        if not is_away(error):
            raise
        log.warning("the lease %r could not be renewed: PostgreSQL is away", lease.name)
        return True


def _extended(connection: sa.Connection, lease: Lease, lease_s: float) -> bool:
    values = {"name": lease.name, "token": lease.token, "lease_s": lease_s}
    return bool(connection.execute(EXTEND, values).rowcount)
