"""Live traffic for tests of the watch: real questions, answered and rated, in a gateway's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.data.lake import Lake
from pipelines.models.registry import Registry
from pipelines.models.tracker import Tracker
from pipelines.stores.journal.tables import journal_path
from pipelines.stores.journal.writer import JournalWriter
from tests.support.configs import make_config
from tests.support.interactions import LABELS
from tests.support.journal import make_interaction
from tests.support.kept import share_heads
from tests.support.questions import night_of_questions

KEPT = (
    "tenant", "subject_id", "messages", "completion", "locale", "channel",
    "tokens_in", "tokens_out", "latency_ms",
)  # fmt: skip


def watch_config(home: Path, **settings: Any) -> Config:
    """All labels, and four watches a day. `settings` are keys of [watch], or dotted."""
    usual = {"task.labels": list(LABELS), "schedule": "0 */6 * * *"}
    share_heads(home)
    return make_config(home, "watch", **(usual | settings))


def register(config: Config) -> Adapter:
    """Register a version that learned from nothing in the lake; its files are only bytes."""
    folder = Path(config.home) / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_text("weights")
    uri = config.path(config.tracking_uri)
    tracker = Tracker(uri, config.path(config.artifact_root))
    mlflow_id = tracker.run("2026-01-01", "1" * 64)
    registry = Registry(uri, config.register_.name)
    made = registry.register(folder, tracker, mlflow_id, "2026-01-01", (), {})
    return Adapter(made.version, made.digest)


def fill_lake(config: Config, first: datetime, nights: int, rows: int, **kwargs: Any) -> None:
    lake = Lake(config.path(config.lake_root), 256)
    for number in range(nights):
        night = (first + timedelta(days=number)).date()
        lake.publish(night, night_of_questions(night, rows, seed=70 + number, **kwargs))


def questions_of(now: datetime, n: int, seed: int, shares: Mapping[str, float] | None = None) -> list[dict]:
    return night_of_questions(now.date(), n, seed, shares).to_pylist()


def send(
    config: Config, rows: Sequence[Mapping[str, Any]], since: datetime, until: datetime, **changes: Any
) -> None:
    """Spread rows evenly over a time, in the journal; `changes` are fields of all of them."""
    journal, step = JournalWriter(journal_path(config.home), 1, 100_000), (until - since) / (len(rows) + 1)
    kept = []
    for number, row in enumerate(rows, start=1):
        at = since + number * step
        name = f"{at.isoformat()}-{row['request_id']}"
        fields: dict[str, Any] = {name: row[name] for name in KEPT}
        journal.add(make_interaction(name, at, **(fields | changes)))
        if row["rating"] is not None and not changes.get("fault"):
            kept.append(journal.feedback(name, fields["tenant"], row["rating"], row["correction"]))
    for answer in kept:
        assert answer.result(30) == "stored"
    journal.close()
