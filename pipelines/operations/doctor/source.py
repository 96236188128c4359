"""Where a night's interactions come from."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.operations.doctor.finding import Finding
from pipelines.stores.journal.reader import JournalReader
from pipelines.stores.object_store import file_system, told
from pipelines.stores.sql.database import cause_of


def look_at_source(config: Config) -> Finding:
    """Whether there is anything to read; there need not be before the first night."""
    if config.ingest.kind == "sample":
        return Finding("ok", "source", "The sample's own questions are asked.")
    if config.ingest.kind == "gateway":
        return _gateway(config.path(config.journal_url))
    return _files(config.ingest.source.replace("{home}", config.home).replace("{night}", "*"))


def _gateway(url: str) -> Finding:
    journal = sa.make_url(url).render_as_string()
    try:
        found = JournalReader(url).exists()
    except sa.exc.SQLAlchemyError as error:
        said = f"The gateway's journal {journal} cannot be read ({cause_of(error)})."
        return Finding("fail", "source", said, "Start the database, or correct journal_url.")
    if found:
        return Finding("ok", "source", f"The gateway's journal is {journal}.")
    return Finding(
        "warn", "source", f"The gateway has no journal at {journal} yet.", "Run `make serve` first."
    )


def _files(pattern: str) -> Finding:
    try:
        fs, path = file_system(pattern)
        with told(pattern, "ingest.source"):
            found = len(fs.glob(path))
    except NightshiftError as error:
        return Finding("fail", "source", error.problem, error.remedy)
    except (OSError, ValueError, ImportError) as error:
        said = f"{pattern} cannot be listed ({str(error).splitlines()[0]})."
        return Finding("fail", "source", said, "Correct ingest.source.")
    if found:
        return Finding("ok", "source", f"{found} files match {pattern}.")
    return Finding(
        "warn", "source", f"No file matches {pattern}.", "Deliver a night, or correct ingest.source."
    )
