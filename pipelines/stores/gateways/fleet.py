"""The gateways of one traffic split: each tells the database that it lives, and reads who else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipelines.core.barrier import SeenGateway, not_ready
from pipelines.core.errors import InputError
from pipelines.stores.gateways.tables import GATEWAYS, IN_EFFECT, MIGRATIONS
from pipelines.stores.sql.database import connect_to, storable

WAIT_S = 3.0
FORGOTTEN = "1 day"  # rows of gateways that went without a word, and with an empty spool
SAID = ("url", "key_mark", "ready_for", "live", "problem", "version", "spool", "spool_rows")


@dataclass(frozen=True)
class Report:
    """What a gateway says of itself. `live`: the promotion that it answers by, -1 for none.

    `version`: see core.version. `spool_rows`: entries of its spool that have not arrived in the journal.
    """

    id: str
    url: str
    key_mark: str
    ready_for: int = -1
    live: int = -1
    problem: str = ""
    version: str = ""
    spool: str = ""
    spool_rows: int = 0


@dataclass(frozen=True)
class Fleet:
    """All gateways as the database knows them, and the promotion that is in effect (-1: none yet)."""

    in_effect: int
    gateways: Sequence[SeenGateway]


class Gateways:
    """The gateways' tables at a URL of PostgreSQL. One that is silent for `contact_s` does not live."""

    def __init__(self, url: str, contact_s: float) -> None:
        self._engine, self._contact_s = connect_to(url, WAIT_S), contact_s

    def join(self, report: Report, newest: int) -> Fleet:
        """A gateway starts. `newest`: the promotion that is in effect if no gateway ever ran.

        Raises InputError where the tables are not made, and where another gateway has another routing key.
        """
        with self._engine.begin() as connection:
            MIGRATIONS.require(connection)
            first = insert(IN_EFFECT).values(id=1, number=newest).on_conflict_do_nothing()
            connection.execute(first)
            self._lock(connection)
            old = GATEWAYS.c.seen_at < sa.func.now() - sa.cast(FORGOTTEN, sa.Interval)
            connection.execute(GATEWAYS.delete().where(old, GATEWAYS.c.spool_rows == 0))
            self._refuse_another_key(connection, report)
            _write(connection, report)
            return _read(connection)

    def beat(self, report: Report) -> Fleet:
        """A gateway lives. What it answers by is in effect from then on."""
        with self._engine.begin() as connection:
            _write(connection, report)
            if report.live > _number(connection):
                _put_in_effect(connection, report.live)
            return _read(connection)

    def agree(self, report: Report, number: int) -> Fleet:
        """A gateway is ready for a promotion. If all that live are, it is in effect.

        No gateway starts in between: joining takes the same lock.
        """
        with self._engine.begin() as connection:
            self._lock(connection)
            _write(connection, report)
            fleet = _read(connection)
            if fleet.in_effect < number and not not_ready(number, fleet.gateways, self._contact_s):
                _put_in_effect(connection, number)
                return _read(connection)
            return fleet

    def leave(self, report: Report) -> None:
        """A gateway stops: nobody waits for it. One with rows left in its spool stays in the list."""
        with self._engine.begin() as connection:
            if report.spool_rows:
                _write(connection, report)
                connection.execute(GATEWAYS.update().where(GATEWAYS.c.id == report.id).values(stopped=True))
            else:
                connection.execute(GATEWAYS.delete().where(GATEWAYS.c.id == report.id))

    def strike(self, gateway: str) -> None:
        """Take a gateway off the list. One that lives comes back with its next heartbeat."""
        with self._engine.begin() as connection:
            connection.execute(GATEWAYS.delete().where(GATEWAYS.c.id == gateway))

    def note_delivered(self, spool: str) -> None:
        """The rows of a spool have arrived without its gateway."""
        with self._engine.begin() as connection:
            connection.execute(GATEWAYS.update().where(GATEWAYS.c.spool == spool).values(spool_rows=0))

    def read(self) -> Fleet:
        """All gateways, for people. There is none before the tables are made.

        Raises InputError for tables of another version.
        """
        with self._engine.connect() as connection:
            if MIGRATIONS.current(connection) is None:
                return Fleet(-1, ())
            MIGRATIONS.require(connection)
            return _read(connection)

    def close(self) -> None:
        self._engine.dispose()

    def _lock(self, connection: sa.Connection) -> None:
        """Nobody else joins or agrees until the transaction ends. The server ends it if we go silent."""
        silent_ms = int(WAIT_S * 1000)
        connection.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = {silent_ms}"))
        connection.execute(sa.select(IN_EFFECT).with_for_update())

    def _refuse_another_key(self, connection: sa.Connection, report: Report) -> None:
        for other in _read(connection).gateways:
            if other.silent_s <= self._contact_s and other.key_mark not in ("", report.key_mark):
                raise InputError(
                    f"The gateway {other.url} has another routing key than this one.",
                    "Give all gateways the same file: the same person would be on both sides of a canary.",
                )


def _write(connection: sa.Connection, report: Report) -> None:
    now = sa.func.clock_timestamp()
    said = {name: storable(getattr(report, name)) for name in SAID}  # a problem quotes an upstream server
    said["stopped"] = False
    row = insert(GATEWAYS).values(id=report.id, started_at=now, seen_at=now, **said)
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=said | {"seen_at": now}))


def _read(connection: sa.Connection) -> Fleet:
    silent = sa.func.extract("epoch", sa.func.clock_timestamp() - GATEWAYS.c.seen_at)
    columns = [GATEWAYS.c[name] for name in ("id", *SAID, "stopped")]
    query = sa.select(*columns, silent.cast(sa.Double).label("silent_s")).order_by(GATEWAYS.c.id)
    rows = connection.execute(query).mappings()
    return Fleet(_number(connection), [SeenGateway(**row) for row in rows])


def _number(connection: sa.Connection) -> int:
    found = connection.scalar(sa.select(IN_EFFECT.c.number))
    return -1 if found is None else found


def _put_in_effect(connection: sa.Connection, number: int) -> None:
    newer = IN_EFFECT.update().where(IN_EFFECT.c.number < number)
    connection.execute(newer.values(number=number))
