"""`nightshift databases`: create the tables of ledger and journal, or bring them up to this version.

On PostgreSQL two roles share the work. The owner's makes and changes tables. The one that the profile names
answers for all else, and may only add rows to the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.stores import open_ledger
from pipelines.stores.gateways import tables as gateways_tables
from pipelines.stores.journal import tables as journal_tables
from pipelines.stores.ledger import tables as ledger_tables
from pipelines.stores.sql.database import SQLITE, cause_of, connect_to, dialect, patiently
from pipelines.stores.sql.migrations import Migrations, Rights, grant

NO_PRIVILEGE = "42501"  # PostgreSQL's SQLSTATE
UPGRADE_LOCK = 0x6D6967  # of the advisory lock that two upgrades at once share


@dataclass(frozen=True)
class Store:
    """A store with tables: its name, the setting of its URL, and what its tables need."""

    name: str
    setting: str
    migrations: Migrations
    rights: Rights


LEDGER = Store("ledger", "ledger_url", ledger_tables.MIGRATIONS, ledger_tables.RIGHTS)
JOURNAL = Store("journal", "journal_url", journal_tables.MIGRATIONS, journal_tables.RIGHTS)
GATEWAYS = Store("gateways", "ledger_url", gateways_tables.MIGRATIONS, gateways_tables.RIGHTS)
STORES = (LEDGER, JOURNAL, GATEWAYS)


def upgrade_databases(config: Config, owner: str = "", wait_s: float = 60.0) -> list[str]:
    """Bring every store's tables up to this version; returns a line a store.

    `owner`: the role that makes tables, where it is not the one in the profile's URLs.
    """
    lines = []
    if dialect(config.path(config.ledger_url), "ledger_url") == SQLITE:
        open_ledger(config)
    for store in STORES:
        url = config.path(getattr(config, store.setting))
        if dialect(url, store.setting) == SQLITE:
            lines.append(f"{store.name}: SQLite, which is brought up to date when it is opened")
        else:
            lines.append(upgrade(store, url, owner, wait_s))
    return lines


def upgrade(store: Store, url: str, owner: str = "", wait_s: float = 60.0) -> str:
    """Bring one store's tables on PostgreSQL up to this version, and grant the URL's role what it needs."""
    location = sa.make_url(url)
    role = location.username or ""
    engine = connect_to((location.set(username=owner) if owner else location).render_as_string())

    def attempt() -> bool:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            changed = store.migrations.upgrade(connection)
            if owner and owner != role:
                grant(connection, role, store.rights)
            return changed

    try:
        changed = patiently(attempt, wait_s)
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NO_PRIVILEGE:
            raise
        raise InputError(
            f"The role {owner or role} may not make the tables of the {store.name} in {location.database}: "
            f"{cause_of(error)}.",
            "Name the role that owns the database with --as.",
        ) from error
    finally:
        engine.dispose()
    done = "brought to" if changed else "at"
    rights = f"; {role} may add rows, and change none of the ledger" if owner and owner != role else ""
    return (
        f"{store.name}: {location.host}/{location.database}, {done} migration {store.migrations.head}{rights}"
    )
