"""SQL databases: SQLite in a file of the home, or PostgreSQL. Each store opens its own from its URL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pipelines.core.errors import ConfigError, UnavailableError

SQLITE, POSTGRES = "sqlite", "postgresql"
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), POSTGRES)  # sorted by its bytes, as SQLite does
T = TypeVar("T")
log = logging.getLogger("nightshift")
RETRY_S = 0.5  # between two tries to reach a server that is away
# SQLSTATEs of a server that stops or starts, of a lost connection, and of a standby after a switch.
AWAY = ("57P01", "57P02", "57P03", "57P05", "53300", "25006")
CONNECT_TIMEOUT_S = 5
# A server that is gone is noticed on a connection that waits: after 5 s of silence, 3 questions of 2 s each.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
KEEPALIVE |= {"tcp_user_timeout": 10_000}  # ms; what was sent and is never acknowledged


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


def patiently(work: Callable[[], T], wait_s: float) -> T:
    """What `work` returns. While a server is away it is tried again, so it must be safe to do twice.

    Raises UnavailableError when the server is away for longer than `wait_s`.
    """
    end, told = time.monotonic() + wait_s, False
    while True:
        try:
            return work()
        except sa.exc.DBAPIError as error:
            if not is_away(error):
                raise
            if time.monotonic() >= end:
                raise UnavailableError(
                    f"PostgreSQL cannot be reached: {_said(error)}.",
                    "Start it, or correct the address in the profile and the password in PGPASSFILE.",
                ) from error
            if not told:
                log.warning("PostgreSQL cannot be reached, trying again for %.0f s: %s", wait_s, _said(error))
                told = True
        time.sleep(RETRY_S)


def is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether an error says that a server cannot be reached now, and not that a statement is wrong."""
    original = error.orig
    if type(original).__module__.partition(".")[0] != "psycopg":
        return False
    state = getattr(original, "sqlstate", None)
    if state is None:  # no answer of the server at all
        return error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
    return error.connection_invalidated or state in AWAY or state.startswith("08")


def _said(error: sa.exc.DBAPIError) -> str:
    """The first line of what the driver said; it names host, port and user, and no password."""
    return str(error.orig).strip().splitlines()[0].rstrip(".")


def exists(url: str) -> bool:
    """Whether there is a database at a URL; one on a server is taken to be there."""
    location = sa.make_url(url)
    return location.get_backend_name() != SQLITE or Path(location.database or "").exists()


def cause_of(error: BaseException) -> str:
    """What a database said, in one line: without the statement and its values, which may hold texts."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"


def sqlite_file(url: str) -> Path:
    """The file of an SQLite database."""
    return Path(sa.make_url(url).database or "")


def storable(value: Any) -> Any:
    """A value as both databases take it.

    Half a character and the character NUL become "?", a whole number fits into 64 bits.
    """
    if isinstance(value, str):
        return value.replace("\0", "?").encode(errors="replace").decode()
    if isinstance(value, int):
        return max(-(2**63), min(value, 2**63 - 1))
    return value


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
