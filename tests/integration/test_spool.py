"""What waits in a gateway's spool reaches PostgreSQL once, whatever fails on the way."""

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from pipelines.core.config.serving import Gateway
from pipelines.core.traffic_split import Adapter
from pipelines.stores import open_journal, open_journal_writer
from pipelines.stores.journal import spool
from pipelines.stores.journal.arrivals import feedback_without_answer, on_top, ship
from pipelines.stores.journal.tables import FEEDBACK_WAITING, SPOOLS
from pipelines.stores.sql import database as databases
from tests.support.chaos import fill, small_disk
from tests.support.gateways import gateway_config, until
from tests.support.journal import has_arrived, make_interaction, rows_at

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
TENANT = "north-clinic"
LARGEST = Gateway().max_body_bytes


def make_row(name, **changes):
    return make_interaction(name, NOW, **({"adapter": "3", "digest": "d"} | changes))


@pytest.fixture
def start(tmp_path, database):
    """Starts the journal of a gateway by its name, over and over."""
    opened = []

    def start(name="one", **settings):
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        config = gateway_config(home, **settings).model_copy(update={"journal_url": database})
        opened.append(open_journal_writer(config))
        return opened[-1]

    yield start
    for journal in opened:
        journal.close()


@pytest.fixture
def connection(database):
    engine = databases.connect_to(database)
    with engine.connect() as found:
        yield found
    engine.dispose()


def test_a_database_that_is_away_loses_nothing(start, database, postgres):
    journal = start()
    journal.add(make_row("before"))
    has_arrived(journal)
    postgres.server.stop(signal.SIGQUIT)  # at once, as after a loss of power
    try:
        started = time.monotonic()
        for number in range(1200):
            journal.add(make_row(f"r-{number}"))
        stored = journal.feedback("r-7", TENANT, -1, "Surgery")
        assert stored.result(5) == "stored"
        assert time.monotonic() - started < 3
        until(lambda: "rows wait in the spool" in journal.shipper.problem)
        rows, age_s = journal.shipper.backlog()
        assert rows == 1201
        assert age_s > 0
    finally:
        postgres.server.start(postgres.is_ready)
    until(lambda: not journal.shipper.backlog()[0], 30)
    found = {row["request_id"]: row["correction"] for row in rows_at(database)}
    assert len(found) == 1201
    assert found["r-7"] == "Surgery"
    until(lambda: not journal.shipper.problem)


def test_the_next_start_ships_what_was_left(start, database, postgres):
    postgres.server.stop(signal.SIGINT)
    try:
        journal = start()
        journal.add(make_row("early"))
        journal.feedback("early", TENANT, 1, None).result(5)
        journal.close()
        assert journal.shipper.backlog()[0] == 3  # and the mark of the start
    finally:
        postgres.server.start(postgres.is_ready)
    has_arrived(start())
    assert [(row["request_id"], row["rating"]) for row in rows_at(database)] == [("early", 1)]


def entries_of(tmp_path, *entries):
    """These entries as they lie in a spool."""
    with closing(spool.connect_spool(tmp_path / "spool.db")) as file:
        for entry in entries:
            assert spool.spool_entry(file, entry) == "stored"
        return spool.first_entries(file, 1000, 1 << 20)


def feedback(name, rating, correction=None, minutes=0):
    from pipelines.stores.journal.entries import Feedback

    return Feedback(name, TENANT, rating, correction, NOW + timedelta(minutes=minutes), None)


def copy(fate, row=None):
    from pipelines.stores.journal.entries import ShadowCopy

    return ShadowCopy(4, fate, row)


def test_what_is_shipped_twice_is_stored_once(tmp_path, connection, database):
    """As after a kill between PostgreSQL's commit and the removal from the spool."""
    shadow = make_row("a.shadow", route="shadow", parent="a")
    said = [feedback("a", -1), feedback("a", None, "Surgery", 1), feedback("a", 1, minutes=2)]
    entries = entries_of(tmp_path, make_row("a"), copy("offered"), copy("answered", shadow), *said)
    for some in (entries[:2], entries[:5], entries[:5], entries, entries[3:]):
        ship(connection, "s", some)
        connection.commit()
    rows = rows_at(database)
    assert [(row["request_id"], row["rating"], row["correction"]) for row in rows] == [
        ("a", 1, None),
        ("a.shadow", None, None),
    ]
    assert connection.execute(sa.text("SELECT count(*) FROM feedback")).scalar() == 3
    assert connection.execute(sa.text("SELECT * FROM shadow_copies")).all() == [("s", 4, 1, 1, 0, 0)]
    assert connection.execute(sa.select(SPOOLS)).all() == [("s", entries[-1].number)]


def test_feedback_waits_for_an_answer_of_another_gateway(start, connection, database):
    one, two = start("one"), start("two")
    assert two.feedback("late", TENANT, -1, "Surgery").result(5) == "stored"
    has_arrived(two)
    assert feedback_without_answer(connection, datetime.now(UTC)) >= 1
    connection.rollback()
    one.add(make_row("late", tenant="another"))  # whoever guesses an id gives no feedback on it
    one.add(make_row("late-too"))
    has_arrived(one)
    assert [row["rating"] for row in rows_at(database)] == [None, None]
    two.feedback("late-too", TENANT, 1, None)
    has_arrived(two)
    assert [row["rating"] for row in rows_at(database)] == [None, 1]


def test_feedback_that_came_first_counts_once_its_answer_is_there(start, connection, database):
    one, two = start("one"), start("two")
    two.feedback("late", TENANT, -1, "Surgery").result(5)
    two.feedback("late", TENANT, 1, None).result(5)
    has_arrived(two)
    one.add(make_row("late", opt_out=True))
    has_arrived(one)
    assert [(row["rating"], row["correction"]) for row in rows_at(database)] == [(1, None)]
    waiting = connection.execute(sa.select(FEEDBACK_WAITING).where(FEEDBACK_WAITING.c.tenant == TENANT))
    assert waiting.all() == []


def said(minute, rating, correction=None):
    return {"at": NOW + timedelta(minutes=minute), "rating": rating, "correction": correction}


@pytest.mark.parametrize(
    ("last", "new", "kept"),
    [
        (None, said(0, 1), said(0, 1)),
        (said(0, 1), said(1, -1), said(1, -1)),
        (said(1, 1), said(0, -1), None),  # an hour in a spool: what was said since stays
        (said(1, None, "Surgery"), said(0, -1), said(1, -1, "Surgery")),
        (said(1, -1), said(0, None, "Surgery"), said(1, -1, "Surgery")),
        (said(0, 1), said(1, 1), None),
    ],
)
def test_later_words_win_whenever_they_arrive(last, new, kept):
    assert on_top(last, new) == kept


def test_a_later_look_only_adds_to_an_earlier_one(start, database):
    """Two gateways write at once, and what an earlier look saw stays where it was."""
    writers, config = [start("one"), start("two")], gateway_config("unused")
    reader = open_journal(config.model_copy(update={"journal_url": database}))
    stopping = threading.Event()

    def write(journal, name):
        for number in range(400):
            if stopping.is_set():
                return
            journal.add(make_row(f"{name}-{number}"))
            time.sleep(random.random() / 300)

    threads = [threading.Thread(target=write, args=(j, n)) for n, j in enumerate(writers)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        now = [a.request_id for a in reader.compared_answers(NOW, Adapter("3", "d"), None)]
        assert now[: len(seen)] == seen
        seen = now
    for journal in writers:
        has_arrived(journal)
    assert len(reader.compared_answers(NOW, Adapter("3", "d"), None)) == 800
    assert len(seen) > 0


def test_a_full_spool_refuses_feedback_and_nothing_else(start, database, postgres):
    postgres.server.stop(signal.SIGINT)
    try:
        journal = start(spool_gib=0.001, journal_queue=50)
        for number in range(400):
            journal.add(make_row(f"r-{number}", completion="x" * 8000))
            time.sleep(0.001)
        until(lambda: "full" in journal.problem)
        assert journal.lost > 0
        waits = [journal.feedback("r-0", TENANT, 1, None)] if journal.waiting < 50 else []
        time.sleep(0.2)
        assert not any(one.done() for one in waits)
    finally:
        postgres.server.start(postgres.is_ready)
    until(lambda: not journal.problem and not journal.shipper.backlog()[0], 30)
    has_arrived(journal)
    assert len(rows_at(database)) == 400 - journal.lost


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize(
    ("whose", "least", "most", "size"),
    [
        ("the spool", 8_000, 8_000, "16m"),
        ("somebody else", 8_000, 8_000, "16m"),
        ("the spool", 300_000, 300_000, "32m"),
        ("somebody else", 1, LARGEST, "32m"),
    ],
)
def test_a_full_disk_is_emptied_when_the_database_is_back(
    start, database, postgres, tmp_path, whose, least, most, size
):
    """Removing needs room too. What was taken in arrives once, and then the spool takes more."""
    disk, lengths = tmp_path / "one" / "gateway", random.Random(3)
    with small_disk(disk, size):
        journal = start()
        has_arrived(journal)
        postgres.server.stop(signal.SIGINT)
        try:
            count = 0
            while "full" not in journal.problem:
                if whose == "somebody else" and count == 30:
                    fill(disk)
                length = int(least * (most / least) ** lengths.random())
                journal.add(make_row(f"r-{count}", completion="x" * length))
                count += 1
                time.sleep(0.001)
        finally:
            postgres.server.start(postgres.is_ready)
        until(lambda: not journal.shipper.backlog()[0], 60)
        (disk / "filler").unlink(missing_ok=True)
        until(lambda: not journal.problem, 30)
        has_arrived(journal)
        assert journal.shipper.reserve.is_kept
        assert len(rows_at(database)) == count - journal.lost
        journal.add(make_row("after"))
        has_arrived(journal)
        assert len(rows_at(database)) == count - journal.lost + 1
        journal.close()


def test_a_refused_entry_is_set_aside_and_the_others_arrive(start, database, tmp_path):
    journal = start()
    has_arrived(journal)
    with closing(sqlite3.connect(tmp_path / "one" / "gateway" / "spool.db")) as file:
        file.execute("BEGIN IMMEDIATE")
        for name, latency in (("good", 1.0), ("bad", "x"), ("better", 2.0)):
            row = make_row(name).values()
            body = dict(zip(spool.COLUMNS, row, strict=True)) | {"latency_ms": latency}
            file.execute(spool.INSERT, (0.0, "Interaction", spool.json.dumps(body)))
        file.execute("COMMIT")
    journal.add(make_row("last"))
    has_arrived(journal)
    assert {row["request_id"] for row in rows_at(database)} == {"good", "better", "last"}
    assert journal.shipper.set_aside == 1
    with closing(sqlite3.connect(tmp_path / "one" / "gateway" / "spool.db")) as file:
        assert file.execute("SELECT kind, error FROM set_aside").fetchall() != []


def test_a_gateway_that_hangs_holds_up_nobody_for_long(start, database, connection):
    """One that went silent inside its transaction holds the lock until the server ends it."""
    first = start("one")
    has_arrived(first)
    connection.rollback()
    connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '1s'"))
    entry = spool.Spooled(1, "Interaction", dict(zip(spool.COLUMNS, make_row("x").values(), strict=True)))
    ship(connection, "hung", [entry])
    started = time.monotonic()
    first.add(make_row("another"))
    has_arrived(first)
    assert 0.5 < time.monotonic() - started < 8
    assert [row["request_id"] for row in rows_at(database)] == ["another"]
    connection.invalidate()
