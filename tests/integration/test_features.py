import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feature_repo import activity as activity_definitions
from pipelines.data import activity as data_activity
from pipelines.data import feature_parity
from pipelines.data import features as data_features
from pipelines.data.activity import activity, end_of
from pipelines.data.feature_places import Places
from pipelines.data.features import VIEWS, FeatureStore
from pipelines.data.lake import Lake
from pipelines.steps import features
from tests.support import forks
from tests.support.interactions import make_rows
from tests.support.nights import DEMO, Night

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
NIGHT = date(2026, 1, 10)
DAY = timedelta(days=1)
WINDOWS = (1, 7, 28)
CAMPUS = ("campus",)


@pytest.fixture
def lake(tmp_path):
    """Ten days of forty rows each."""
    lake = Lake(str(tmp_path / "lake"), 256)
    for back in range(10):
        lake.publish(NIGHT - back * DAY, make_rows(NIGHT - back * DAY, 40, seed=1))
    return lake


@pytest.fixture
def night(tmp_path, lake):
    """A night whose ingest and validate are done."""
    night = Night(tmp_path, NIGHT, {})
    night.deliver(make_rows(NIGHT, 60, seed=2))
    night.run("ingest", "validate")
    return night


def store_of(night, folder="feast"):
    return FeatureStore(Places.within(night.home / folder), WINDOWS, timedelta(hours=48))


def by_hand(rows, columns, entity, days):
    """The three features of one entity, straight from their definition."""
    since = end_of(NIGHT) - days * DAY
    own = [r for r in rows.to_pylist() if [r[c] for c in columns] == entity and r["ts"] >= since]
    rated = [r["rating"] for r in own if r["rating"] is not None]
    return {
        f"requests_{days}d": len(own),
        f"negative_rate_{days}d": rated.count(-1) / len(rated) if rated else None,
        f"correction_rate_{days}d": sum(r["correction"] is not None for r in own) / len(own) if own else None,
    }


@pytest.mark.parametrize(("view", "columns"), VIEWS.items())
def test_features_are_what_their_definition_says(lake, view, columns):
    rows = lake.interactions(NIGHT - 27 * DAY, NIGHT, NIGHT)
    for row in activity(lake, view, WINDOWS, NIGHT).to_pylist():
        assert row.pop("event_timestamp") == datetime(2026, 1, 11, tzinfo=UTC)
        entity = [row.pop(column) for column in columns]
        expected = {k: v for days in WINDOWS for k, v in by_hand(rows, columns, entity, days).items()}
        assert row == pytest.approx(expected)


def test_a_night_is_stored_online_and_offline_and_both_agree(night):
    manifest = night.run("features")
    assert manifest.verdict == "proceed", manifest.reasons
    assert manifest.facts["parity"]["differences"] == []
    assert manifest.facts["parity"]["compared"] == 4 + 50
    tenants = night.rows("features", "tenant_activity")
    assert sum(row["requests_1d"] for row in tenants) == 60 + 0
    online, stamps = store_of(night).online("tenant_activity", [CAMPUS, ("nobody",)])
    assert online[CAMPUS] == pytest.approx({k: v for k, v in tenants[0].items() if k != "tenant"})
    assert stamps[CAMPUS] == end_of(NIGHT)
    assert set(online["nobody",].values()) == {None}


def test_offline_reads_are_as_of_their_instant(night):
    """Point-in-time join: yesterday's question gets yesterday's answer, though today's is known."""
    night.run("features")
    store = store_of(night)
    store.put(
        "tenant_activity",
        NIGHT - DAY,
        activity(Lake(f"{night.home}/lake", 256), "tenant_activity", WINDOWS, NIGHT - DAY),
    )
    today = store.offline("tenant_activity", [CAMPUS], end_of(NIGHT)).to_pylist()[0]
    yesterday = store.offline("tenant_activity", [CAMPUS], end_of(NIGHT) - timedelta(minutes=1)).to_pylist()[
        0
    ]
    assert today["requests_7d"] != yesterday["requests_7d"]
    too_old = store.offline("tenant_activity", [CAMPUS], end_of(NIGHT) + timedelta(hours=49)).to_pylist()[0]
    assert too_old["requests_7d"] is None


def plant_skew(folder):
    """What a broken loader would do: one tenant's row online becomes another tenant's."""
    with sqlite3.connect(folder / "online.db") as online:
        rows = online.execute(
            "SELECT entity_key, feature_name, value FROM nightshift_tenant_activity ORDER BY 1"
        ).fetchall()
        first, second = sorted({key for key, _, _ in rows})[:2]
        copied = [(value, second, name) for key, name, value in rows if key == first]
        online.executemany(
            "UPDATE nightshift_tenant_activity SET value = ? WHERE entity_key = ? AND feature_name = ?",
            copied,
        )
    online.close()


def test_a_planted_skew_holds_the_night(night, monkeypatch):
    honest = FeatureStore.materialise

    def careless(self, at):
        honest(self, at)
        plant_skew(self.places.folder)

    monkeypatch.setattr(FeatureStore, "materialise", careless)
    manifest = night.run("features")
    assert manifest.verdict == "hold"
    assert {d["feature"] for d in manifest.facts["parity"]["differences"]} <= {
        f"{k}_{d}d" for k in ("requests", "negative_rate", "correction_rate") for d in WINDOWS
    }
    assert "online and" in manifest.reasons[0]


def test_an_unfilled_online_store_holds_the_night(night, monkeypatch):
    night.run("features")
    later = Night(night.home, NIGHT + 3 * DAY, {})
    later.deliver(make_rows(NIGHT + 3 * DAY, 60, seed=3))
    later.run("ingest", "validate")
    monkeypatch.setattr(FeatureStore, "materialise", lambda self, at: None)
    manifest = later.run("features")
    assert manifest.verdict == "hold"
    assert "event_timestamp" in {d["feature"] for d in manifest.facts["parity"]["differences"]}


def test_a_replay_leaves_the_live_store_alone(night):
    first = night.run("features")
    assert night.run("features", rerun=True).digest == first.digest
    later = Night(night.home, NIGHT + DAY, {})
    later.deliver(make_rows(NIGHT + DAY, 60, seed=3))
    later.run("ingest", "validate", "features")
    live = store_of(night).online("tenant_activity", [CAMPUS])
    assert live[1][CAMPUS] == end_of(NIGHT + DAY)
    assert night.run("features", rerun=True).digest == first.digest
    assert store_of(night).online("tenant_activity", [CAMPUS]) == live


def test_killed_at_any_moment_it_ends_the_same(night):
    expected = night.run("features").digest
    words = ["features", "--run-dir", night.uri, "--config", str(DEMO), "--home", str(night.home), "--rerun"]
    words += ["--set", "ingest.kind=files", "--set", f"ingest.source={night.folder}/*"]
    context, said = forks.loaded("features"), night.home / "said.txt"
    for _ in range(2):  # the first one waits for the libraries too
        started = time.monotonic()
        process = forks.start(context, said, *words)
        process.join()
        assert process.exitcode == 0, said.read_text()
    whole = time.monotonic() - started
    for share in (0.4, 0.8):
        process = forks.start(context, said, *words)
        process.join(whole * share)
        process.kill()
        process.join()
    assert night.run("features", rerun=True).digest == expected


def test_reads_stay_up_while_features_are_written(night):
    night.run("features")
    store, reader = store_of(night), store_of(night)
    people = [("campus", f"person-{i:05d}") for i in range(5_000)]
    one = pq.read_table(night.home / "feast" / "data" / "person_activity" / f"night={NIGHT}.parquet").slice(
        0, 1
    )
    many = one.take([0] * len(people))
    for place, column in enumerate(VIEWS["person_activity"]):
        many = many.set_column(place, column, pa.array([person[place] for person in people]))
    store.put("person_activity", NIGHT, pa.concat_tables([many]))
    writer = threading.Thread(target=store.materialise, args=(end_of(NIGHT),))
    writer.start()
    reads, slowest = 0, 0.0
    while writer.is_alive():
        started = time.monotonic()
        values, _ = reader.online("tenant_activity", [CAMPUS])
        slowest = max(slowest, time.monotonic() - started)
        assert values[CAMPUS]["requests_7d"] > 0
        reads += 1
        time.sleep(0.02)
    writer.join()
    assert reads > 3
    assert slowest < 2
    assert store.online("person_activity", people[-1:])[0][people[-1]]["requests_28d"] > 0


def test_the_feast_command_works_on_the_same_store(night):
    night.run("features")
    feast = Path(sys.executable).parent / "feast"
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(night.home), "PYTHONDONTWRITEBYTECODE": "1"}
    listed = subprocess.run(
        [feast, "--chdir", "feature_repo", "feature-views", "list"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(VIEWS) <= set(listed.stdout.split())
    subprocess.run(
        [feast, "--chdir", "feature_repo", "apply"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert store_of(night).online("tenant_activity", [CAMPUS])[0][CAMPUS]["requests_1d"] > 0


def test_only_what_a_night_could_know_counts(night, lake):
    first = features.activity(lake, "tenant_activity", WINDOWS, NIGHT)
    lake.publish(NIGHT + DAY, make_rows(NIGHT, 30, seed=9))
    assert features.activity(lake, "tenant_activity", WINDOWS, NIGHT).equals(first)
    assert pc.sum(first["requests_28d"]).as_py() == 60 + 9 * 40


def test_a_home_with_odd_signs_works(tmp_path):
    home = tmp_path / "a b #1 Übung's"
    night = Night(home, NIGHT, {})
    night.deliver(make_rows(NIGHT, 60, seed=2))
    assert night.run("ingest", "validate", "features").verdict == "proceed"


def test_one_id_at_two_tenants_is_two_people(night):
    rows = make_rows(NIGHT, 60, seed=2, subject_id="1", tenant=["campus"] * 40 + ["telehealth"] * 20)
    night.deliver(rows, "more.parquet")
    (night.folder / "part.parquet").unlink()
    night.run("ingest", "validate", "features", rerun=True)
    people = [("campus", "1"), ("telehealth", "1")]
    online, _ = store_of(night).online("person_activity", people)
    assert [online[person]["requests_1d"] for person in people] == [40, 20]


def test_people_stand_in_facts_and_reasons_as_pseudonyms(night, monkeypatch):
    monkeypatch.setattr(FeatureStore, "materialise", lambda self, at: None)
    manifest = night.run("features")
    assert manifest.verdict == "hold"
    entities = {one["entity"] for one in manifest.facts["parity"]["differences"]}
    assert {"campus"} < entities
    people = {row["subject_id"] for row in night.rows("features", "person_activity")}
    said = manifest.model_dump_json()
    assert not [person for person in people if person in said]
    assert night.run("features", rerun=True).digest == manifest.digest


def test_a_store_by_older_keys_is_brought_up_to_date(night, monkeypatch):
    old = {"tenant_activity": ("tenant",), "person_activity": ("subject_id",)}
    for module in (data_features, data_activity, feature_parity, activity_definitions, features):
        monkeypatch.setattr(module, "VIEWS", old)
    monkeypatch.setattr(feature_parity, "_shown", lambda config, entities: {one: one[0] for one in entities})
    night.run("features")
    assert store_of(night).entities("person_activity", NIGHT)[0] != ()
    monkeypatch.undo()
    later = Night(night.home, NIGHT + DAY, {})
    later.deliver(make_rows(NIGHT + DAY, 60, seed=3))
    manifest = later.run("ingest", "validate", "features")
    assert manifest.verdict == "proceed", manifest.reasons
    assert {*later.rows("features", "person_activity")[0]} > {"tenant", "subject_id"}
    assert [path.name for path in (night.home / "feast/data/person_activity").iterdir()] == [
        f"night={NIGHT + DAY}.parquet"
    ]
