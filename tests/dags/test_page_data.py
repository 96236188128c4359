"""What the page reads from the stores: also while they are not there, and never writing to them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from nightshift.page.data import TABLES, _outcomes, read_ledger

from pipelines.core.alerts import Silence
from pipelines.core.traffic_split import Adapter, Route
from pipelines.stores import open_inbox, open_ledger
from pipelines.stores.inbox import in_force
from pipelines.stores.ledger.tables import DECISIONS, META
from pipelines.stores.sql.database import connect_to
from tests.support.browser_nights import decision, rows_of

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)


def url_of(settings):
    return settings.config.path(settings.config.ledger_url)


def test_a_missing_ledger_is_empty_and_stays_missing(settings):
    assert read_ledger(url_of(settings)) == {name: [] for name in TABLES}
    assert not (settings.home / "ledger.db").exists()


def test_a_ledger_without_a_newer_table_is_still_read(settings, tmp_path):
    url = f"sqlite:///{tmp_path}/old, 100%.db"
    engine = sa.create_engine(url)
    META.create_all(engine, tables=[DECISIONS])
    with engine.begin() as connection:
        connection.execute(DECISIONS.insert(), rows_of([decision("2026-01-01", "held")]))
    rows = read_ledger(url)
    assert [row["run_id"] for row in rows["decisions"]] == ["2026-01-01"]
    assert rows["watches"] == []


def test_rows_come_oldest_first(settings):
    ledger = open_ledger(settings.config)
    for day in ("2026-01-02", "2026-01-01", "2026-01-03"):
        ledger.append(DECISIONS, *rows_of([decision(day, "held")]))
    found = read_ledger(url_of(settings))["decisions"]
    assert [row["night"] for row in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_reading_cannot_write(settings):
    open_ledger(settings.config)
    engine = connect_to(url_of(settings), read_only=True)
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
        connection.execute(DECISIONS.insert(), rows_of([decision("2026-01-01", "held")]))


def test_a_silence_that_was_ended_early_is_over(settings):
    inbox, matchers = open_inbox(settings.config), {"name": "A*"}
    inbox.add_silence(Silence(matchers, NOW + timedelta(hours=2), "ann", "known"), NOW)
    rows = read_ledger(url_of(settings))["silences"]
    assert [found.actor for found in in_force(rows, NOW.isoformat(timespec="microseconds"))] == ["ann"]
    inbox.add_silence(Silence(matchers, NOW, "ann", "over"), NOW + timedelta(minutes=1))
    rows = read_ledger(url_of(settings))["silences"]
    assert in_force(rows, (NOW + timedelta(minutes=2)).isoformat(timespec="microseconds")) == []


def test_without_a_journal_a_rollout_has_no_outcomes(settings):
    ledger = open_ledger(settings.config)
    ledger.add_promotion(ledger.promotion(), "shadow", Route(shadow=Adapter("1", "d" * 64)), "why", "ann")
    promotions = read_ledger(url_of(settings))["promotions"]
    assert json.loads(promotions[0]["route"])["shadow"]["version"] == "1"
    assert _outcomes(settings.config, promotions) == []
    assert _outcomes(settings.config, []) == []
