"""What a gateway that is gone for good left in its spool is delivered once, whatever happens on the way."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from pipelines.core.errors import InputError
from pipelines.operations.gateways import deliver_spool, strike_gateway
from pipelines.stores import open_gateways, open_journal_writer
from pipelines.stores.gateways.fleet import Report
from pipelines.stores.held_move import gone_gateways
from pipelines.stores.journal import spool
from pipelines.stores.journal.entries import Feedback, ShadowCopy
from pipelines.stores.journal.tables import SHIPPING
from pipelines.stores.sql.database import connect_to
from tests.support.double_engine import DoubleEngine
from tests.support.fleets import member_config
from tests.support.gateways import chat, gateway, gateway_config, process, until
from tests.support.journal import make_interaction, rows_at

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
ROWS = 1200  # in three batches


@pytest.fixture
def config(home, database):
    return gateway_config(home).model_copy(update={"ledger_url": database, "journal_url": database})


@pytest.fixture
def lost(tmp_path):
    """The home of a gateway that was killed, with rows, feedback and a copy under way in its spool."""
    path = spool.spool_path(tmp_path / "lost")
    path.parent.mkdir(parents=True)
    with closing(spool.connect_spool(path)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute("BEGIN")
        for number in range(ROWS):
            assert spool.spool_entry(file, make_interaction(f"r-{number}", NOW)) == "stored"
        for fate in ("offered", "offered", "answered"):
            assert spool.spool_entry(file, ShadowCopy(4, fate)) == "stored"
        said = Feedback("r-7", "north-clinic", -1, "Surgery", NOW, None)
        assert spool.spool_entry(file, said) == "stored"
        file.execute("COMMIT")
        shutil.copy(path, path.with_name("kept"))  # a closing connection empties the file beside it
        shutil.copy(f"{path}-wal", path.with_name("kept-wal"))
    for name in ("", "-wal"):
        path.with_name(f"kept{name}").rename(f"{path}{name}")
    return tmp_path / "lost"


def change(lost, statement, *values):
    """Change an entry, as a damaged disk would."""
    with closing(sqlite3.connect(spool.spool_path(lost), isolation_level=None)) as file:
        file.execute(statement, values)


def counts(database):
    engine = connect_to(database)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT offered, answered, failed, dropped FROM shadow_copies"))
        return [tuple(row) for row in found]


def test_all_is_delivered_and_a_second_time_nothing(config, lost, database, capsys):
    assert deliver_spool(config, str(lost)) == 0
    assert "stored     1,200 answers, 1 feedback, 3 counts" in capsys.readouterr().out
    rows = {row["request_id"]: row["correction"] for row in rows_at(database)}
    assert (len(rows), rows["r-7"]) == (ROWS, "Surgery")
    assert counts(database) == [(2, 1, 0, 1)]  # what it was working on comes to nothing
    assert deliver_spool(config, str(lost / "gateway")) == 0
    said = capsys.readouterr().out
    assert "stored     0 answers, 0 feedback, 0 counts" in said
    assert "1,204 entries had arrived already" in said
    assert len(rows_at(database)) == ROWS
    assert counts(database) == [(2, 1, 0, 1)]


def test_what_had_arrived_is_not_stored_again(config, lost, database):
    """The gateway had shipped a part of it when it was lost; it is started again after the delivery."""
    deliver_spool(config, str(lost))
    again = config.model_copy(update={"home": str(lost)})
    journal = open_journal_writer(again)
    journal.add(make_interaction("later", NOW))
    until(lambda: len(rows_at(database)) == ROWS + 1)
    until(lambda: not journal.shipper.backlog()[0])
    journal.close()
    assert counts(database) == [(2, 1, 0, 1)]


def command(lost, database):
    more = [f"--set={name}={database}" for name in ("ledger_url", "journal_url")]
    words = ["spool", "deliver", str(lost), "--config", "tests/support/tiny.toml", "--home", str(lost.parent)]
    return [sys.executable, "-m", "pipelines", *words, *more]


@pytest.mark.slow
def test_killed_half_way_it_goes_on(config, lost, database, postgres):
    name = sa.make_url(database).database
    postgres.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'",
        name,
    )
    postgres.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON interactions FOR EACH ROW "
        "WHEN (NEW.request_id = 'r-700') EXECUTE FUNCTION wait()",
        name,
    )
    running = subprocess.Popen(command(lost, database))
    try:
        until(lambda: len(rows_at(database)) == 500, 60)
    finally:
        running.kill()
        running.wait()
    hung = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active'"
    postgres.execute(hung.format(name))
    assert len(rows_at(database)) == 500
    postgres.execute("DROP TRIGGER slow ON interactions", name)
    done = subprocess.run(command(lost, database), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "stored     700 answers, 1 feedback" in done.stdout
    assert len(rows_at(database)) == ROWS
    assert counts(database) == [(2, 1, 0, 1)]


@pytest.mark.slow
def test_a_gateway_killed_with_rows_left(tmp_path, database):
    """Its rows could not be shipped; the list says how many it had, and they are delivered from its home."""
    config = member_config(tmp_path, "lost", database, contact_s=2.0)
    engine = connect_to(database)
    top = {name: getattr(config, name) for name in ("ledger_url", "journal_url", "keys")}
    quick = {"contact_s": 2.0, "heartbeat_s": 0.2}
    with engine.connect() as connection, process(tmp_path / "lost", **top, **quick) as (started, running):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SHIPPING)))  # nothing arrives
        with running.client() as client:
            asked = [client.post("/v1/chat/completions", json=chat(f"case {n}")) for n in range(12)]
        answers = {answer.json()["id"] for answer in asked}
        with closing(open_gateways(config)) as gateways:
            until(lambda: [one.spool_rows >= 12 for one in gateways.read().gateways] == [True], 30)
        with pytest.raises(InputError, match=r"was heard of \d+ s ago"):
            deliver_spool(config, str(tmp_path / "lost"))
        started.kill()
        started.wait(20)
    assert rows_at(database) == []
    until(lambda: len(gone_gateways(config)) == 1, 30)
    left = gone_gateways(config)[0].spool_rows
    with gateway(member_config(tmp_path, "other", database, contact_s=2.0), DoubleEngine()) as other:
        until(lambda: (other.metric("others_gone"), other.metric("others_left_rows")) == (1, left))
        assert deliver_spool(config, str(tmp_path / "lost")) == 0
        until(lambda: (other.metric("others_gone"), other.metric("others_left_rows")) == (1, 0))
        assert strike_gateway(config, running.url) == 0
        until(lambda: other.metric("others_gone") == 0)
    assert {row["request_id"] for row in rows_at(database)} == answers
    assert gone_gateways(config) == []
    engine.dispose()


def test_a_torn_last_write_costs_only_itself(config, lost, database):
    """The machine lost power while SQLite wrote: the last commit is half there."""
    path = spool.spool_path(lost)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        body = spool.json.dumps(dict(zip(spool.COLUMNS, make_interaction("torn", NOW).values(), strict=True)))
        file.execute(spool.INSERT, (time.time(), "Interaction", body))
        wal = path.with_name("spool.db-wal")
        half, main = wal.read_bytes()[:-2000], path.read_bytes()
    wal.write_bytes(half)
    path.write_bytes(main)
    assert deliver_spool(config, str(lost)) == 0
    rows = {row["request_id"] for row in rows_at(database)}
    assert len(rows) == ROWS
    assert "torn" not in rows


def test_a_damaged_entry_is_named_and_the_others_arrive(config, lost, database, capsys):
    change(lost, "UPDATE entries SET body = substr(body, 1, 40) WHERE number = 3")
    change(lost, "UPDATE entries SET body = CAST(x'ff00' AS TEXT) WHERE number = 5")
    change(lost, "UPDATE entries SET body = replace(body, '2026-03-03', 'a day') WHERE number = 9")
    assert deliver_spool(config, str(lost)) == 2
    said = capsys.readouterr().out
    assert "refused    entry 3: unreadable" in said
    assert "refused    entry 5: unreadable" in said
    assert "refused    entry 9: ValueError" in said
    assert len(rows_at(database)) == ROWS - 3
    assert deliver_spool(config, str(lost)) == 0  # they are known, and the rest is there
    assert len(rows_at(database)) == ROWS - 3


def test_a_page_that_is_damaged_costs_its_entries(config, lost, database, capsys):
    path = spool.spool_path(lost)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        at = file.read().index(b'"r-600"')
        file.seek(at - at % 4096)
        file.write(os.urandom(1) and b"\xff" * 4096)
    assert deliver_spool(config, str(lost)) == 2
    lost_words = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lost")]
    assert len(lost_words) == 1
    rows = {row["request_id"]: row["rating"] for row in rows_at(database)}
    assert ROWS - 30 < len(rows) < ROWS
    assert "r-600" not in rows
    assert {"r-0", "r-560", "r-640", "r-1199"} <= rows.keys()
    assert rows["r-7"] == -1


def test_a_spool_in_use_is_refused(config, tmp_path, lost):
    own = config.model_copy(update={"home": str(tmp_path / "alive")})
    journal = open_journal_writer(own)
    try:
        with pytest.raises(InputError, match="A gateway uses the spool"):
            deliver_spool(config, str(tmp_path / "alive"))
        with pytest.raises(InputError, match="A gateway uses the spool"):
            open_journal_writer(own)
    finally:
        journal.close()
    assert deliver_spool(config, str(tmp_path / "alive")) == 0


def test_a_copy_of_a_living_gateways_spool_is_refused(config, lost, database):
    with closing(spool.connect_spool(spool.spool_path(lost))) as file:
        name = spool.spool_id(file)
    gateways = open_gateways(config)
    gateways.join(Report("a", "http://a:8000", "key", spool=name, spool_rows=7), 0)
    with pytest.raises(InputError, match=r"http://a:8000 was heard of \d+ s ago"):
        deliver_spool(config, str(lost))
    gateways.leave(Report("a", "http://a:8000", "key", spool=name, spool_rows=7))
    assert [one.spool_rows for one in gateways.read().gateways] == [7]
    deliver_spool(config, str(lost))
    assert [one.spool_rows for one in gateways.read().gateways] == [0]
    gateways.close()


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 400])
def test_what_is_no_spool_is_refused(config, tmp_path, content):
    folder = tmp_path / "odd"
    folder.mkdir()
    if content is not None:
        (folder / "spool.db").write_bytes(content)
    with pytest.raises(InputError, match=r"There is no spool in|cannot be read"):
        deliver_spool(config, str(folder))


def test_a_database_that_is_away_is_waited_for(config, lost, database, postgres):
    import threading

    postgres.server.stop(signal.SIGQUIT)
    later = threading.Timer(1.5, lambda: postgres.server.start(postgres.is_ready))
    later.start()
    try:
        alone = config.model_copy(update={"ledger_url": f"sqlite:///{lost}/ledger.db"})
        assert deliver_spool(alone, str(lost)) == 0
    finally:
        later.join()
    assert len(rows_at(database)) == ROWS
