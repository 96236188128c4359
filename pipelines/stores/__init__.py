"""The stores: ledger, inbox, journal, runs and signatures. All are opened here, from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.config import Config

if TYPE_CHECKING:
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

    return JournalReader(config.home)


def open_journal_writer(config: Config) -> JournalWriter:
    """The gateway's journal, to write to; created where there is none. For one gateway at a time."""
    from pipelines.stores.journal.tables import journal_path
    from pipelines.stores.journal.writer import JournalWriter

    settings = config.gateway
    return JournalWriter(journal_path(config.home), settings.journal_commit_ms, settings.journal_queue)


def open_run(config: Config, run_id: str) -> Run:
    """The folder of a run, below `runs_root`."""
    from pipelines.stores.runs import Run

    return Run(run_uri(config, run_id))


def run_uri(config: Config, run_id: str) -> str:
    """The URI of a run's folder, which a step takes as `--run-dir`."""
    return f"{config.path(config.runs_root).rstrip('/')}/{run_id}"


def run_ids(config: Config) -> list[str]:
    """Names of all runs, sorted."""
    from pipelines.stores.blobs import Folder

    return Folder(config.path(config.runs_root)).folders()
