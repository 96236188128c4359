"""Brings the tables of a store up to this version, with Alembic.

Each store has a folder `versions/` of migrations, and a table of its own that names the one a database is at,
as MLflow and Airflow use Alembic too and may share the database. SQLite is brought up whenever a store opens.
On PostgreSQL the role of the steps may not change tables, so `nightshift databases` does it as their owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import sqlalchemy as sa

from pipelines.core.errors import InputError

IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_$]*$")


class Migrations:
    """The migrations of one store, `name`, whose newest is `head`."""

    def __init__(self, name: str, head: str) -> None:
        self.name, self.head = name, head
        self.version_table = f"{name}_version"

    def current(self, connection: sa.Connection) -> str | None:
        """The migration that a database is at; None for one without tables."""
        if not sa.inspect(connection).has_table(self.version_table):
            return None
        return connection.scalar(sa.text(f"SELECT version_num FROM {self.version_table}"))

    def require(self, connection: sa.Connection) -> None:
        """Raises InputError where the tables are not those of this version."""
        found = self.current(connection)
        if found == self.head:
            return
        where = f"{connection.engine.url.host}/{connection.engine.url.database}"
        state = f"are at migration {found}" if found else "are not made yet"
        newer = found is not None and found > self.head
        remedy = "Update Nightshift." if newer else "Run `nightshift databases --as OWNER`."
        raise InputError(f"The tables of the {self.name} in {where} {state}, not at {self.head}.", remedy)

    def upgrade(self, connection: sa.Connection) -> bool:
        """Bring the tables up to this version, in the transaction under way. Whether anything was done.

        Raises InputError for tables of a newer version.
        """
        found = self.current(connection)
        if found == self.head:
            return False
        if found is not None and found > self.head:
            raise InputError(
                f"The {self.name} was written by a newer Nightshift: it is at migration {found}, "
                f"and this version knows {self.head}.",
                "Update Nightshift.",
            )
        self._run(connection)
        return True

    def _run(self, connection: sa.Connection) -> None:
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
        from alembic.script import ScriptDirectory

        folder = Path(__file__).parents[1] / self.name
        scripts = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": self.version_table,
                "fn": lambda found, _: scripts._upgrade_revs(self.head, found),
            },
        )
        with Operations.context(context):
            context.run_migrations()


Rights = Mapping[str, Iterable[str]]  # SELECT, INSERT, ... by table


def grant(connection: sa.Connection, role: str, rights: Rights) -> None:
    """Give a role these rights on tables, and no other. Raises InputError for an odd name."""
    if not IDENTIFIER.match(role):
        raise InputError(f"{role!r} is not a name for a role.", "Use letters, digits and underscores.")
    for table, verbs in rights.items():
        connection.execute(sa.text(f'REVOKE ALL ON {table} FROM "{role}"'))
        connection.execute(sa.text(f'GRANT {", ".join(verbs)} ON {table} TO "{role}"'))
