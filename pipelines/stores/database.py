"""SQL databases: SQLite in a file of the home, or PostgreSQL. Each store opens its own from its URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.core.errors import ConfigError

SQLITE, POSTGRES = "sqlite", "postgresql"
CONNECT_TIMEOUT_S = 5
# A server that is gone is noticed on a connection that waits: after 5 s of silence, 3 questions of 2 s each.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}


def dialect(url: str, setting: str) -> str:
    """`sqlite` or `postgresql`. Raises ConfigError for another one; `setting` is where the URL stands."""
    location = sa.make_url(url)
    named = location.database and location.drivername in ("sqlite", "postgresql+psycopg")
    if not named:
        raise ConfigError(
            f"{setting} is {location.render_as_string()!r}, which is neither an SQLite file nor PostgreSQL.",
            f"Set {setting} = sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE.",
        )
    return location.get_backend_name()


def connect_to(url: str, wait_s: float = 30.0, read_only: bool = False) -> sa.Engine:
    """An engine. A writer waits up to `wait_s` seconds for another one, then gets OperationalError.

    Transactions of SQLite begin where the caller says BEGIN; those of PostgreSQL are its own.
    """
    location = sa.make_url(url)
    if location.get_backend_name() == SQLITE:
        location = _read_only(location) if read_only else location
        engine = sa.create_engine(location, connect_args={"timeout": wait_s})
        sa.event.listen(engine, "connect", _read_sqlite if read_only else _set_up_sqlite)
        return engine
    options = f"-c lock_timeout={int(wait_s * 1000)}ms -c timezone=UTC"
    if read_only:
        options += " -c default_transaction_read_only=on"
    words = {"connect_timeout": CONNECT_TIMEOUT_S, "options": options, "application_name": "nightshift"}
    return sa.create_engine(location, connect_args={**words, **KEEPALIVE}, pool_pre_ping=True, pool_size=2)


def exists(url: str) -> bool:
    """Whether there is a database at a URL; one on a server is taken to be there."""
    location = sa.make_url(url)
    return location.get_backend_name() != SQLITE or Path(location.database or "").exists()


def is_postgres(connection: sa.Connection) -> bool:
    return connection.dialect.name == POSTGRES


def _read_only(location: sa.URL) -> sa.URL:
    file = Path(location.database or "").absolute().as_uri()
    return location.set(database=file, query={**location.query, "mode": "ro", "uri": "true"})


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    _read_sqlite(connection, _record)
    connection.execute("PRAGMA journal_mode=WAL")


def _read_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # whoever writes says BEGIN itself
