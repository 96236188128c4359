"""The page's model: ledger rows in, plain data out."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from nightshift.page.alerts import alerts_of
from nightshift.page.links import ago, first_sentence
from nightshift.page.model import page_model
from nightshift.page.nights import fates_of
from nightshift.page.rollout import comparison_of, left_out_of, rollout_told
from nightshift.page.snapshot import Snapshot
from sqlalchemy.orm import Session

from pipelines.core.alerts import Silence
from pipelines.core.config import Config
from pipelines.core.contract import Artifact
from pipelines.core.facts.told import told
from pipelines.stores.blobs import Folder
from pipelines.stores.inbox import delivery_from
from pipelines.stores.journal.comparison import Outcome
from tests.support.browser_nights import alert, decision, delivery, many_nights, rows_of, ruling, watches
from tests.support.manifests import make_manifest

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
STAGES = [("shadow", 0.0), ("canary_05", 0.05), ("canary_25", 0.25)]
ONE, TWO = ({"version": str(number), "digest": str(number) * 64} for number in (1, 2))
EMPTY = {"production": None, "canary": None, "canary_weight": 0.0, "shadow": None, "previous": None}


def moved(number, move, reason="", **route):
    texts = {"route": json.dumps({**EMPTY, **route}), "evidence": "{}"}
    at = f"2026-11-{number + 9}T02:00:00+00:00"
    return {
        "number": number,
        "at": at,
        "move": move,
        "reason": reason,
        "actor": "ann",
        "run_id": "r",
        **texts,
    }


def model(**given):
    return page_model(Snapshot(now=NOW, name="router", stages=STAGES, **given))


STORY = [
    moved(1, "shadow", shadow=ONE),
    moved(2, "canary_05", canary=ONE, canary_weight=0.05),
    moved(3, "production", "approved by ann", production=ONE),
    moved(4, "shadow", production=ONE, shadow=TWO),
    moved(5, "abort", "slow", production=ONE),
]


def test_an_empty_home():
    shown = model()
    assert shown["empty"]
    assert (shown["live"]["version"], shown["rollout"], shown["quality"]) == (None, None, None)
    assert shown["nights"]["total"] == 0


def test_a_move_that_waits_for_a_gateway_is_told():
    words = "promotion 5 waits for http://b (no disk)"
    assert model(promotions=STORY, held_move=words)["live"]["held"] == words
    assert model(promotions=STORY)["live"]["held"] == ""


def test_who_is_live_is_dated_by_the_move_that_made_it_so():
    live = model(promotions=STORY)["live"]
    assert (live["version"], live["move"]["at"], live["move"]["ago"]) == (
        "1",
        "2026-11-12 02:00 UTC",
        "11 days ago",
    )
    assert (live["move"]["reason"], live["move"]["run"]) == ("approved by ann", "/dags/promote/runs/r")
    back = model(promotions=[*STORY, moved(6, "rollback", "rude")])["live"]
    assert (back["version"], back["move"]["move"], back["move"]["run"]) == (
        None,
        "rollback",
        "/dags/rollback/runs/r",
    )


def test_a_rollout_knows_its_stage():
    rollout = model(promotions=STORY[:2])["rollout"]
    assert [stage["state"] for stage in rollout["stages"]] == ["done", "now", "ahead", "ahead"]
    assert model(promotions=STORY)["rollout"] is None


@pytest.mark.parametrize(
    ("moves", "fates"),
    [
        (STORY[:1], {"1": "in rollout"}),
        (STORY[:4], {"1": "promoted", "2": "in rollout"}),
        (STORY, {"1": "promoted", "2": "turned back"}),
        ([*STORY, moved(6, "rollback", "rude")], {"1": "rolled back", "2": "turned back"}),
    ],
)
def test_what_became_of_each_version(moves, fates):
    rows = [{**row, "route": json.loads(row["route"])} for row in moves]
    assert {version: fate[0] for version, fate in fates_of(rows).items()} == fates


def test_a_promoted_night_says_so_and_why():
    night = decision("2026-01-01", "trained", registered_version="1")
    (row,) = model(decisions=rows_of([night]), promotions=STORY)["nights"]["recent"]
    assert row["state"] == "promoted"
    assert row["why"][-1] == "version 1 was promoted: approved by ann"
    assert row["report"] == "/model-loop/runs/2026-01-01/report/report.html"


def test_a_night_says_what_interrupted_its_training():
    cost = {"times": 2, "seconds": 143.2, "cpu_seconds": 38.0, "gpu_seconds": 143.2}
    cost |= {"amount": 0.119, "currency": "EUR"}
    night = decision("2026-01-01", "trained", interruptions=cost)
    (row,) = model(decisions=rows_of([night]))["nights"]["recent"]
    assert row["why"][-1] == (
        "The training was interrupted 2 times; 143 s of work were done again, "
        "with 38 CPU seconds and 143 GPU seconds, for 0.12 EUR."
    )


def test_a_nights_decisions_come_with_three_figures():
    gate = told("gate", "held", "It waits.", ("1", "a"), ("2", "b"), ("3", "c")).model_dump(mode="json")
    nights = [decision("2026-01-01", "held", told=[gate]), decision("2026-01-02", "held")]  # an older one
    new, old = model(decisions=rows_of(nights))["nights"]["recent"][::-1]
    assert (new["told"], old["told"]) == ([gate], [])


def test_a_rollout_comes_with_three_figures():
    rated = ((True, 1), (True, -1), (True, None), (False, 1), (False, None))
    sides = [Outcome(side, False, False, 10.0, rating) for side, rating in rated]
    shown = rollout_told({"result": {"answer": "abort"}}, sides)
    assert shown.sentence.startswith("The candidate does worse than production")
    assert [figure.value for figure in shown.figures] == ["3", "50.0% / 100.0%", "0.0%"]
    assert rollout_told({"result": {"answer": "continue"}}, ()).figures[1].value == "unknown / unknown"


def test_who_was_left_out_of_an_analysis_comes_in_words():
    part = {"measure": "liked", "tenant": None, "rows": 1200, "answer": "continue", "p_value": 0.002}
    same = part | {"tenant": "clinic", "answer": "promote", "p_value": None}
    people, tenant = left_out_of({"left_out": [part, same]})
    assert list(people.values()) == ["three people", "liked", "1,200", "continue", "0.2%"]
    assert (tenant["who"], tenant["clean"]) == ("the tenant clinic", "")
    assert left_out_of({"reasons": ["an older version moved it"]}) == []


def test_a_night_that_ran_twice_shows_its_last_decision():
    first = decision("2026-01-05", "held")
    again = {
        **decision("2026-01-05", "skipped", run_id="2026-01-05-2"),
        "decided_at": "2026-01-05T09:00:00+00:00",
    }
    nights = model(decisions=rows_of([again, first]))["nights"]
    day = nights["recent_months"][0]["days"][4]
    assert (day["run_id"], day["more"]) == ("2026-01-05-2", 1)
    assert [row["run_id"] for row in nights["recent"]] == ["2026-01-05-2", "2026-01-05"]


def test_a_thousand_nights_are_all_there():
    nights = model(decisions=rows_of(many_nights(1_000)))["nights"]
    cells = [
        day for month in nights["recent_months"] + nights["older_months"] for day in month["days"] if day
    ]
    assert (len(cells), nights["total"]) == (1_000, 1_000)
    assert len(nights["recent"]) + len(nights["older"]) == 1_000
    assert sum(sign["count"] for sign in nights["signs"]) == 1_000


def test_the_two_sides_are_counted_apart():
    outcomes = [Outcome(True, False, False, 30.0, 1), Outcome(True, True, False, None, None)]
    outcomes += [Outcome(False, False, False, 10.0, rating) for rating in (1, -1, None)]
    rows = {row["what"]: row["sides"] for row in comparison_of(outcomes)}
    assert rows["answers"] == ["3", "2"]
    assert rows["liked, of those rated"] == ["50.0% (1 of 2)", "100.0% (1 of 1)"]
    assert rows["errors"] == ["0.0% (0 of 3)", "50.0% (1 of 2)"]
    assert rows["latency, median"] == ["10 ms", "30 ms"]
    assert comparison_of([]) == []


def open_alerts(*rows, rulings=(), silences=(), expires_s=86_400, states=None):
    now, deliveries = datetime.now(UTC), [delivery_from(row) for row in rows]
    found = alerts_of(
        deliveries, rulings, silences, now, expires_s, lambda dag, run: f"/{dag}/{run}", states or {}
    )
    return {row["name"]: row for row in found["open"]}


def test_an_alert_is_open_until_it_is_resolved_or_expires():
    rows = [delivery(1, alert("A"), alert("B")), delivery(2, alert("B", "resolved"))]
    assert set(open_alerts(*rows)) == {"A"}
    assert open_alerts(*rows, expires_s=60) == {}


def test_an_alert_shows_its_ruling_and_its_silence():
    ruled = [ruling(2, "drift", "retrain", "3 of 5", "delivery-1", run="run-1")]
    shown = open_alerts(delivery(1, alert("A")), rulings=ruled)["A"]
    assert (shown["ruling"]["action"], shown["ruling"]["run"]) == ("retrain", "/nightly_retrain/run-1")
    assert shown["ruling"]["state"] == ""  # Airflow forgot the run, or has not begun it
    states = {("nightly_retrain", "run-1"): "failed"}
    shown = open_alerts(delivery(1, alert("A")), rulings=ruled, states=states)["A"]
    assert shown["ruling"]["state"] == "failed"
    silences = [Silence({"name": "A*", "cause": "drift"}, datetime(2099, 1, 1, tzinfo=UTC), "ann", "known")]
    assert "by ann: known" in open_alerts(delivery(1, alert("A")), silences=silences)["A"]["silenced"]
    assert open_alerts(delivery(1, alert("B")), silences=silences)["B"]["silenced"] == ""


def test_plots_stay_inside_their_frame():
    shown = model(decisions=rows_of(many_nights(90)), watches=watches(48))
    for plot, line in [(shown["quality"], shown["quality"]["lines"][0]["points"])] + [
        (plot, plot["line"]) for plot in shown["drift"]["plots"]
    ]:
        for pair in line.split():
            x, y = map(float, pair.split(","))
            assert plot["left"] <= x <= plot["right"]
            assert 0 <= y <= plot["bottom"]
    assert [dot["css"] for dot in shown["drift"]["plots"][0]["dots"]][-4:] == ["calm", "bad", "bad", "bad"]


def test_a_night_with_new_items_is_marked_in_the_plot():
    some = {side: {"value": 0.5, "low": 0.4, "high": 0.6} for side in ("production", "candidate")}
    suite = {"items": 200, "since": "2026-01-01", "before": "d", "new": 12, "changed": 0, "kin": ["d"]}
    first, second = (
        decision("2026-01-01", "held", accuracy=some),
        decision("2026-01-02", "held", accuracy=some),
    )
    second["facts"]["suite"] = suite
    (mark,) = model(decisions=rows_of([first, second]))["quality"]["marks"]
    words = "2026-01-02: 12 of 200 items are new since the suite of 2026-01-01."
    assert (mark["css"], mark["words"]) == ("renewed", words)


def test_a_model_that_is_never_right_still_has_a_plot():
    none = {side: {"value": 0.0, "low": 0.0, "high": 0.0} for side in ("production", "candidate")}
    shown = model(decisions=rows_of([decision("2026-01-01", "held", accuracy=none)]))["quality"]
    assert [tick["words"] for tick in shown["ticks"]] == ["0%", "5%", "10%"]


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("14:59:40", "just now"),
        ("14:58:00", "2 minutes ago"),
        ("13:30:00", "1 hour ago"),
        ("16:00:00", "just now"),
    ],
)
def test_how_long_ago(since, words):
    assert ago(f"2026-11-23T{since}+00:00", NOW) == words


def test_every_text_is_escaped_and_the_model_is_json():
    from nightshift.page.app import render

    evil = "<script>alert(1)</script>"
    night = decision("2026-01-01", "rejected", evil, cause=evil)
    hooks = {"summary": evil, "runbook": "javascript:alert(1)"}
    given = {
        "decisions": rows_of([night]),
        "promotions": [moved(1, "shadow", evil, shadow={**ONE, "version": evil})],
    }
    shown = page_model(
        Snapshot(
            now=datetime.now(UTC),
            name=evil,
            stages=STAGES,
            deliveries=[delivery_from(delivery(1, alert(evil, severity='" onclick="x', annotations=hooks)))],
            **given,
        )
    )
    page = render(json.loads(json.dumps(shown)))
    assert "<script>alert" not in page
    assert 'onclick="' not in page
    assert "javascript:" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5


def test_there_are_buttons_only_for_what_a_person_may_start():
    from nightshift.page.app import render

    page = render(model(allowed=frozenset({"rollback"})))
    assert "ask-rollback" in page
    assert "ask-promote" not in page
    assert "ask-nightly_retrain" not in page


NOTE = "drift: skip: 3 of 5 moved. More.\ningest: fault: There is no delivery. Run it."


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (NOTE, "ingest: fault: There is no delivery."),
        ("one line without an end", "one line without an end"),
        ("config/demo.toml is wrong. Mend it.\nmore", "config/demo.toml is wrong."),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_note(note, words):
    assert first_sentence(note) == words


@pytest.fixture
def session():
    """Airflow's own tables of runs and their notes, in an empty database."""
    import airflow.models as models

    models.import_all_models()
    engine = sa.create_engine("sqlite://")
    models.Base.metadata.create_all(
        engine, tables=[models.Base.metadata.tables[name] for name in ("dag_run", "dag_run_note")]
    )
    with Session(engine) as session:
        yield session


def add_run(session, number, dag_id, state, days_ago, note=""):
    from airflow.models.dagrun import DagRun, DagRunNote

    ended = None if state == "running" else NOW - timedelta(days=days_ago)
    row = {"id": number, "dag_id": dag_id, "run_id": f"run {number}", "state": state, "end_date": ended}
    row |= {"run_type": "manual", "run_after": NOW, "log_template_id": None}
    session.execute(sa.insert(DagRun.__table__).values(row))
    if note:
        session.execute(sa.insert(DagRunNote.__table__).values(dag_run_id=number, content=note))


def test_runs_that_failed_lately_show_with_their_fault(session):
    from nightshift.page import airflow as page_airflow
    from nightshift.page.app import render

    add_run(session, 1, "nightly_retrain", "failed", 8)
    add_run(session, 2, "alert_router", "failed", 2, NOTE)
    add_run(session, 3, "promote", "success", 1)
    add_run(session, 4, "nightly_retrain", "failed", 1)
    add_run(session, 5, "rollback", "failed", 0.5)  # of a DAG that this person may not see
    failed = page_airflow.failed(session, ["nightly_retrain", "promote", "alert_router"], NOW)
    assert [row["run_id"] for row in failed] == ["run 4", "run 2"]
    shown = model(failed=failed)
    assert [row["run"] for row in shown["failed"]] == [
        "/dags/nightly_retrain/runs/run%204",
        "/dags/alert_router/runs/run%202",
    ]
    assert (shown["failed"][1]["note"], shown["failed"][1]["ago"]) == (
        "ingest: fault: There is no delivery.",
        "2 days ago",
    )
    page = render(shown)
    assert "Failed in the last 7 days" in page
    assert "There is no delivery." in page
    assert "Run it." not in page
    assert "Failed in the last" not in render(model())
    for number in range(6, 12):
        add_run(session, number, "promote", "failed", number / 24)
    failed = page_airflow.failed(session, ["promote", "nightly_retrain"], NOW)
    assert [row["run_id"] for row in failed] == [f"run {number}" for number in range(6, 11)]
    add_run(session, 12, "nightly_retrain", "running", 0)
    rulings = [{"dag_run_id": name} for name in ("run 12", "run 4", "run 3", "run 99", "")]
    assert page_airflow.states(session, ["nightly_retrain"], rulings) == {
        ("nightly_retrain", "run 12"): "running",
        ("nightly_retrain", "run 4"): "failed",
    }


def test_a_ruling_tells_how_its_run_does():
    from nightshift.page.app import render

    ruled = [ruling(2, "drift", "retrain", "3 of 5", "delivery-1", run="run-1")]
    page = render(model(rulings=ruled, states={("nightly_retrain", "run-1"): "running"}))
    assert '<span class="soft">running</span>' in page


@pytest.mark.parametrize(
    ("schedule", "words"),
    [("0 * * * *", "It runs on"), ("", "only people start it")],
)
def test_who_looks_at_live_traffic_is_as_configured(schedule, words):
    from nightshift.page.app import render

    page = render(model(watch_schedule=schedule))
    assert words in page
    assert schedule in page


def test_a_night_can_be_run_again_as_another_attempt():
    from nightshift.page.app import render

    page = render(model(allowed=frozenset({"nightly_retrain"})))
    assert 'name="attempt"' in page
    assert "To run it once more, raise this number." in page


@pytest.mark.parametrize(
    "run_id",
    [
        "..",
        "../../etc",
        "2026-01-01/../../x",
        "2026-01-01%2F..",
        "2026-01-01-a/..",
        "",
        "x",
        "2026-01-01\n",
        "2026-01-02",
        "2026-13-01",
    ],
)
def test_only_a_runs_own_report_is_found(tmp_path, run_id):
    from fastapi import HTTPException
    from nightshift.page.reports import night_report

    config = Config(profile="test", home=str(tmp_path))
    for place in (tmp_path / "runs" / "2026-01-01", tmp_path, tmp_path / "runs"):
        (place / "report").mkdir(parents=True, exist_ok=True)
        (place / "report" / "report.html").write_text("hello")
    (tmp_path / "runs" / "2026-01-02").symlink_to(Path(tmp_path))
    assert night_report(config, "2026-01-01") == b"hello"
    with pytest.raises(HTTPException, match="404: There is no report of the run"):
        night_report(config, run_id)


def test_a_report_is_read_where_it_lies():
    from fastapi import HTTPException
    from nightshift.page.reports import night_report

    config = Config(profile="test", runs_root="memory://page/runs")
    with pytest.raises(HTTPException, match="404: There is no report"):
        night_report(config, "2026-01-01")
    page = Artifact(path="report.html", sha256="", size_bytes=5)
    manifest = make_manifest("report", "2026-01-01", attempt="ab12", outputs={"report": page})
    folder = Folder("memory://page/runs/2026-01-01")
    folder.write_bytes("report/manifest.json", manifest.model_dump_json().encode())
    folder.write_bytes("report/ab12/report.html", b"hello")
    assert night_report(config, "2026-01-01") == b"hello"
