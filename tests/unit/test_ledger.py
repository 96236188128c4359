import multiprocessing
import sqlite3
from datetime import date

import pytest
import sqlalchemy as sa

from pipelines.core.errors import ConfigError, InputError, IntegrityError
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.chain import GENESIS
from pipelines.stores.ledger.tables import SILENCES
from pipelines.stores.signer import Signer


@pytest.fixture
def ledger(home):
    return Ledger(f"sqlite:///{home}/ledger.db")


def document(night="2026-01-01", outcome="trained"):
    fields = {"run_id": night, "night": night, "outcome": outcome, "ledger_head": GENESIS}
    return {**fields, "reasons": ["because"], "facts": {"a": 1}, "evidence": {"gate": "d"}}


def cost(step="train", night="2026-01-01", cpu_seconds=3600.0):
    row = {"run_id": night, "step": step, "night": night, "seconds": 1.0, "cpu_seconds": cpu_seconds}
    return {**row, "gpu_seconds": 0.0, "amount": 0.04, "currency": "EUR"}


def by_hand(home, statement):
    with sqlite3.connect(f"{home}/ledger.db") as connection:
        for table in ("decisions", "audit"):
            for verb in ("update", "delete"):
                connection.execute(f"DROP TRIGGER {table}_no_{verb}")
        connection.execute(statement)


def test_a_row_written_twice_is_recorded_once(ledger):
    for _ in range(2):
        ledger.add_decision(document(), "s")
        ledger.add_cost(cost())
        ledger.add_task_event("dag", "run", "train", 1, "success")
    assert [d.run_id for d in ledger.decisions()] == ["2026-01-01"]
    assert ledger.verify() == 3


def silence(number, **changes):
    row = {"id": str(number), "at": "2026", "matchers": "{}", "until": "2027", "actor": "ann", "reason": "x"}
    return {**row, **changes}


def test_append_says_which_rows_were_new(ledger):
    assert ledger.append(SILENCES, silence(1)) == [True]
    assert ledger.append(SILENCES, silence(1), silence(2), silence(2), silence(3)) == [
        False,
        True,
        False,
        True,
    ]
    assert [row["id"] for row in ledger.rows(SILENCES.select())] == ["1", "2", "3"]
    assert ledger.verify() == 3


def test_append_writes_all_rows_or_none(ledger):
    with pytest.raises(sa.exc.IntegrityError):
        ledger.append(SILENCES, silence(1), silence(2, actor=None))
    assert ledger.append(SILENCES) == []
    assert (ledger.rows(SILENCES.select()), ledger.verify()) == ([], 0)


def test_another_decision_of_the_same_run_is_refused(ledger):
    ledger.add_decision(document(), "s")
    with pytest.raises(IntegrityError, match="another decision"):
        ledger.add_decision(document(outcome="skipped"), "s")
    assert ledger.decision("2026-01-01").outcome == "trained"


def test_a_night_sees_only_earlier_nights(ledger):
    for night in ("2026-01-02", "2026-01-01", "2026-01-03"):
        ledger.add_decision(document(night), "s")
        ledger.add_cost(cost(night=night))
    assert [str(d.night) for d in ledger.decisions(before=date(2026, 1, 3))] == ["2026-01-01", "2026-01-02"]
    assert ledger.cpu_hours(date(2026, 1, 1), date(2026, 1, 2)) == pytest.approx(2.0)


@pytest.mark.parametrize("verb", ["UPDATE decisions SET outcome = 'x'", "DELETE FROM audit"])
def test_the_database_refuses_changes(ledger, home, verb):
    ledger.add_decision(document(), "s")
    with (
        sqlite3.connect(f"{home}/ledger.db") as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(verb)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE decisions SET outcome = 'skipped' WHERE run_id = '2026-01-02'", "changed or removed"),
        ("DELETE FROM decisions WHERE run_id = '2026-01-02'", "changed or removed"),
        ("DELETE FROM audit WHERE seq = 2", "does not follow"),
        ("DELETE FROM audit WHERE seq = 3", "have no link"),
        ("UPDATE audit SET at = '2020-01-01' WHERE seq = 1", "does not follow"),
    ],
)
def test_changes_by_hand_are_found(ledger, home, statement, words):
    for night in ("2026-01-01", "2026-01-02", "2026-01-03"):
        ledger.add_decision(document(night), "s")
    by_hand(home, statement)
    with pytest.raises(IntegrityError, match=words):
        ledger.verify()


CUT = [
    "DELETE FROM decisions WHERE run_id = '2026-01-03'; DELETE FROM audit WHERE seq = 3",
    "DELETE FROM decisions; DELETE FROM audit",
]


def three_nights(ledger):
    for night in ("2026-01-01", "2026-01-02", "2026-01-03"):
        ledger.add_decision(document(night), "s")


@pytest.mark.parametrize("statements", CUT)
def test_rows_cut_off_the_end_are_seen(ledger, home, statements):
    three_nights(ledger)
    by_hand(home, "SELECT 1")
    with sqlite3.connect(f"{home}/ledger.db") as connection:
        connection.executescript(statements)
    with pytest.raises(IntegrityError, match="cut or replaced: it had 3 links"):
        ledger.verify()
    for night in ("2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"):  # writing on does not hide it
        ledger.add_decision(document(night), "s")
    with pytest.raises(IntegrityError, match="cut or replaced"):
        ledger.verify()
    ledger.accept_end()
    assert ledger.verify() >= 4


def test_an_old_copy_of_the_database_is_seen(ledger, home):
    ledger.add_decision(document("2026-01-01"), "s")
    with sqlite3.connect(f"{home}/ledger.db") as now, sqlite3.connect(f"{home}/copy.db") as copy:
        now.backup(copy)
    ledger.add_decision(document("2026-01-02"), "s")
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (home / name).unlink(missing_ok=True)
    (home / "copy.db").replace(home / "ledger.db")
    with pytest.raises(IntegrityError, match="it has 1 now"):
        Ledger(f"sqlite:///{home}/ledger.db").verify()


def test_a_head_file_that_is_forged_or_gone_is_seen(ledger, home):
    three_nights(ledger)
    file = home / "ledger.db.head"
    true = file.read_bytes()
    file.write_bytes(true.replace(b'"links":3', b'"links":2'))
    with pytest.raises(IntegrityError, match="signature does not fit"):
        ledger.verify()
    file.unlink()
    ledger.add_cost(cost())
    with pytest.raises(IntegrityError, match="is missing"):
        ledger.verify()
    file.write_bytes(true)
    assert ledger.verify() == 4, "a kill left it behind the database"


def test_a_ledger_of_an_older_version_has_no_head_yet(ledger, home):
    ledger.add_decision(document(), "s")
    (home / "ledger.db.head").unlink()
    (home / "keys" / "ledger.key").unlink()
    with sqlite3.connect(f"{home}/ledger.db") as connection:
        connection.execute("PRAGMA user_version = 0")
    assert ledger.verify() == 1
    ledger.add_cost(cost())
    assert (home / "ledger.db.head").exists()
    assert ledger.verify() == 2


def _write_many(url, writer):
    ledger = Ledger(url)
    for number in range(20):
        ledger.add_task_event("dag", f"run-{writer}", f"task-{number}", 1, "success")


def test_many_writers_keep_one_chain(ledger, home):
    url = f"sqlite:///{home}/ledger.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(url, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert ledger.verify() == 60


def test_a_database_other_than_sqlite_is_refused():
    with pytest.raises(ConfigError, match="sqlite"):
        Ledger("postgresql://localhost/x")


def test_a_signature_fits_only_what_was_signed(home):
    signer = Signer(home / "keys")
    signature = signer.sign(b"document")
    assert signer.is_valid(b"document", signature)
    assert not signer.is_valid(b"documents", signature)
    assert not signer.is_valid(b"document", "00" * 64)
    assert not signer.is_valid(b"document", "not hex")
    assert (home / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    assert Signer(home / "keys").sign(b"document") == signature


def test_verifying_without_a_key_says_what_is_missing(home):
    with pytest.raises(InputError, match="public key"):
        Signer(home / "keys").is_valid(b"x", "00")
