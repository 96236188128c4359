"""The stores: ledger, inbox, journal, runs and signatures. All are opened here, from a configuration."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.config import Config

if TYPE_CHECKING:
    from pipelines.stores.blobs import Folder
    from pipelines.stores.gateways.fleet import Gateways
    from pipelines.stores.inbox import Inbox
    from pipelines.stores.journal.reader import JournalReader
    from pipelines.stores.journal.writer import JournalWriter
    from pipelines.stores.ledger import Ledger
    from pipelines.stores.runs import Run


def open_ledger(config: Config, wait_s: float = 120.0) -> Ledger:
    """The ledger; an SQLite file is created where there is none.

    Waits up to `wait_s` seconds for another writer, and for a server that is away.
    """
    from pipelines.stores.ledger import Ledger
    from pipelines.stores.ledger.head import HeadFile

    url = config.path(config.ledger_url)
    if url.startswith("sqlite"):
        return Ledger(url, wait_s)
    head = HeadFile(Path(config.home) / "ledger.head", config.keys_folder)
    return Ledger(url, wait_s, head)


def has_ledger(config: Config) -> bool:
    """Whether there is a ledger; opening one creates it."""
    from pipelines.stores.sql.database import exists

    return exists(config.path(config.ledger_url))


def open_inbox(config: Config, wait_s: float = 120.0) -> Inbox:
    """The inbox of alerts, which is part of the ledger."""
    from pipelines.stores.inbox import Inbox

    return Inbox(open_ledger(config, wait_s))


def open_journal(config: Config) -> JournalReader:
    """The gateway's journal, to read from; it may not exist yet."""
    from pipelines.stores.journal.reader import JournalReader

    return JournalReader(config.path(config.journal_url))


def open_journal_writer(config: Config) -> JournalWriter:
    """The gateway's journal, to write to; created where there is none. A home is for one gateway at a time.

    What goes to PostgreSQL lies in the home's spool until it has arrived there.
    """
    from pipelines.stores.journal import spool
    from pipelines.stores.journal.shipper import Shipper
    from pipelines.stores.journal.writer import JournalWriter
    from pipelines.stores.sql.database import SQLITE, dialect, sqlite_file

    url, settings = config.path(config.journal_url), config.gateway
    limits = (settings.journal_commit_ms, settings.journal_queue)
    if dialect(url, "journal_url") == SQLITE:
        return JournalWriter(sqlite_file(url), *limits)
    path = spool.spool_path(config.home)
    shipper = Shipper(path, url, settings.feedback_wait_s, settings.max_body_bytes)
    connect = spool.connect_within(settings.spool_gib)
    write = partial(spool.spool_entry, reserve=shipper.reserve)
    return JournalWriter(path, *limits, connect=connect, write=write, shipper=shipper)


def open_gateways(config: Config) -> Gateways | None:
    """Which gateways live; None with a ledger in SQLite, where there is one."""
    from pipelines.stores.sql.database import SQLITE, dialect

    url = config.path(config.ledger_url)
    if dialect(url, "ledger_url") == SQLITE:
        return None
    from pipelines.stores.gateways.fleet import Gateways

    return Gateways(url, config.gateway.contact_s)


def open_run(config: Config, run_id: str) -> Run:
    """The folder of a run, below `runs_root`."""
    from pipelines.core.cache import OUTPUTS
    from pipelines.stores.runs import Run

    return Run(run_uri(config, run_id), Path(config.home) / "cache" / OUTPUTS)


def run_uri(config: Config, run_id: str) -> str:
    """The URI of a run's folder, which a step takes as `--run-dir`."""
    return f"{config.path(config.runs_root).rstrip('/')}/{run_id}"


def report_uri(config: Config, run_id: str) -> str:
    """Where a night's report lies, for people."""
    from pipelines.stores.runs import Run

    run = Run(run_uri(config, run_id))
    return f"{run.folder.uri}/report/report.html" if run.folder.is_local else run.uri_of("report", "report")


def open_shared(config: Config) -> Folder:
    """The folder of what several machines share, at `shared_root`."""
    from pipelines.stores.blobs import Folder

    return Folder(config.path(config.shared_root), "shared_root")


def run_ids(config: Config) -> list[str]:
    """Names of all runs, sorted."""
    from pipelines.stores.blobs import Folder

    return Folder(config.path(config.runs_root)).folders()
