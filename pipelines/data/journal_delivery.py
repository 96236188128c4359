"""A night's delivery from the journal: the day's answers with their feedback, as `ingest` reads them.

An answer is delivered in the night of its day. Answers that arrive late, and answers whose feedback changed
after their delivery, are delivered again in a later night, as long as `ingest.late_days` admits them. The
choice is recorded before the file is written, so a repeated delivery writes the same file.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.core.config import Config
from pipelines.core.interactions import COLUMNS
from pipelines.core.tools import apart
from pipelines.data.lake import write_parquet
from pipelines.data.schema import SCHEMA
from pipelines.stores import open_shared
from pipelines.stores.journal import deliveries

log = logging.getLogger("nightshift")


def deliver(config: Config, night: date) -> str:
    """Write the night's delivery, unless there is one, and return its address below `shared_root`.

    Afterwards the journal forgets answers older than `gateway.journal_days`. Raises InputError if no gateway
    has ever run in this home.
    """
    shared, path = open_shared(config), deliveries.delivery_path(night)
    if shared.exists(path):
        return f"{shared.uri}/{path}"
    url = config.path(config.journal_url)
    with deliveries.changing(url) as journal:
        deliveries.choose(journal, night, config.ingest.late_days, config.ingest.zone)
    with deliveries.changing(url) as journal:
        rows = [_as_interaction(row) for row in deliveries.chosen_rows(journal, night)]
    shared.write_bytes(path, _as_parquet(rows))
    with deliveries.changing(url) as journal:
        deliveries.forget(journal, before=night - timedelta(days=config.gateway.journal_days))
    log.info("gateway: %d answers delivered for night %s", len(rows), night)
    return f"{shared.uri}/{path}"


def _as_parquet(rows: list[dict[str, object]]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="nightshift-") as work:
        file = Path(work) / "part.parquet"
        write_parquet(file, pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA)
        return file.read_bytes()


def _as_interaction(row: Mapping[str, Any]) -> dict[str, object]:
    """The row under the log's names; what the journal does not know stays empty."""
    tools, messages = apart(json.loads(row["messages"]))
    return {name: row.get(name) for name in COLUMNS} | {"messages": messages, "tools": tools}
