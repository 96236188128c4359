"""What machines share below `shared_root`, and what retention removes wherever it lies."""

import threading
import time
from datetime import UTC, date, datetime

import pytest

from pipelines.core.config import load_config
from pipelines.data import delivery
from pipelines.data.held_back import held_back_items, held_back_keys, hold_back
from pipelines.data.journal_delivery import deliver
from pipelines.operations.awaited_delivery import awaits_delivery
from pipelines.stores import open_journal_writer, open_ledger, open_run, open_shared
from pipelines.stores.retention import prune
from tests.support.journal import has_arrived, make_interaction
from tests.support.manifests import make_manifest

NIGHT = date(2026, 1, 1)
DAY_S = 86_400


@pytest.fixture(params=["local", "s3"])
def config(request, home):
    if request.param == "local":
        return load_config("config/demo.toml", home)
    root = request.getfixturevalue("bucket")
    return load_config(
        "config/demo.toml", home, {name: f"{root}/{name}" for name in ("shared_root", "runs_root")}
    )


def say(text):
    return [{"role": "user", "content": text}]


def test_two_machines_add_at_once_and_lose_nothing(config):
    def add(number):
        hold_back(config, [f"key-{number}"], "a suite", [say(f"question {number}")])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"key-{number}" for number in range(8)} < held_back_keys(config)
    assert len(held_back_items(config)) == 8
    assert hold_back(config, ["key-1"], "a suite") == 0


def test_the_list_of_an_older_version_still_counts(config):
    open_shared(config).write_bytes("held_back.jsonl", b'{"key": "old", "suite": "s", "at": ""}\n')
    hold_back(config, ["new"], "a suite")
    assert held_back_keys(config) == {"old", "new"}


def test_old_attempts_go_and_the_winner_stays(config):
    open_ledger(config)
    run = open_run(config, str(NIGHT))
    won, killed = run.begin("curate", None), run.begin("curate", None)
    for attempt in (won, killed):
        (attempt.out / "card.md").write_text("card")
    if not run.folder.is_local:
        run.folder.upload(killed.out, f"curate/{killed.name}")
    assert won.publish(make_manifest("curate", attempt=won.place))
    assert prune(config) == []
    later = time.time() + 8 * DAY_S
    (gone,) = prune(config, now=later)
    assert gone.endswith(killed.name)
    assert sorted(path.rpartition("/")[2] for path in run.folder.files()) == ["card.md", "manifest.json"]
    assert prune(config, now=later) == []


def test_old_deliveries_go_wherever_they_lie(config):
    open_ledger(config)
    open_shared(config).write_bytes("gateway/interactions/dt=2026-01-01/part.parquet", b"x")
    assert prune(config) == []
    assert prune(config, now=time.time() + 61 * DAY_S) == ["gateway/interactions/dt=2026-01-01"]
    assert not open_shared(config).files("gateway")


def test_a_delivery_is_written_once_and_read_by_ingest(config):
    journal = open_journal_writer(config)
    try:
        journal.add(make_interaction("a", datetime(2026, 1, 1, 12, tzinfo=UTC)))
        has_arrived(journal)
    finally:
        journal.close()
    assert awaits_delivery(config, NIGHT)
    where = deliver(config, NIGHT)
    assert where.startswith(config.path(config.shared_root))
    assert delivery.names(where) == ["part.parquet"]
    before = delivery.digest(where)
    assert (deliver(config, NIGHT), delivery.digest(where)) == (where, before)
    assert not awaits_delivery(config, NIGHT)
