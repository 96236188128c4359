"""The ledger, the inbox and the locks on a real PostgreSQL."""

import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from pipelines.core.errors import InputError, IntegrityError, LeaseLost, UnavailableError
from pipelines.core.traffic_split import Adapter, Route
from pipelines.operations.databases import LEDGER, upgrade
from pipelines.stores.inbox import Inbox
from pipelines.stores.ledger import START, Ledger
from pipelines.stores.ledger.tables import SILENCES
from pipelines.stores.sql import leases
from pipelines.stores.sql.database import connect_to
from pipelines.stores.sql.leases import leasing
from tests.unit.test_ledger import cost, document, silence


@pytest.fixture(scope="module")
def writer(postgres_server):
    """A role that owns nothing."""
    postgres_server.execute(f"CREATE ROLE writer LOGIN PASSWORD '{password()}'")
    return "writer"


def password():
    from tests.support.cluster import PASSWORD

    return PASSWORD


@pytest.fixture
def url(empty_database, writer):
    """A database whose tables another role owns."""
    location = sa.make_url(empty_database).set(username=writer).render_as_string()
    upgrade(LEDGER, location, owner="postgres")
    return location


@pytest.fixture
def ledger(url):
    return Ledger(url)


def test_tables_that_are_not_made_say_what_to_do(empty_database):
    with pytest.raises(InputError, match=r"are not made yet.* Run `nightshift databases --as OWNER`"):
        Ledger(empty_database)


def test_an_upgrade_is_done_once(url):
    assert "at migration" in upgrade(LEDGER, url, owner="postgres")
    assert "brought to" not in upgrade(LEDGER, url, owner="postgres")


def test_two_upgrades_at_once_are_one(empty_database, writer):
    location = sa.make_url(empty_database).set(username=writer).render_as_string()
    said = []
    both = [
        threading.Thread(target=lambda: said.append(upgrade(LEDGER, location, owner="postgres")))
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted("brought to" in line for line in said) == [False, True]


def test_a_row_written_twice_is_recorded_once(ledger):
    for _ in range(2):
        ledger.add_decision(document(), "s")
        ledger.add_cost(cost())
        ledger.add_task_event("dag", "run", "train", 1, "success", message="half \ud800 and NUL \0")
    assert [d.run_id for d in ledger.decisions()] == ["2026-01-01"]
    assert ledger.verify() == 3
    with pytest.raises(IntegrityError, match="another decision"):
        ledger.add_decision(document(outcome="skipped"), "s")


def test_every_question_of_a_night_is_answered(ledger):
    for night in ("2026-01-01", "2026-01-02", "2026-01-03"):
        ledger.add_decision(document(night), "s")
        ledger.add_cost(cost(night=night))
    assert [d.run_id for d in ledger.decisions(before=date(2026, 1, 3))] == ["2026-01-01", "2026-01-02"]
    assert [d.run_id for d in ledger.decided_before("2026-01-02")] == ["2026-01-01"]
    hours = (ledger.cpu_hours, ledger.gpu_hours)
    assert [of(date(2026, 1, 1), date(2026, 1, 2)) for of in hours] == [pytest.approx(2.0), 0.0]
    assert ledger.costs("2026-01-03")[0]["step"] == "train"
    assert (ledger.promotion(), ledger.promotions(), len(ledger.head())) == (START, [], 64)


def test_append_writes_all_rows_or_none(ledger):
    with pytest.raises(sa.exc.IntegrityError):
        ledger.append(SILENCES, silence(1), silence(2, actor=None))
    assert (ledger.rows(SILENCES.select()), ledger.verify()) == ([], 0)


def test_texts_sort_as_in_sqlite(ledger):
    for run_id in ("2026-01-01-b", "2026-01-01", "2026-01-01-A", "2026-01-02"):
        ledger.add_decision({**document(), "run_id": run_id}, "s")
    assert [d.run_id for d in ledger.decisions()] == sorted(d.run_id for d in ledger.decisions())


@pytest.mark.parametrize(
    "statement",
    ["UPDATE decisions SET outcome = 'x'", "DELETE FROM audit", "TRUNCATE costs", "DROP TABLE audit"],
)
def test_the_role_of_the_steps_may_only_add(ledger, url, statement):
    ledger.add_decision(document(), "s")
    with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"):
        run(url, statement)


@pytest.mark.parametrize(
    "statement", ["UPDATE decisions SET outcome = 'x'", "DELETE FROM audit", "TRUNCATE costs"]
)
def test_even_the_owner_is_refused(ledger, empty_database, statement):
    ledger.add_decision(document(), "s")
    with pytest.raises(sa.exc.ProgrammingError, match="append-only"):
        run(empty_database, statement)


def run(url, statement):
    engine = connect_to(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_changes_by_hand_are_found(ledger, postgres, empty_database):
    for night in ("2026-01-01", "2026-01-02"):
        ledger.add_decision(document(night), "s")
    name = sa.make_url(empty_database).database
    postgres.execute("ALTER TABLE decisions DISABLE TRIGGER ALL", name)
    postgres.execute("UPDATE decisions SET outcome = 'skipped' WHERE run_id = '2026-01-02'", name)
    with pytest.raises(IntegrityError, match="changed or removed"):
        ledger.verify()


def test_a_move_follows_the_newest_one(ledger):
    first = ledger.add_promotion(START, "start_shadow", Route(shadow=Adapter("1", "d1")), "", "ann")
    with pytest.raises(IntegrityError, match="was moved meanwhile"):
        ledger.add_promotion(START, "start_shadow", Route(shadow=Adapter("2", "d2")), "", "bob")
    assert (ledger.promotion().number, ledger.verify()) == (first.number, 1)


def append_many(url, writer, count):
    ledger = Ledger(url)
    for number in range(count):
        ledger.add_task_event("dag", f"run-{writer}", f"task-{number}", 1, "success")


@pytest.mark.slow
def test_four_processes_keep_one_chain(ledger, url):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(url, n, 1_000)) for n in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * 4
    assert ledger.verify() == 4_000


def test_a_server_that_is_away_is_waited_for(ledger, postgres):
    ledger.add_decision(document("2026-01-01"), "s")
    postgres.server.stop(signal.SIGINT)
    back = threading.Timer(3.0, postgres.server.start, [postgres.is_ready])
    back.start()
    ledger.add_decision(document("2026-01-02"), "s")
    back.join()
    assert ledger.verify() == 2


def test_a_server_that_stays_away_is_named(url, postgres):
    ledger = Ledger(url, wait_s=1.0)
    postgres.server.stop(signal.SIGINT)
    try:
        with pytest.raises(UnavailableError, match=r"PostgreSQL cannot be reached: .*127.0.0.1"):
            ledger.promotion()
    finally:
        postgres.server.start(postgres.is_ready)


def test_a_wrong_password_is_named(url, tmp_path, monkeypatch):
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:*:wrong\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    with pytest.raises(UnavailableError, match="password authentication failed"):
        Ledger(url, wait_s=0.0)


def test_the_inbox_knows_what_is_unruled(ledger):
    from pipelines.core.alerts import Action, Cause, Ruling, Silence
    from pipelines.stores.inbox import delivery_row

    inbox, now = Inbox(ledger), datetime.now(UTC)
    rows = [delivery_row("json", "ops", [], [str(n).encode()], "", now) for n in range(3)]
    assert inbox.deliver(*rows) == [True] * 3
    assert inbox.deliver(rows[0]) == [False]
    ruled = (rows[0]["id"], rows[1]["id"])
    inbox.add_rulings([Ruling(now, Cause.OPERATIONS, Action.IGNORE, "", ruled, (), "")])
    assert inbox.unruled() == {rows[2]["id"]}
    assert inbox.waiting() == 1
    assert [one.id for one in inbox.deliveries(now)] == sorted(row["id"] for row in rows)
    assert inbox.newest(within_s=600)
    assert [ruling.triggers for ruling in inbox.rulings(now, {})] == [ruled]
    ledger.add_task_event("dag", "began", "train", 1, "running")
    assert inbox.began(["began", "never"]) == {"began"}
    inbox.add_silence(Silence({"name": "A*"}, now + timedelta(hours=1), "ann", "known"), now)
    assert [one.actor for one in inbox.silences(now)] == ["ann"]


def test_a_lease_has_one_holder_at_a_time(url):
    order, waits = [], []

    def second():
        with leasing(url, "rollout", lambda: waits.append(1)) as lease:
            order.append(f"second {lease.token}")

    with leasing(url, "rollout") as lease:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.0)
        order.append(f"first {lease.token}")
    thread.join()
    assert (order, waits) == (["first 1", "second 2"], [1])


def test_a_lost_lease_writes_nothing(url, ledger):
    with leasing(url, "rollout"):
        ledger.add_decision(document("2026-01-01"), "s")
        run(url, "UPDATE leases SET expires_at = now() - interval '1 second'")
        taken = threading.Thread(target=lambda: leasing(url, "rollout").__enter__())
        taken.start()
        taken.join()
        with pytest.raises(LeaseLost, match=r"lost the lease 'rollout'.* Nothing was written"):
            ledger.add_decision(document("2026-01-02"), "s")
    assert [d.run_id for d in ledger.decisions()] == ["2026-01-01"]
    assert ledger.verify() == 1


def test_a_lease_that_ran_out_unseen_is_still_held(url, ledger):
    """The database was away for longer than the lease: nobody else could take it."""
    with leasing(url, "rollout"):
        run(url, "UPDATE leases SET expires_at = now() - interval '1 minute'")
        ledger.add_decision(document(), "s")
    assert ledger.verify() == 1


def hold_and_stop(url, ready):
    """Take the lease, be paused, wake up and write."""
    ledger = Ledger(url)
    with leasing(url, "train"):
        ready.set()
        os.kill(os.getpid(), signal.SIGSTOP)
        ledger.add_decision(document("2026-01-09"), "late")


@pytest.mark.slow
def test_a_paused_machine_can_do_no_harm(url, ledger, monkeypatch):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    paused = context.Process(target=hold_and_stop, args=(url, ready))
    paused.start()
    assert ready.wait(30)
    run(url, "UPDATE leases SET expires_at = now() + interval '2 seconds'")
    with leasing(url, "train") as lease:
        assert lease.token == 2
        ledger.add_decision(document("2026-01-01"), "s")
        os.kill(paused.pid, signal.SIGCONT)
        paused.join()
    assert paused.exitcode != 0
    assert [d.signature for d in ledger.decisions()] == ["s"]


def test_a_killed_holder_is_followed(url, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    holder = leasing(url, "alerts")
    engine = connect_to(url)
    leases._take(engine, "alerts", "a machine that is gone")
    engine.dispose()
    started = time.monotonic()
    with holder as lease:
        assert lease.token == 2
    assert time.monotonic() - started < 20


def test_what_a_reader_may_see(postgres, url):
    from pipelines.stores.ledger.reading import read_rows

    Ledger(url).append(SILENCES, silence(1))
    assert [row["id"] for row in read_rows(url, SILENCES.select())[0]] == ["1"]
    empty = postgres.create("no_tables_here")
    assert read_rows(empty, SILENCES.select()) == [[]]
