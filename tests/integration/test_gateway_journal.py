import ast
import os
import signal
import sqlite3
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from gateway.http import routes
from pipelines.core.errors import InputError
from pipelines.core.traffic_split import Adapter
from pipelines.data.journal_delivery import deliver
from pipelines.data.lake import Lake
from pipelines.data.schema import SCHEMA, rows_of
from pipelines.stores import open_journal, open_journal_writer
from pipelines.stores.journal.comparison import Outcome
from pipelines.stores.journal.deliveries import changing
from pipelines.stores.journal.tables import FEEDBACK, journal_path
from pipelines.stores.journal.writer import JournalWriter
from tests.support.chaos import fill, small_disk
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config, process, until
from tests.support.journal import EVER, has_arrived, journal_rows, make_interaction, reader_of, rows_at
from tests.support.nights import Night

DAY = timedelta(days=1)
NIGHT = date(2026, 3, 3)
FROM_GATEWAY = {"ingest.kind": "gateway", "ingest.source": "", "validate.min_rows": 1}


def ask_on(running, got, rated):
    """Ask and rate until the gateway is gone. Notes each answer with its time, and each stored rating."""
    with running.client() as client:
        for number in range(100_000):
            try:
                answer = client.post("/v1/chat/completions", json=chat(f"question {number}", user="p-1"))
                if answer.status_code == 200:
                    got.append((time.time(), answer.json()["id"]))
                    said = client.post("/v1/feedback", json={"request_id": answer.json()["id"], "rating": 1})
                    if said.status_code == 200:
                        rated.append(answer.json()["id"])
            except httpx.TransportError:
                return


def test_the_journal_needs_sqlalchemy_and_core_only():
    for file in Path("pipelines/stores/journal").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name.startswith(("pipelines.core", "pipelines.stores", "sqlalchemy"))
                assert ours or name.split(".")[0] in sys.stdlib_module_names, (file, name)


def make_row(request_id, ts, **changes):
    return make_interaction(request_id, ts, **({"adapter": "3", "digest": "d", "latency_ms": 31.5} | changes))


def noon(day):
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def config(home, request):
    """A home's configuration, with its journal in either database."""
    found = gateway_config(home)
    if request.param == "sqlite":
        return found
    return found.model_copy(update={"journal_url": request.getfixturevalue("database")})


@pytest.fixture
def journal(config):
    found = open_journal_writer(config)
    yield found
    found.close()


@pytest.fixture
def in_file(home):
    """The journal in SQLite."""
    found = JournalWriter(journal_path(home), 5, 1000)
    yield found
    found.close()


def rows_of_journal(journal, config, since=EVER):
    has_arrived(journal)
    return rows_at(config.path(config.journal_url), since)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_gateway_that_ends_leaves_behind(home, config, how):
    got, rated = [], []
    with process(home, journal_url=config.journal_url) as (started, running):
        threads = [threading.Thread(target=ask_on, args=(running, got, rated)) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(rated) > 20, 60)
        ended_at = time.time()
        started.send_signal(how)
        status = started.wait(20)
        for thread in threads:
            thread.join(20)
    after = open_journal_writer(config)  # ships what lies in a spool
    rows = {row["request_id"]: row for row in rows_of_journal(after, config)}
    after.close()
    assert all(rows[request_id]["rating"] == 1 for request_id in rated)  # feedback is never lost
    with changing(config.path(config.journal_url)) as connection:
        once = connection.scalar(sa.select(sa.func.count()).select_from(FEEDBACK))
        assert once == sum(row["rating"] is not None for row in rows.values())
    if how == signal.SIGTERM:
        assert status == 0
        assert {request_id for _, request_id in got} <= rows.keys()
    else:
        lost = [at for at, request_id in got if request_id not in rows]
        assert all(at > ended_at - 1.0 for at in lost)  # one group and one commit; generous for a busy disk


def test_a_locked_journal_delays_feedback_and_nothing_else(in_file, home):
    other = sqlite3.connect(journal_path(home), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    for number in range(100):
        in_file.add(make_row(f"r-{number}", noon(NIGHT)))
    said = in_file.feedback("r-99", "north-clinic", 1, None)
    assert time.monotonic() - started < 0.5
    time.sleep(0.3)
    assert not said.done()
    other.execute("ROLLBACK")
    other.close()
    assert said.result(10) == "stored"
    assert len(journal_rows(home)) == 100


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_refuses_feedback_at_once(home, monkeypatch):
    monkeypatch.setattr(routes, "FEEDBACK_PATIENCE_S", 600.0)  # beyond the patience of the client
    with (
        small_disk(home / "gateway"),
        gateway(gateway_config(home), DoubleEngine()) as running,
        running.client() as client,
    ):
        told = client.post("/v1/chat/completions", json=chat("before", user="p-1")).json()
        fill(home / "gateway")
        while "full" not in running.ready()["problem"]:
            assert client.post("/v1/chat/completions", json=chat("x" * 9000, user="p-1")).is_success
        said = {"request_id": told["id"], "rating": -1}
        refused = client.post("/v1/feedback", json=said)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_stored")
        assert refused.headers["retry-after"] == "1"
        (home / "gateway" / "filler").unlink()
        until(lambda: not running.ready()["problem"])
        assert client.post("/v1/feedback", json=said).json()["result"] == "stored"


def test_a_full_journal_says_what_it_loses(home):
    small = JournalWriter(journal_path(home), 5, 10)
    other = sqlite3.connect(journal_path(home), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(600):
        small.add(make_row(f"r-{number}", noon(NIGHT)))
    other.execute("ROLLBACK")
    other.close()
    small.close()
    assert small.lost > 0
    assert len(journal_rows(home)) == 600 - small.lost


POISON = {
    "half a character": {"completion": "half \ud83d", "messages": [{"role": "user", "content": "\udfff"}]},
    "half a character of a tenant": {"tenant": "\ud800", "subject_id": "\ud800"},
    "a count beyond 64 bits": {"tokens_in": 2**70, "tokens_out": -(2**70)},
    "no number": {"latency_ms": float("nan")},
    "nothing where something must be": {"tenant": None},
    "no text": {"completion": object()},
    "no messages": {"messages": None},
    "no time": {"ts": None},
    "bytes": {"messages": [{"role": "user", "content": b"x"}]},
    "a loop": {"messages": [{"role": "user", "content": (loop := [])}]},
}
loop.append(loop)


@pytest.mark.parametrize("changes", POISON.values(), ids=POISON)
def test_a_bad_row_is_repaired_or_set_aside(journal, config, changes):
    """The writer goes on, and the rows of the same group are written."""
    journal.add(make_row("before", noon(NIGHT)))
    journal.add(replace(make_row("bad", noon(NIGHT)), **changes))
    journal.add(make_row("after", noon(NIGHT)))
    assert journal.feedback("after", "north-clinic", 1, None).result(10) == "stored"
    written = {row["request_id"] for row in rows_of_journal(journal, config)}
    assert {"before", "after"} <= written
    assert ("bad" in written) == (journal.set_aside == 0)
    assert ("bad" in written) == any(word in str(changes) for word in ("udfff", "ud800", "tokens_in"))
    assert journal.is_alive
    assert journal.problem == ""


def test_bad_feedback_is_told_to_who_gave_it(in_file, home):
    in_file.add(make_row("r", noon(NIGHT)))
    with pytest.raises(sqlite3.Error):
        in_file.feedback("r", "north-clinic", 1, object()).result(10)
    assert in_file.feedback("r", "north-clinic", 2**70, "half \ud83d").result(10) == "stored"
    assert journal_rows(home)[0]["correction"] == "half ?"


def test_a_journal_that_is_no_database_any_more_is_told(in_file, home):
    in_file.add(make_row("first", noon(NIGHT)))
    until(lambda: journal_rows(home))
    with sqlite3.connect(journal_path(home)) as other:
        other.execute("ALTER TABLE interactions RENAME TO elsewhere")
    in_file.add(make_row("second", noon(NIGHT)))
    until(lambda: "no such table" in in_file.problem)
    assert in_file.is_alive
    with sqlite3.connect(journal_path(home)) as other:
        other.execute("ALTER TABLE elsewhere RENAME TO interactions")
    until(lambda: not in_file.problem)
    assert len(journal_rows(home)) == 2


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([(-1, None), (None, "Surgery")], (-1, "Surgery")),
        ([(None, "Surgery"), (-1, None)], (-1, "Surgery")),
        ([(None, "Surgery"), (1, None)], (1, None)),  # the answer was right after all
        ([(1, None), (None, "Surgery")], (None, "Surgery")),  # it was not
        ([(-1, "Dental"), (0, "Surgery")], (0, "Surgery")),
        ([(-1, "Dental"), (0, None)], (0, "Dental")),
    ],
)
def test_newer_feedback_erases_nothing_by_accident(journal, config, said, kept):
    journal.add(make_row("r", noon(NIGHT)))
    for rating, correction in said:
        assert journal.feedback("r", "north-clinic", rating, correction).result(10) == "stored"
    row = rows_of_journal(journal, config)[0]
    assert (row["rating"], row["correction"]) == kept


@pytest.mark.parametrize("correction", [None, ""])
def test_feedback_that_says_nothing_is_refused(journal, correction):
    with pytest.raises(ValueError, match="neither"):
        journal.feedback("r", "north-clinic", None, correction)


def test_rows_are_in_order_of_time(journal, config):
    for minute in (5, 1, 3):
        journal.add(make_row(f"r-{minute}", noon(NIGHT) + timedelta(minutes=minute)))
    journal.feedback("r-3", "north-clinic", -1, "Surgery").result(5)
    rows = rows_of_journal(journal, config, noon(NIGHT) + timedelta(minutes=2))
    assert [(row["request_id"], row["rating"]) for row in rows] == [("r-3", -1), ("r-5", None)]
    assert rows[0]["ts"] == noon(NIGHT) + timedelta(minutes=3)


def test_the_page_reads_the_newest_outcomes(journal, config):
    candidate = Adapter("3", "d")
    rows = (
        {"request_id": "first"},
        {"request_id": "base", "adapter": "base", "digest": "base"},
        {"request_id": "late", "route": "canary", "refused": True, "cached": True},
        {"request_id": "stranger", "adapter": "2"},
        {"request_id": "stand-in", "fallback": True},
        {"request_id": "failed", "route": "canary", "fault": "engine", "parent": "x"},
        {"request_id": "gone", "fault": "aborted"},
    )
    for minute, row in enumerate(rows):
        journal.add(make_row(ts=noon(NIGHT) + timedelta(minutes=minute), **row))
    journal.feedback("first", "north-clinic", -1, None).result(5)
    journal.feedback("first", "north-clinic", 1, None).result(5)
    has_arrived(journal)
    reader = open_journal(config)
    found = reader.newest_outcomes(noon(NIGHT), candidate, None, 10)
    assert found == [
        Outcome(is_candidate=True, is_error=True, refused=False, latency_ms=None, rating=None),
        Outcome(is_candidate=True, is_error=False, refused=True, latency_ms=None, rating=None),
        Outcome(is_candidate=False, is_error=False, refused=False, latency_ms=31.5, rating=None),
        Outcome(is_candidate=True, is_error=False, refused=False, latency_ms=31.5, rating=-1),
    ]
    assert reader.newest_outcomes(noon(NIGHT), candidate, None, 2) == found[:2]


def test_reading_makes_no_file(home, tmp_path):
    journal_path(home).parent.mkdir(parents=True, exist_ok=True)
    journal_path(home).touch()  # as a gateway leaves it for a moment, before it makes the tables
    for reader in (reader_of(home), reader_of(tmp_path / "empty")):
        assert reader.newest_outcomes(noon(NIGHT), Adapter("3", "d"), None, 10) == []
        assert reader.totals(noon(NIGHT), noon(NIGHT + DAY)).attempts == 0
        assert reader.sample(noon(NIGHT), noon(NIGHT + DAY), range) == []
    assert not (tmp_path / "empty").exists()
    assert [file.name for file in journal_path(home).parent.iterdir()] == ["journal.db"]


def ids(path):
    return pq.read_table(path)["request_id"].to_pylist()


def delivered(journal, config, night):
    has_arrived(journal)
    return Path(deliver(config, night))


def test_a_night_delivers_its_answers_once_with_their_feedback(journal, config):
    journal.add(make_row("before", noon(NIGHT - 4 * DAY)))
    journal.add(make_row("tonight", noon(NIGHT)))
    journal.add(make_row("broken", noon(NIGHT), fault="engine", completion=""))
    journal.add(make_row("half", noon(NIGHT), fault="aborted"))
    journal.add(make_row("shadow", noon(NIGHT), route="shadow", parent="tonight"))
    journal.add(make_row("tomorrow", noon(NIGHT + DAY)))
    journal.feedback("tonight", "north-clinic", -1, "Surgery").result(5)
    path = delivered(journal, config, NIGHT)
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert [(row["request_id"], row["correction"]) for row in table.to_pylist()] == [("tonight", "Surgery")]
    written = path.read_bytes()
    journal.add(make_row("straggler", noon(NIGHT)))
    journal.feedback("straggler", "north-clinic", 1, None).result(5)
    assert delivered(journal, config, NIGHT).read_bytes() == written
    path.unlink()  # as if it had died between the record and the file
    assert delivered(journal, config, NIGHT).read_bytes() == written
    assert ids(delivered(journal, config, NIGHT + DAY)) == ["straggler", "tomorrow"]


def test_late_feedback_is_delivered_in_a_later_night(journal, config):
    for name in ("unrated", "changed", "quiet"):
        journal.add(make_row(name, noon(NIGHT)))
    journal.feedback("changed", "north-clinic", 1, None).result(5)
    assert ids(delivered(journal, config, NIGHT)) == ["changed", "quiet", "unrated"]
    journal.feedback("unrated", "north-clinic", -1, "Surgery").result(5)
    journal.feedback("changed", "north-clinic", -1, "Anatomy").result(5)
    rows = pq.read_table(delivered(journal, config, NIGHT + DAY)).to_pylist()
    assert [(row["request_id"], row["correction"]) for row in rows] == [
        ("changed", "Anatomy"),
        ("unrated", "Surgery"),
    ]
    assert ids(delivered(journal, config, NIGHT + 2 * DAY)) == []


def test_late_feedback_reaches_the_lake_of_the_later_night(journal, home, config):
    for minute, name in enumerate(("unrated", "changed", "quiet", "new", "newer")):
        at = noon(NIGHT + DAY * (minute > 2)) + timedelta(minutes=minute)
        journal.add(make_row(name, at, latency_ms=float(minute)))
    journal.feedback("changed", "north-clinic", 1, None).result(5)
    settings = FROM_GATEWAY | {"journal_url": config.journal_url}
    nights = [Night(home, day, settings) for day in (NIGHT, NIGHT + DAY)]
    delivered(journal, nights[0].config, NIGHT)
    assert nights[0].run("ingest", "validate").verdict == "proceed"
    journal.feedback("unrated", "north-clinic", -1, "Surgery").result(5)
    journal.feedback("changed", "north-clinic", -1, "Anatomy").result(5)
    delivered(journal, nights[1].config, NIGHT + DAY)
    assert nights[1].run("ingest", "validate").verdict == "proceed"
    lake = Lake(str(home / "lake"), 256)

    def corrections(as_of):
        rows = lake.interactions(NIGHT, NIGHT, as_of).to_pylist()
        return {row["request_id"]: (row["rating"], row["correction"]) for row in rows}

    assert corrections(NIGHT) == {"unrated": (None, None), "changed": (1, None), "quiet": (None, None)}
    assert corrections(NIGHT + DAY) == {
        "unrated": (-1, "Surgery"),
        "changed": (-1, "Anatomy"),
        "quiet": (None, None),
    }


def test_old_rows_are_forgotten(journal, config):
    journal.add(make_row("old", noon(NIGHT - 90 * DAY)))
    journal.add(make_row("new", noon(NIGHT)))
    journal.feedback("old", "north-clinic", 1, None).result(5)
    delivered(journal, config, NIGHT)
    old = EVER - 365 * DAY
    assert [row["request_id"] for row in rows_of_journal(journal, config, old)] == ["new"]
    with changing(config.path(config.journal_url)) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(FEEDBACK)) == 0


def test_a_home_without_a_gateway_has_nothing_to_deliver(home):
    with pytest.raises(InputError, match="make serve"):
        deliver(gateway_config(home), NIGHT)
    assert journal_rows(home) == []


def test_the_loop_is_closed(home):
    """Calls and feedback through a running gateway are what the real `ingest` and `validate` read."""
    with gateway(gateway_config(home), DoubleEngine()) as running, running.client() as client:
        made = [
            client.post("/predict", json={"text": f"question {n}", "user": f"p-{n}"}).json()["request_id"]
            for n in range(12)
        ]
        client.post("/predict", json={"text": "leave me out", "opt_out": True})
        for request_id in made[:5]:
            said = {"request_id": request_id, "rating": -1, "correction": "Dental"}
            assert client.post("/v1/feedback", json=said).status_code == 200
    day = journal_rows(home)[0]["ts"].date()
    night = Night(home, day, FROM_GATEWAY)
    manifest = night.run("ingest")
    assert {e["reason"]: e["rows"] for e in manifest.facts["accounting"]} == {"clean": 12, "opted out": 1}
    assert night.run("validate").verdict == "proceed"
    rows = rows_of(Lake(night.config.path(night.config.lake_root), 256).interactions(day, day, day))
    assert {row["request_id"] for row in rows} == set(made)
    corrected = {row["request_id"] for row in rows if row["correction"] == "Dental"}
    assert corrected == set(made[:5])
    assert rows[0]["messages"][0] == {"role": "system", "content": "Answer with the hospital department."}
